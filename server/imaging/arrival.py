"""An instance on its way in, from its bytes to its place."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import structlog
from pydicom.uid import UID_dictionary

from server.core.errors import ServerError
from server.storage.objects import Stored

from .entry import Entry, entry_of
from .header import Header, HeaderReader
from .identity import Owner
from .pixels import number
from .report import FailureReason, Refused, WarningReason

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
        require_storage(header.sop_class_uid)
        entry = entry_of(header)
    except ServerError as error:
        return Arrival(reader.uids(), error=error)
    except Exception as error:  # a fault of ours is this part's alone
        log.error("an object could not be catalogued", kind=type(error).__name__)
        return Arrival(
            reader.uids(), error=ServerError("This instance could not be read; it has been noted.")
        )
    if short := mismatch(header, entry):
        entry = replace(entry, warnings=tuple(dict.fromkeys((*entry.warnings, short))))
    return Arrival(
        (entry.sop_class, entry.sop_uid),
        entry,
        warning=WarningReason.MISMATCH if short else None,
    )


def require_storage(sop_class: str) -> None:
    """Raise Refused for a service of DICOM that has no stored objects; a class nobody knows is welcome."""
    known = UID_dictionary.get(sop_class)
    if known is not None and known[1] == "SOP Class" and "Storage" not in known[0]:
        raise Refused(FailureReason.SOP_CLASS_UNSUPPORTED, f"{known[0]} is no class of stored objects.")


def mismatch(header: Header, entry: Entry) -> str:
    """How the data set differs from what its own header promises of its pixels (PS3.18, I.2.2: B007), in words."""
    if header.cut:
        return "the pixel data are cut off"
    pixels = entry.pixels
    if pixels.offset is None:
        return ""
    if not (pixels.rows and pixels.columns and pixels.bits_allocated):
        return "the pixel data are not described: rows, columns or bits are missing"
    said = max(1, number(header.data, 0x00280008) or 1)
    lacks = (pixels.length or 0) * 8 < said * (pixels.frame_bits or 0) if pixels.length is not None else False
    if lacks or pixels.frame_count < said:
        return "there are fewer pixels than the header says"
    return ""
