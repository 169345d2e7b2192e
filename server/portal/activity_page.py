"""The Activity page: the diary by day, narrowed by person, kind and date; and the same as a table to keep."""

from __future__ import annotations

import csv
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO
from uuid import UUID

from starlette.responses import Response, StreamingResponse

from server.access.reach import Reach
from server.audit import reading
from server.audit.events import Event
from server.audit.reading import Happened
from server.core import clock
from server.core.texts import N_, translations
from server.storage.where import TRUE, Where, all_of

from .activity import AUDIT_READ, LOOKS, PAGE, by_day, entries_of, entry_of
from .imaging import page_of
from .pages import HEADERS, language_of, render
from .profile import own_id
from .visit import Visit

AT_ONCE = 500  # events of the table opened at a time
KINDS: dict[str, tuple[str, Where]] = {
    "looks": (
        N_("Looks and downloads"),
        Where(
            "happened.event = ANY (:wanted_looks)",
            {"wanted_looks": [str(each) for each in LOOKS]},
        ),
    ),
    "changes": (
        N_("Added, changed, deleted"),
        Where(
            "happened.event = ANY (:wanted_changes)",
            {
                "wanted_changes": [
                    str(each)
                    for each in Event
                    if each.startswith(("imaging:study:", "record:resource:", "profile:"))
                    and not each.endswith((":viewed", ":downloaded", ":searched", ":read", ":exported"))
                ]
            },
        ),
    ),
    "sharing": (
        N_("Sharing and apps"),
        Where(
            "(happened.event LIKE 'share:%' OR happened.event LIKE 'app:%' OR happened.event LIKE 'consent:%')"
        ),
    ),
    "sign-in": (N_("Sign-in and account"), Where("happened.event LIKE 'account:%'")),
    "refused": (N_("Refused tries"), Where("happened.outcome <> 'success'")),
}


@dataclass(frozen=True)
class Wanted:
    """What the reader chose; "" and None are everything."""

    who: str
    kind: str
    since: date | None
    until: date | None

    @property
    def match(self) -> Where:
        parts = [KINDS[self.kind][1]] if self.kind else []
        if self.who:
            parts.append(Where("happened.actor = :wanted_actor", {"wanted_actor": UUID(self.who)}))
        if self.since:
            begin = datetime.combine(self.since, time(), UTC)
            parts.append(Where("happened.at >= :wanted_since", {"wanted_since": begin}))
        if self.until:
            end = datetime.combine(self.until, time(), UTC) + timedelta(days=1)
            parts.append(Where("happened.at < :wanted_until", {"wanted_until": end}))
        return all_of(*parts) if parts else TRUE

    @property
    def query(self) -> dict[str, str]:
        days = {"since": str(self.since or ""), "until": str(self.until or "")}
        return {"who": self.who, "kind": self.kind, **days}

    def __bool__(self) -> bool:
        return any(self.query.values())


async def show(visit: Visit) -> Response:
    """Everything that happened, the latest first; or what was asked for of it."""
    patient_id, wanted = await own_id(visit), _wanted(visit)
    reach = await _reach(visit, patient_id)
    services, number = visit.services, visit.number("page", most=100_000)
    total = await reading.count_events_of(services.db, reach=reach.patients(), match=wanted.match)
    happened = await reading.events_of(
        services.db,
        services.keyring,
        reach=reach.patients(),
        match=wanted.match,
        limit=PAGE,
        offset=(number - 1) * PAGE,
    )
    language = language_of(visit.request, visit.me)
    gettext = translations(language).gettext
    entries = await entries_of(visit, happened, patient_id)
    people = await reading.actors_of(services.db, services.keyring, reach=reach.patients())
    reader = str(visit.signed_in.account_id)
    named = sorted((_plain(each, gettext(N_("You")), reader), str(actor)) for actor, each in people.items())
    return render(
        visit.request,
        "activity.html",
        here="activity",
        days=list(by_day(entries, language)),
        page=page_of(visit, number, PAGE, total, **wanted.query),
        wanted=wanted,
        people=[("", gettext(N_("Everybody"))), *((actor, name) for name, actor in named)],
        kinds=[("", gettext(N_("Everything"))), *((key, gettext(text)) for key, (text, _) in KINDS.items())],
        query="&".join(f"{name}={value}" for name, value in wanted.query.items() if value),
        patient_id=patient_id,
    )


async def table(visit: Visit) -> Response:
    """The same as CSV (RFC 4180), every event a row; the download itself is an event."""
    patient_id, wanted = await own_id(visit), _wanted(visit)
    reach = await _reach(visit, patient_id)
    await visit.services.audit.record(
        Event.RECORD_EXPORTED, who=visit.actor.who(), patient_id=patient_id, detail={"type": "AuditEvent"}
    )
    name = f"activity-{clock.now():%Y-%m-%d}.csv"
    headers = HEADERS | {"content-disposition": f'attachment; filename="{name}"'}
    return StreamingResponse(
        _lines(visit, patient_id, wanted, reach), headers=headers, media_type="text/csv; charset=utf-8"
    )


async def _lines(visit: Visit, patient_id: str, wanted: Wanted, reach: Reach) -> AsyncIterator[str]:
    """Rows in portions; the session is asked for again with each of them, for it is part of the reach."""
    gettext = translations(language_of(visit.request, visit.me)).gettext
    heads = (N_("When (UTC)"), N_("Who"), N_("Role"), N_("Through"), N_("From"), N_("What"), N_("Outcome"))
    yield "\ufeff" + _row([gettext(each) for each in heads])  # the mark tells spreadsheets that it is UTF-8
    before = Where("happened.at <= :table_made", {"table_made": clock.now()})
    offset = 0
    while happened := await reading.events_of(
        visit.services.db,
        visit.services.keyring,
        reach=reach.patients(),
        match=wanted.match & before,
        limit=AT_ONCE,
        offset=offset,
    ):
        sentences = await entry_of(visit, happened, patient_id)
        yield "".join(
            _row(_cells(each, sentence)) for each, sentence in zip(happened, sentences, strict=True)
        )
        offset += len(happened)


def _cells(each: Happened, sentence: str) -> list[str]:
    who = each.who
    at = each.at.astimezone(UTC).isoformat(timespec="seconds")
    return [at, who.name, who.role, who.client_name, who.address, sentence, each.outcome]


def _row(cells: list[str]) -> str:
    """One line; a cell that a spreadsheet would run as a formula is made a text."""
    line = StringIO()
    csv.writer(line).writerow(
        [f"'{each}" if each[:1] in ("=", "+", "-", "@", "\t", "\r") else each for each in cells]
    )
    return line.getvalue()


def _plain(each: Happened, you: str, reader: str) -> str:
    """A person without the app they came through: one entry a person."""
    return you if str(each.who.account_id) == reader else each.who.name or each.who.client_name or "Lightbox"


async def _reach(visit: Visit, patient_id: str) -> Reach:
    return (await visit.reach(AUDIT_READ)).at(patient_id)


def _wanted(visit: Visit) -> Wanted:
    """What stands in the address; nothing where it holds what no form of ours sends."""
    who, kind = visit.query("who"), visit.query("kind")
    try:
        who = str(UUID(who)) if who else ""
    except ValueError:
        who = ""
    return Wanted(who, kind if kind in KINDS else "", _day(visit.query("since")), _day(visit.query("until")))


def _day(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
