"""AuditEvents: the chained log of a patient's record, as FHIR resources. Rendered when read; nothing is kept twice.

FHIR R4, AuditEvent. How an event looks: `audit_render.py`.
"""

from __future__ import annotations

from collections.abc import Sequence
from urllib.parse import urlencode
from uuid import UUID

from server.access.action import Verb
from server.access.reach import Reach
from server.audit import reading
from server.audit.events import Event
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.conditions import Condition, Criterion
from server.records.document import dump
from server.records.references import here
from server.records.search_values import dated, unescaped
from server.records.store import Stored
from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from . import trail
from .audit_render import OUTCOMES, kind_of, render
from .bundle import bundle, entry
from .call import Call
from .format import Answer
from .paging import Page, own_links, page_address
from .search_params import Asked


async def read(call: Call, id: str) -> Stored | None:
    """One event of a patient whose log the caller may read; None for any other id."""
    reach = await call.reach("AuditEvent", Verb.READ)
    try:
        match = Where("happened.id = :event_id", {"event_id": UUID(id)})
    except ValueError:
        return None
    found = await _events(call, reach, match, limit=1)
    if not found:
        return None
    one = found[0]
    return Stored("AuditEvent", id, 1, one.at, one.patient_id, dump(render(one, call.base)))


async def search(call: Call, asked: Asked, *, reach: Reach, page: Page | None) -> Answer:
    """Events that the criteria select, newest first."""
    if any(not sort.descending for sort in asked.query.sorts):
        raise InvalidInput("AuditEvents come newest first (_sort=-date).")
    match = all_of(*(_where(one, call.base) for one in asked.query.conditions))
    patients = asked.query.compartment
    allowed = reach.patients()
    if patients is not None:
        allowed = allowed & Where("patient.id = :compartment", {"compartment": patients})
    before = page.offset if page else 0
    narrowed = match & _after(page) if page else match
    found = (
        []
        if asked.only_count
        else await _events(call, reach, narrowed, limit=asked.count + 1, allowed=allowed)
    )
    shown = found[: asked.count]
    total = await _total(call, asked, allowed, match, before + len(shown), more=len(found) > asked.count)
    trail.searched(call, "AuditEvent", urlencode(asked.used), [*asked.query.patients()])
    return Answer(200, _bundle(call, asked, shown, total, before if len(found) > asked.count else None, page))


def _bundle(
    call: Call,
    asked: Asked,
    shown: Sequence[Happened],
    total: int | None,
    before: int | None,
    page: Page | None,
) -> bytes:
    path = "AuditEvent"
    if asked.query.compartment is not None:
        path = f"Patient/{asked.query.compartment}/AuditEvent"
    links = own_links(call, path, asked.used, page)
    if before is not None and shown:
        last = (shown[-1].at, str(shown[-1].id))
        links.append(("next", page_address(call, Page(path, tuple(asked.used), last, before + asked.count))))
    entries = [
        entry(
            call.address("AuditEvent", str(one.id)),
            asked.shape.apply("AuditEvent", dump(render(one, call.base))),
            {"search": {"mode": "match"}},
        )
        for one in shown
    ]
    return bundle("searchset", entries, total=total, links=links)


def _after(page: Page) -> Where:
    """Events that come after the last one of the page before, newest first; new ones move nothing."""
    if len(page.position) != 2:
        raise InvalidInput("The paging link does not fit the search.")
    at, id = page.position
    return Where(
        "happened.at < :last_at OR (happened.at = :last_at AND happened.id > :last_id)",
        {"last_at": at, "last_id": UUID(id)},
    )


async def _total(
    call: Call, asked: Asked, allowed: Where, match: Where, shown: int, *, more: bool
) -> int | None:
    """How many there are: known on the last page, and counted when that is asked for. A log is long."""
    if asked.total == "none":
        return None
    if asked.only_count or (more and asked.total == "accurate"):
        return await reading.count_events_of(call.services.db, reach=allowed, match=match)
    return None if more else shown


async def _events(
    call: Call, reach: Reach, match: Where, *, limit: int, allowed: Where | None = None
) -> list[Happened]:
    return await reading.events_of(
        call.services.db,
        call.services.keyring,
        reach=reach.patients() if allowed is None else allowed,
        match=match,
        limit=limit,
    )


def _where(condition: Condition, base: str) -> Where:
    """A criterion over the columns of the log. Details are sealed: what lies in them cannot be searched for."""
    if not isinstance(condition, Criterion) or condition.modifier not in ("", "Patient"):
        raise InvalidInput("AuditEvents are searched by plain parameters, without modifiers and chains.")
    search_one = SEARCHES.get(condition.param.name)
    if search_one is None:
        raise InvalidInput(f"AuditEvents are searched by {', '.join(sorted(SEARCHES))}.")
    return any_of(*(search_one(value, base) for value in condition.values))


def _by_date(value: str, base: str) -> Where:
    date = dated(value, "date")
    low, high = {"low": date.span.low}, {"high": date.span.high}
    inside = Where("happened.at >= :low AND happened.at < :high", {**low, **high})
    match date.prefix:
        case "gt" | "sa":
            return Where("happened.at >= :high", high)
        case "lt" | "eb":
            return Where("happened.at < :low", low)
        case "ge":
            return Where("happened.at >= :low", low)
        case "le":
            return Where("happened.at < :high", high)
        case "ne":
            return ~inside
    return inside


def _by_patient(value: str, base: str) -> Where:
    found = here(unescaped(value), base)
    patient = found.id if found is not None and found.type == "Patient" else unescaped(value)
    return Where("patient.id = :event_patient", {"event_patient": patient})


def _by_entity(value: str, base: str) -> Where:
    found = here(unescaped(value), base)
    if found is None or found.type != "Patient":
        raise InvalidInput("AuditEvents are searched by the patient they concern; other entities are sealed.")
    return _by_patient(value, base)


def _by_action(value: str, base: str) -> Where:
    code = unescaped(value).rpartition("|")[2]
    events = [event for event in Event if kind_of(event)[0] == code]
    return Where("happened.event = ANY (:events::text[])", {"events": [str(event) for event in events]})


def _by_subtype(value: str, base: str) -> Where:
    code = unescaped(value).rpartition("|")[2]
    events = [event for event in Event if kind_of(event)[1] == code]
    return Where("happened.event = ANY (:events::text[])", {"events": [str(event) for event in events]})


def _by_type(value: str, base: str) -> Where:
    return TRUE if unescaped(value).rpartition("|")[2] == "rest" else FALSE


def _by_outcome(value: str, base: str) -> Where:
    code = unescaped(value).rpartition("|")[2]
    outcomes = [str(outcome) for outcome, number in OUTCOMES.items() if number == code]
    return Where("happened.outcome = ANY (:outcomes::text[])", {"outcomes": outcomes})


def _by_agent(value: str, base: str) -> Where:
    """By the pseudonym of the person or organization; a hash lookup, not the sealed name."""
    found = here(unescaped(value), base)
    id = found.id if found is not None else unescaped(value)
    return Where(
        "happened.actor IN (SELECT pseudonym.pseudonym FROM pseudonym WHERE pseudonym.subject IN ("
        "SELECT 'account:' || account_id FROM practitioner WHERE practitioner.id = :agent"
        " UNION SELECT 'account:' || account_id FROM holder WHERE holder.patient_id = :agent"
        " UNION SELECT 'client:' || client.id FROM client WHERE client.organization_id = :agent))",
        {"agent": id},
    )


def _by_id(value: str, base: str) -> Where:
    try:
        return Where("happened.id = :event_id", {"event_id": UUID(unescaped(value))})
    except ValueError:
        return FALSE


SEARCHES = {
    "_id": _by_id,
    "_lastUpdated": _by_date,
    "action": _by_action,
    "agent": _by_agent,
    "date": _by_date,
    "entity": _by_entity,
    "outcome": _by_outcome,
    "patient": _by_patient,
    "subtype": _by_subtype,
    "type": _by_type,
}
