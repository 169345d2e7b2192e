"""An instance on its way in, from its bytes to its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from server.core.errors import ServerError
from server.storage.objects import Stored

from .entry import Entry, entry_of
from .header import HeaderReader
from .identity import Owner
from .report import WarningReason

log = structlog.get_logger(__name__)


@dataclass(eq=False)
class Arrival:
    """One part of a store, as far as it has come."""

    uids: tuple[str | None, str | None]  # SOP class and instance, as far as they were read
    entry: Entry | None = None
    error: ServerError | None = None  # why it was not read
    content: bytes = b""  # of a small part, until it is written
    warning: WarningReason | None = None
    owner: Owner | None = None
    stored: Stored | None = None

    @property
    def ready(self) -> Entry:
        """The entry of one that was read."""
        if self.entry is None:
            raise self.error or ServerError()
        return self.entry

    @property
    def patient_id(self) -> str:
        """Whose it is, once that is known."""
        assert self.owner is not None
        return self.owner.patient_id

    @property
    def key(self) -> tuple[str, str]:
        """What is unique: the patient and the SOP Instance UID (decision 8)."""
        return self.patient_id, self.ready.sop_uid


def read_all(contents: Iterable[bytes]) -> list[Arrival]:
    """Read the headers of objects in memory; for a worker thread."""
    arrivals = []
    for content in contents:
        reader = HeaderReader()
        reader.feed(content)
        arrival = read_one(reader)
        arrival.content = content
        arrivals.append(arrival)
    return arrivals


def read_one(reader: HeaderReader) -> Arrival:
    """The arrival of an object whose bytes were all fed; for a worker thread."""
    try:
        header = reader.finish()
        entry = entry_of(header)
    except ServerError as error:
        return Arrival(reader.uids(), error=error)
    except Exception as error:  # a fault of ours is this part's alone
        log.error("an object could not be catalogued", kind=type(error).__name__)
        return Arrival(
            reader.uids(), error=ServerError("This instance could not be read; it has been noted.")
        )
    return Arrival(
        (entry.sop_class, entry.sop_uid),
        entry,
        warning=WarningReason.MISMATCH if header.cut else None,
    )
