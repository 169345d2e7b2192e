"""AuditEvents: the chained log of a patient's record, as FHIR resources. Rendered when read; nothing is kept twice.

FHIR R4, AuditEvent; IHE Basic Audit Log Patterns (BALP) 1.1: type and subtype, the agents user and client, the
entities patient and data.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

from server.access.action import Verb
from server.access.reach import Reach
from server.audit import reading
from server.audit.events import Event, Outcome
from server.audit.reading import Happened
from server.core.errors import InvalidInput
from server.records.criteria import Condition, Criterion, dated, unescaped
from server.records.document import Json, dump, instant
from server.records.references import here
from server.records.store import Stored
from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from . import trail
from .bundle import bundle, entry
from .call import Call
from .format import Answer
from .paging import Page, seal
from .search_params import Asked

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_REST = {"system": TYPES, "code": "rest", "display": "RESTful Operation"}
_OUTCOMES = {Outcome.SUCCESS: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8"}

# Event -> action (C R U D E), subtype. What is missing is an execution of something: E, its own name.
_INTERACTIONS: dict[str, tuple[str, str]] = {
    Event.STUDY_STORED: ("C", "create"),
    Event.STUDY_VIEWED: ("R", "read"),
    Event.STUDY_DOWNLOADED: ("R", "read"),
    Event.STUDY_SEARCHED: ("E", "search"),
    Event.STUDY_DELETED: ("D", "delete"),
    Event.STUDY_CORRECTED: ("U", "update"),
    Event.RECORD_CREATED: ("C", "create"),
    Event.RECORD_READ: ("R", "read"),
    Event.RECORD_UPDATED: ("U", "update"),
    Event.RECORD_DELETED: ("D", "delete"),
    Event.RECORD_SEARCHED: ("E", "search"),
    Event.SHARE_INVITED: ("C", "create"),
    Event.SHARE_REQUESTED: ("C", "create"),
    Event.SHARE_ACCEPTED: ("U", "update"),
    Event.SHARE_DECLINED: ("U", "update"),
    Event.SHARE_WITHDRAWN: ("U", "update"),
    Event.SHARE_CHANGED: ("U", "update"),
    Event.SHARE_ENDED: ("U", "update"),
    Event.PROFILE_CREATED: ("C", "create"),
    Event.PROFILE_CHANGED: ("U", "update"),
}


async def read(call: Call, id: str) -> Stored | None:
    """One event of a patient whose log the caller may read; None for any other id."""
    reach = await call.reach("AuditEvent", Verb.READ)
    try:
        match = Where("happened.id = :event_id", {"event_id": UUID(id)})
    except ValueError:
        return None
    found = await _events(call, reach, match, limit=1, offset=0)
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
    offset = page.offset if page else 0
    found = (
        []
        if asked.only_count
        else await _events(call, reach, match, limit=asked.count + 1, offset=offset, allowed=allowed)
    )
    shown = found[: asked.count]
    total = await _total(call, asked, allowed, match, offset + len(shown), more=len(found) > asked.count)
    trail.searched(call, "AuditEvent", urlencode(asked.used), [*asked.query.patients()])
    return Answer(200, _bundle(call, asked, shown, total, offset if len(found) > asked.count else None))


def _bundle(
    call: Call, asked: Asked, shown: Sequence[Happened], total: int | None, offset: int | None
) -> bytes:
    query = urlencode(asked.used, safe=":,|/")
    links = [("self", f"{call.base}/AuditEvent" + (f"?{query}" if query else ""))]
    if offset is not None:
        following = Page("AuditEvent", tuple(asked.used), (), offset + asked.count)
        links.append(("next", f"{call.base}/AuditEvent?_page={seal(call.services.keyring, following)}"))
    entries = [
        entry(
            call.address("AuditEvent", str(one.id)),
            asked.shape.apply("AuditEvent", dump(render(one, call.base))),
            {"search": {"mode": "match"}},
        )
        for one in shown
    ]
    return bundle("searchset", entries, total=total, links=links)


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
    call: Call, reach: Reach, match: Where, *, limit: int, offset: int, allowed: Where | None = None
) -> list[Happened]:
    return await reading.events_of(
        call.services.db,
        call.services.keyring,
        reach=reach.patients() if allowed is None else allowed,
        match=match,
        limit=limit,
        offset=offset,
    )


def _where(condition: Condition, base: str) -> Where:
    """A criterion over the columns of the log. Details are sealed: what lies in them cannot be searched for."""
    if not isinstance(condition, Criterion) or condition.modifier not in ("", "Patient"):
        raise InvalidInput("AuditEvents are searched by plain parameters, without modifiers and chains.")
    search_one = _SEARCHES.get(condition.param.name)
    if search_one is None:
        raise InvalidInput(f"AuditEvents are searched by {', '.join(sorted(_SEARCHES))}.")
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
    events = [event for event in Event if _kind(event)[0] == code]
    return Where("happened.event = ANY (:events::text[])", {"events": [str(event) for event in events]})


def _by_subtype(value: str, base: str) -> Where:
    code = unescaped(value).rpartition("|")[2]
    events = [event for event in Event if _kind(event)[1] == code]
    return Where("happened.event = ANY (:events::text[])", {"events": [str(event) for event in events]})


def _by_type(value: str, base: str) -> Where:
    return TRUE if unescaped(value).rpartition("|")[2] == "rest" else FALSE


def _by_outcome(value: str, base: str) -> Where:
    code = unescaped(value).rpartition("|")[2]
    outcomes = [str(outcome) for outcome, number in _OUTCOMES.items() if number == code]
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


_SEARCHES = {
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


def render(event: Happened, base: str) -> Json:
    """The event as an AuditEvent."""
    action, interaction = _kind(event.event)
    return {
        "resourceType": "AuditEvent",
        "id": str(event.id),
        "meta": {"versionId": "1", "lastUpdated": instant(event.at)},
        "type": _REST,
        "subtype": [
            {"system": INTERACTIONS, "code": interaction},
            {"system": "urn:lightbox:audit-event", "code": event.event},
        ],
        "action": action,
        "recorded": instant(event.at),
        "outcome": _OUTCOMES.get(Outcome(event.outcome), "8"),
        "agent": list(_agents(event)),
        "source": {
            "site": base,
            "observer": {"display": "Lightbox"},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
        },
        "entity": list(_entities(event)),
    }


def _kind(event: str) -> tuple[str, str]:
    return _INTERACTIONS.get(event, ("E", "operation"))


def _agents(event: Happened) -> Iterable[Json]:
    who = event.who
    user: Json = {
        "type": _coded("http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "IRCP"),
        "who": _who(event),
        "requestor": True,
    }
    if who.name:
        user["name"] = who.name
    if who.token_id:
        user["policy"] = [f"urn:ietf:params:oauth:jti:{who.token_id}"]
    if who.address:
        user["network"] = {"address": who.address, "type": "2"}
    yield user
    if who.client_id and who.account_id:
        display = who.client_name or who.client_id
        yield {
            "type": _coded(DCM, "110153", "Source Role ID"),
            "who": {"identifier": {"value": who.client_id}, "display": display},
            "requestor": False,
        }


def _who(event: Happened) -> Json:
    who = event.who
    if who.practitioner_id:
        return {"reference": f"Practitioner/{who.practitioner_id}", "display": who.name}
    if who.organization_id:
        return {"reference": f"Organization/{who.organization_id}", "display": who.name or who.client_name}
    if who.role == "patient" and not who.client_id:
        return {"display": who.name or "The patient"}
    return {"display": who.name or who.client_name or "Lightbox"}


def _entities(event: Happened) -> Iterable[Json]:
    if event.patient_id:
        yield {
            "what": {"reference": f"Patient/{event.patient_id}"},
            "type": {"system": _ENTITY, "code": "1", "display": "Person"},
            "role": {"system": _ROLE, "code": "1", "display": "Patient"},
        }
    detail = event.detail
    if what := _what(detail):
        yield {
            "what": what,
            "type": {"system": _ENTITY, "code": "2", "display": "System Object"},
            "role": {"system": _ROLE, "code": "4", "display": "Domain Resource"},
        }
    if query := detail.get("query"):
        yield {
            "type": {"system": _ENTITY, "code": "2", "display": "System Object"},
            "role": {"system": _ROLE, "code": "24", "display": "Query"},
            "query": b64encode(str(query).encode()).decode(),
        }


def _what(detail: Any) -> Json | None:
    type, id, study = detail.get("type"), detail.get("id"), detail.get("study")
    if type and id:
        return {"reference": f"{type}/{id}"}
    if study:
        return {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}}
    return None


def _coded(system: str, code: str, display: str = "") -> Json:
    coding = {"system": system, "code": code} | ({"display": display} if display else {})
    return {"coding": [coding]}
