"""How an event of the log looks as an AuditEvent. Pure functions.

FHIR R4, AuditEvent; IHE Basic Audit Log Patterns (BALP) 1.1: type and subtype, the agents client, server and user, the
entities patient, data and query; the token by its jti.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

from server.audit.events import Event, Outcome
from server.audit.reading import Happened
from server.records.document import Json, instant

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
ROLES = "urn:lightbox:role"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
_REST = {"system": TYPES, "code": "rest", "display": "RESTful Operation"}
OUTCOMES = {Outcome.SUCCESS: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8"}

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
    Event.SHARE_GIVEN: ("C", "create"),
    Event.SHARE_DECLINED: ("U", "update"),
    Event.SHARE_WITHDRAWN: ("U", "update"),
    Event.SHARE_CHANGED: ("U", "update"),
    Event.SHARE_ENDED: ("U", "update"),
    Event.PROFILE_CREATED: ("C", "create"),
    Event.PROFILE_CHANGED: ("U", "update"),
}
_BALP = "https://profiles.ihe.net/ITI/BALP/StructureDefinition/IHE.BasicAudit"
_PARTICIPATION = "http://terminology.hl7.org/CodeSystem/v3-ParticipationType"
_RECIPIENT = {"system": _PARTICIPATION, "code": "IRCP", "display": "information recipient"}
_AUTHOR = {"system": _PARTICIPATION, "code": "AUT", "display": "author (originator)"}
_SOURCE = {"system": DCM, "code": "110153", "display": "Source Role ID"}
_DESTINATION = {"system": DCM, "code": "110152", "display": "Destination Role ID"}


def render(event: Happened, base: str) -> Json:
    """The event as an AuditEvent."""
    action, interaction = kind_of(event.event)
    if interaction == "read" and event.detail.get("old"):
        interaction = "vread"
    meta: Json = {"versionId": "1", "lastUpdated": instant(event.at)}
    if profile := _profile(event):
        meta["profile"] = [profile]
    return {
        "resourceType": "AuditEvent",
        "id": str(event.id),
        "meta": meta,
        "type": _REST,
        "subtype": [
            {"system": INTERACTIONS, "code": interaction},
            {"system": "urn:lightbox:audit-event", "code": event.event},
        ],
        "action": action,
        "recorded": instant(event.at),
        "outcome": OUTCOMES.get(Outcome(event.outcome), "8"),
        "agent": list(_agents(event, base)),
        "source": {
            "site": base,
            "observer": {"identifier": {"value": base}, "display": "Lightbox"},
            "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
        },
        "entity": list(_entities(event)),
    }


def kind_of(event: str) -> tuple[str, str]:
    return _INTERACTIONS.get(event, ("E", "operation"))


def _agents(event: Happened, base: str) -> Iterable[Json]:
    """Who asked, through what, and this server. Data flows from the source role to the destination role."""
    who = event.who
    action, _ = kind_of(event.event)
    user: Json = {"type": {"coding": _user_roles(action)}, "who": _who(event), "requestor": True}
    if who.name:
        user["name"] = who.name
    if who.role:
        user["role"] = [{"coding": [{"system": ROLES, "code": who.role}]}]
    if who.token_id:
        user["policy"] = [f"urn:ietf:params:oauth:jti:{who.token_id}"]
    yield user
    # A search flows from the client too: its question does (BALP, Query).
    client, server = (_DESTINATION, _SOURCE) if action == "R" else (_SOURCE, _DESTINATION)
    app: Json = {"display": who.client_name or who.client_id or "Lightbox"}
    if who.client_id:
        app = {"identifier": {"value": who.client_id}, **app}
    agent: Json = {"type": {"coding": [client]}, "who": app, "requestor": False}
    if who.address:
        agent["network"] = {"address": who.address, "type": "2"}
    yield agent
    yield {
        "type": {"coding": [server]},
        "who": {"identifier": {"value": base}, "display": "Lightbox"},
        "requestor": False,
        "network": {"address": urlsplit(base).hostname or base, "type": "1"},
    }


def _user_roles(action: str) -> list[Json]:
    """Who reads receives information; who writes gives it, and receives the answer."""
    return [_RECIPIENT] if action in "RE" else [_AUTHOR, _RECIPIENT]


def _profile(event: Happened) -> str | None:
    """The pattern of BALP that the event is an example of; it wants to know all of who, from where, whose and what."""
    action, interaction = kind_of(event.event)
    if event.outcome != Outcome.SUCCESS or not event.patient_id or not event.who.address:
        return None
    if interaction == "search":
        return f"{_BALP}.PatientQuery" if event.detail.get("query") and not _what(event.detail) else None
    name = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete"}.get(action)
    return f"{_BALP}.Patient{name}" if name and _what(event.detail) else None


def _who(event: Happened) -> Json:
    who = event.who
    if who.practitioner_id:
        return {"reference": f"Practitioner/{who.practitioner_id}", "display": who.name}
    if who.organization_id:
        return {"reference": f"Organization/{who.organization_id}", "display": who.name or who.client_name}
    if event.by_patient:
        return {"reference": f"Patient/{event.patient_id}", "display": who.name or "The patient"}
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
    """What it was done to; a search is about what it asks."""
    if detail.get("query"):
        return None
    type, id, study = detail.get("type"), detail.get("id"), detail.get("study")
    if type and id:
        return {"reference": f"{type}/{id}"}
    if study:
        return {"identifier": {"system": "urn:dicom:uid", "value": f"urn:oid:{study}"}}
    return None
