"""How an event of the log looks as an AuditEvent. Pure functions.

FHIR R4, AuditEvent; IHE Basic Audit Log Patterns (BALP) 1.1: type and subtype, the agents client, server and user, the
entities patient, data and query; the token by its jti.
"""

from __future__ import annotations

from base64 import b64encode
from functools import lru_cache
from typing import Any, NamedTuple, TypeAlias
from urllib.parse import urlsplit

import orjson

from server.audit.events import Event, Outcome
from server.audit.reading import Happened
from server.records.document import Json, dump, instant

DCM = "http://dicom.nema.org/resources/ontology/DCM"
TYPES = "http://terminology.hl7.org/CodeSystem/audit-event-type"
INTERACTIONS = "http://hl7.org/fhir/restful-interaction"
ROLES = "urn:lightbox:role"
_ENTITY = "http://terminology.hl7.org/CodeSystem/audit-entity-type"
_ROLE = "http://terminology.hl7.org/CodeSystem/object-role"
OUTCOMES: dict[str, str] = {Outcome.SUCCESS: "0", Outcome.REFUSED: "4", Outcome.FAILED: "8"}

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

# What many events show alike is written once and put in as it is: never what names anybody.
Written: TypeAlias = orjson.Fragment


def _written(value: Any) -> Written:
    return Written(dump(value))


_REST = _written({"system": TYPES, "code": "rest", "display": "RESTful Operation"})
_PERSON = _written({"system": _ENTITY, "code": "1", "display": "Person"})
_PATIENT = _written({"system": _ROLE, "code": "1", "display": "Patient"})
_OBJECT = _written({"system": _ENTITY, "code": "2", "display": "System Object"})
_RESOURCE = _written({"system": _ROLE, "code": "4", "display": "Domain Resource"})
_QUERY = _written({"system": _ROLE, "code": "24", "display": "Query"})


class _Kind(NamedTuple):
    """What all events of a kind show alike."""

    action: str
    subtype: Written
    user: Written  # roles of who asked
    app: Written  # and of what they asked through
    server: Written
    source: Written


@lru_cache(maxsize=1000)
def _alike(event: str, old: bool, base: str) -> _Kind:
    """Of events with this name; of a read, of an old version or not."""
    action, interaction = kind_of(event)
    codes = [
        {"system": INTERACTIONS, "code": "vread" if old and interaction == "read" else interaction},
        {"system": "urn:lightbox:audit-event", "code": event},
    ]
    # Data flows from the source role to the destination role. A search flows from the client too: its question does
    # (BALP, Query).
    app, server = (_DESTINATION, _SOURCE) if action == "R" else (_SOURCE, _DESTINATION)
    # Who reads receives information; who writes gives it, and receives the answer.
    user = [_RECIPIENT] if action in "RE" else [_AUTHOR, _RECIPIENT]
    return _Kind(
        action,
        _written(codes),
        _written({"coding": user}),
        _written({"coding": [app]}),
        _written(_server(server, base)),
        _written(_observed(base)),
    )


def _server(role: Json, base: str) -> Json:
    """This server, as an agent."""
    return {
        "type": {"coding": [role]},
        "who": {"identifier": {"value": base}, "display": "Lightbox"},
        "requestor": False,
        "network": {"address": urlsplit(base).hostname or base, "type": "1"},
    }


def _observed(base: str) -> Json:
    """This server, as the source of the event."""
    return {
        "site": base,
        "observer": {"identifier": {"value": base}, "display": "Lightbox"},
        "type": [{"system": "http://terminology.hl7.org/CodeSystem/security-source-type", "code": "4"}],
    }


class Renderer:
    """Renders the events of one request: who acted in one often acted in the next. What it knows is gone with it."""

    def __init__(self, base: str) -> None:
        self._base = base
        self._known: dict[tuple[object, ...], Written] = {}

    def __call__(self, event: Happened) -> bytes:
        """The event as an AuditEvent."""
        kind = _alike(event.event, bool(event.detail.get("old")), self._base)
        at, what = instant(event.at), _what(event.detail)
        meta: Json = {"versionId": "1", "lastUpdated": at}
        if profile := _profile(event, kind.action, what):
            meta["profile"] = [profile]
        return dump(
            {
                "resourceType": "AuditEvent",
                "id": str(event.id),
                "meta": meta,
                "type": _REST,
                "subtype": kind.subtype,
                "action": kind.action,
                "recorded": at,
                "outcome": OUTCOMES.get(event.outcome, "8"),
                "agent": self._agents(event, kind),
                "source": kind.source,
                "entity": _entities(event, what),
            }
        )

    def _agents(self, event: Happened, kind: _Kind) -> Written:
        """All that the agents are made of is in the key."""
        key = (event.who, event.by_patient, event.patient_id, kind.action)
        if key not in self._known:
            self._known[key] = _written([_user(event, kind), _app(event, kind), kind.server])
        return self._known[key]


def kind_of(event: str) -> tuple[str, str]:
    return _INTERACTIONS.get(event, ("E", "operation"))


def _user(event: Happened, kind: _Kind) -> Json:
    """Who asked."""
    who = event.who
    user: Json = {"type": kind.user, "who": _who(event), "requestor": True}
    if who.name:
        user["name"] = who.name
    if who.role:
        user["role"] = [{"coding": [{"system": ROLES, "code": who.role}]}]
    if who.token_id:
        user["policy"] = [f"urn:ietf:params:oauth:jti:{who.token_id}"]
    return user


def _app(event: Happened, kind: _Kind) -> Json:
    """Through what they asked."""
    who = event.who
    app: Json = {"display": who.client_name or who.client_id or "Lightbox"}
    if who.client_id:
        app = {"identifier": {"value": who.client_id}, **app}
    agent: Json = {"type": kind.app, "who": app, "requestor": False}
    if who.address:
        agent["network"] = {"address": who.address, "type": "2"}
    return agent


def _profile(event: Happened, action: str, what: Json | None) -> str | None:
    """The pattern of BALP that the event is an example of; it wants to know all of who, from where, whose and what."""
    if event.outcome != Outcome.SUCCESS or not event.patient_id or not event.who.address:
        return None
    if kind_of(event.event)[1] == "search":
        return f"{_BALP}.PatientQuery" if event.detail.get("query") and not what else None
    name = {"C": "Create", "R": "Read", "U": "Update", "D": "Delete"}.get(action)
    return f"{_BALP}.Patient{name}" if name and what else None


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


def _entities(event: Happened, what: Json | None) -> list[Json]:
    """Whose record it was, what it was done to, and what was searched for."""
    entities: list[Json] = []
    if event.patient_id:
        whose = {"reference": f"Patient/{event.patient_id}"}
        entities.append({"what": whose, "type": _PERSON, "role": _PATIENT})
    if what:
        entities.append({"what": what, "type": _OBJECT, "role": _RESOURCE})
    if query := event.detail.get("query"):
        asked = b64encode(str(query).encode()).decode()
        entities.append({"type": _OBJECT, "role": _QUERY, "query": asked})
    return entities


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
