"""Reading the log: what happened to a patient's record, with the sealed details opened."""

from __future__ import annotations

from binascii import a2b_base64
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, NamedTuple
from uuid import UUID

import orjson

from server.storage.db import Database, Record
from server.storage.keyring import KeyRing
from server.storage.sql import Statement
from server.storage.where import TRUE, Where

from .log import QUERIES
from .who import Who

_MERGED = (
    "JOIN LATERAL (SELECT patient.id UNION ALL SELECT merger.source_id FROM merger"
    " WHERE merger.patient_id = patient.id AND merger.undone_at IS NULL) AS part (id) ON true"
)

_NEWEST, _OLDEST = "happened.at DESC, happened.id", "happened.at, happened.id DESC"
_ORDERED = ("events_of", "events_of_few")


def _filled(chains: str, part: str) -> dict[tuple[str, bool], Statement]:
    """The statements by their names and whether the oldest come first."""
    names = (*_ORDERED, "actors_of", "count_events_of")
    texts = {name: QUERIES[name].text.replace("[chains]", chains).replace("[part]", part) for name in names}
    return {
        (name, oldest): Statement(name, text.replace("[order]", _OLDEST if oldest else _NEWEST))
        for name, text in texts.items()
        for oldest in ((False, True) if name in _ORDERED else (False,))
    }


_PLAIN, _WITH_MERGED = _filled("", "patient.id"), _filled(_MERGED, "part.id")


class Happened(NamedTuple):
    """One event as its patient may read it."""

    id: UUID
    at: datetime
    event: str
    outcome: str
    patient_id: str
    who: Who = Who()
    detail: Mapping[str, Any] = MappingProxyType({})
    by_patient: bool = False  # the record's own holder did it


async def events_of(
    db: Database,
    keyring: KeyRing,
    *,
    reach: Where,
    match: Where = TRUE,
    limit: int = 50,
    offset: int = 0,
    oldest_first: bool = False,
) -> list[Happened]:
    """Events of the patients that `reach` (a condition over `patient`) allows, newest first unless asked otherwise.

    `match` narrows by columns of audit_event under the alias `happened` (at, event, outcome, actor, id).
    """
    rows = await sealed_events_of(
        db, reach=reach, match=match, limit=limit, offset=offset, oldest_first=oldest_first
    )
    return list(map(Opener(keyring), rows))


async def sealed_events_of(
    db: Database,
    *,
    reach: Where,
    match: Where = TRUE,
    limit: int = 50,
    offset: int = 0,
    oldest_first: bool = False,
    few: bool = False,
) -> list[Record]:
    """The same, each still to be opened: for who reads many, and lets others work between two of them.

    `few`: `reach` leaves few patients, so the chain of each is read from its end; of many, the log of all.
    """
    if few:
        statement = _WITH_MERGED["events_of_few", oldest_first]
    else:
        statement = await _statement(db, "events_of", reach, oldest_first)
    return await db.fetch_all(statement, {"limit": limit, "offset": offset}, reach=reach, match=match)


async def actors_of(db: Database, keyring: KeyRing, *, reach: Where) -> dict[UUID, Happened]:
    """Everyone who acted on the record, by pseudonym, with the latest of what they did."""
    rows = await db.fetch_all(await _statement(db, "actors_of", reach), {}, reach=reach)
    opened = Opener(keyring)
    return {row["actor"]: opened(row) for row in rows}


def by_subject(subject: str) -> Where:
    """What one caller did, by the key of their pseudonym (who.py)."""
    return Where(
        "happened.actor = (SELECT pseudonym FROM pseudonym WHERE subject = :wanted_subject)",
        {"wanted_subject": subject},
    )


async def count_events_of(db: Database, *, reach: Where, match: Where = TRUE) -> int:
    """How many events `events_of` would give without a limit."""
    statement = await _statement(db, "count_events_of", reach)
    return int(await db.fetch_val(statement, {}, reach=reach, match=match))


async def _statement(db: Database, name: str, reach: Where, oldest_first: bool = False) -> Statement:
    """Over the chain of each patient; where records were merged, over the chains of those too, which is rare."""
    merged = await db.fetch_val(QUERIES["any_merged"], {}, reach=reach)
    return (_WITH_MERGED if merged else _PLAIN)[name, oldest_first]


class Opener:
    """Opens what `sealed_events_of` gives. It unwraps a patient's key once: made for a request, and gone with it."""

    def __init__(self, keyring: KeyRing) -> None:
        self._keyring = keyring
        self._known: dict[bytes, Callable[[bytes, bytes], bytes]] = {}
        self._own: dict[str, frozenset[str]] = {}  # accounts of a record's own person

    def __call__(self, row: Record) -> Happened:
        """The event with its details. Raises KeyUnusable."""
        wrapped = row["wrapped"]
        if wrapped not in self._known:
            self._known[wrapped] = self._keyring.opener(wrapped)
        sealed = a2b_base64(orjson.loads(row["payload"])["sealed"])
        return self._happened(row, orjson.loads(self._known[wrapped](sealed, row["id"].bytes)))

    def _happened(self, row: Record, plain: Any) -> Happened:
        who, patient = Who(**plain["who"]), row["patient_id"]
        if patient not in self._own:
            self._own[patient] = frozenset(map(str, row["own_accounts"]))
        by_patient = who.account_id is not None and str(who.account_id) in self._own[patient]
        place = row["id"], row["at"], row["event"], row["outcome"], patient
        return Happened(*place, who, plain["detail"], by_patient)
