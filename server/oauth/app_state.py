"""App State: what an app keeps here for itself, as Basic resources at an endpoint of its own.

SMART App Launch 2.2, "Persisting App State" (smart-app-state). A state is its client's alone: no other app sees it.
It is about a patient, about who signed in, or (without subject) about the app as a whole; the last is written by
who runs something, not by everybody who uses the app. Errors are OperationOutcomes (app.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from server.access.action import Verb
from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock, ids
from server.core.errors import Forbidden, Gone, InvalidInput, NotAuthenticated, NotFound, PreconditionFailed
from server.records import document
from server.storage.db import Record
from server.storage.sql import load
from server.storage.where import Where, all_of

from . import app_state_rules as rules
from .app_state_rules import State

QUERIES = load(__package__, "app_state.sql")
PATH = "/app-state"
FHIR_JSON = "application/fhir+json; charset=utf-8"
NO_STATE = "There is no such state, or it is not this app's."
NOT_THAT_SUBJECT = "The token does not let this app keep state about that subject."
_ETAG = re.compile(r'\s*(?:W/)?"([0-9]{1,9})"\s*')


@dataclass(frozen=True)
class Call:
    """An app with a token, acting for somebody."""

    services: Services
    actor: Actor

    @classmethod
    async def of(cls, request: Request) -> Call:
        """Raises NotAuthenticated: a token is needed, and it must live; no cookie will do."""
        services: Services = request.app.state.services
        actor = await services.gate.actor(request)
        if actor.scopes is None or actor.client_id is None:
            raise NotAuthenticated()
        await services.gate.confirm(request)
        return cls(services, actor)

    async def open_to(self, verb: Verb) -> Where:
        """A condition over a row of app_state: this caller may do that to it. Raises InsufficientScope."""
        return await rules.open_to(self.services, self.actor, verb)

    async def note(self, event: Event, row: Record, **more: Any) -> None:
        """What concerns a patient is in their log."""
        if row["patient_id"]:
            detail = {"type": "Basic", "id": row["id"], "code": row["code"]}
            await self.services.audit.record(
                event, who=self.actor.who(), patient_id=row["patient_id"], detail=detail, **more
            )


async def create(request: Request) -> Response:
    """POST [base]/Basic"""
    call = await Call.of(request)
    may = await call.open_to(Verb.CREATE)
    state = await rules.read_state(request, new=True)
    subject = await rules.subject_of(call.services, call.actor, state.subject)
    id = ids.new_id()
    values = {
        "id": id,
        "client": call.actor.client_id,
        "patient": subject.patient_id,
        "account": subject.account_id,
        "subject": state.subject,
        "system": state.system,
        "code": state.code,
        "now": clock.now(),
    }
    async with call.services.db.transaction():
        held = await call.services.db.fetch_val(QUERIES["count_states"], values)
        if held >= rules.MOST_STATES:
            raise rules.TooMany()
        sealed = await _sealed(call, id, subject.patient_id, state)
        row = await call.services.db.fetch_one(QUERIES["add_state"], values | {"sealed": sealed}, open=may)
        if row is None:
            raise Forbidden(NOT_THAT_SUBJECT)
        await call.note(Event.RECORD_CREATED, row)
    answer = await _answer(call, row, 201)
    answer.headers["Location"] = f"{_base(call)}/Basic/{row['id']}"
    return answer


async def read(request: Request) -> Response:
    """GET [base]/Basic/[id]"""
    call = await Call.of(request)
    row = await _find(call, request, await call.open_to(Verb.READ))
    if row["deleted_at"]:
        raise Gone()
    await _note_read(call, [row])
    return await _answer(call, row)


async def update(request: Request) -> Response:
    """PUT [base]/Basic/[id]; If-Match is needed, and code and subject stay what they are: else 412."""
    call = await Call.of(request)
    may = await call.open_to(Verb.UPDATE)
    state = await rules.read_state(request, new=False)
    if state.id != request.path_params["id"]:
        raise InvalidInput("The id must be the one in the address.")
    async with call.services.db.transaction():
        row = await _locked(call, request, may)
        if (state.system, state.code, state.subject) != (row["system"], row["code"], row["subject"]):
            raise PreconditionFailed("The code and the subject of a state do not change.")
        sealed = await _sealed(call, row["id"], row["patient_id"], state)
        values = {"id": row["id"], "sealed": sealed, "now": clock.now()}
        changed = await call.services.db.fetch_one(QUERIES["change_state"], values)
        assert changed is not None
        await call.note(Event.RECORD_UPDATED, changed)
    return await _answer(call, changed)


async def delete(request: Request) -> Response:
    """DELETE [base]/Basic/[id]; If-Match is needed."""
    call = await Call.of(request)
    may = await call.open_to(Verb.DELETE)
    async with call.services.db.transaction():
        row = await _locked(call, request, may)
        await call.services.db.execute(QUERIES["delete_state"], {"id": row["id"], "now": clock.now()})
        await call.note(Event.RECORD_DELETED, row)
    return Response(status_code=204)


async def search(request: Request) -> Response:
    """GET [base]/Basic?code=system|code&subject=… or subject:missing=true"""
    call = await Call.of(request)
    may = await call.open_to(Verb.SEARCH)
    match = rules.criteria(request.query_params.multi_items(), base=call.services.settings.fhir_base)
    values = {"client": call.actor.client_id}
    rows = await call.services.db.fetch_all(QUERIES["find_states"], values, match=match, open=may)
    await _note_read(call, rows)
    entries = [
        {
            "fullUrl": f"{_base(call)}/Basic/{row['id']}",
            "resource": await _resource(call, row),
            "search": {"mode": "match"},
        }
        for row in rows
    ]
    bundle = {
        "resourceType": "Bundle",
        "type": "searchset",
        "total": len(entries),
        "link": [{"relation": "self", "url": f"{_base(call)}/Basic?{request.url.query}"}],
        **({"entry": entries} if entries else {}),
    }
    return Response(orjson.dumps(bundle), media_type=FHIR_JSON, headers={"Cache-Control": "no-store"})


async def capabilities(request: Request) -> Response:
    """GET [base]/metadata: CapabilityStatement/smart-app-state-server of SMART App Launch."""
    services: Services = request.app.state.services
    kinds = ("create", "read", "update", "delete", "search-type")
    basic = {
        "type": "Basic",
        "supportedProfile": [
            "http://hl7.org/fhir/smart-app-launch/StructureDefinition/smart-app-state-basic"
        ],
        "interaction": [{"code": kind} for kind in kinds],
        "versioning": "versioned-update",
        "searchParam": [{"name": "code", "type": "token"}, {"name": "subject", "type": "reference"}],
    }
    statement = {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": "2026-11-22",
        "kind": "instance",
        "implementation": {"description": "App State", "url": f"{services.settings.base_url}{PATH}"},
        "fhirVersion": "4.0.1",
        "format": ["application/fhir+json", "json"],
        "instantiates": ["http://hl7.org/fhir/smart-app-launch/CapabilityStatement/smart-app-state-server"],
        "rest": [{"mode": "server", "resource": [basic]}],
    }
    return Response(orjson.dumps(statement), media_type=FHIR_JSON)


routes = [
    Route("/metadata", capabilities, methods=["GET"]),
    Route("/Basic", search, methods=["GET"]),
    Route("/Basic", create, methods=["POST"]),
    Route("/Basic/{id}", read, methods=["GET"]),
    Route("/Basic/{id}", update, methods=["PUT"]),
    Route("/Basic/{id}", delete, methods=["DELETE"]),
]


async def _find(call: Call, request: Request, may: Where) -> Record:
    values = {"client": call.actor.client_id}
    named = Where("state.id = :named", {"named": request.path_params["id"]})
    rows = await call.services.db.fetch_all(QUERIES["state_by_id"], values, open=all_of(named, may))
    if not rows:
        raise NotFound(NO_STATE)
    return rows[0]


async def _locked(call: Call, request: Request, may: Where) -> Record:
    """The state as If-Match names it; a deleted one fails every precondition. Raises NotFound, PreconditionFailed."""
    row = await _find(call, request, may)
    found = _ETAG.fullmatch(request.headers.get("if-match", ""))
    if found is None:
        raise PreconditionFailed("If-Match with the entity tag of the state is needed.")
    if row["deleted_at"] is not None or int(found[1]) != row["version"]:
        raise PreconditionFailed("If-Match names another version than the current one.")
    return row


async def _sealed(call: Call, id: str, patient_id: str | None, state: State) -> bytes:
    key = await _key(call, patient_id)
    kept = {name: value for name, value in state.resource.items() if name not in ("id", "meta")}
    if meta := {
        k: v for k, v in state.resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")
    }:
        kept["meta"] = meta
    return call.services.keyring.seal(key, document.dump(kept), _context(id))


async def _resource(call: Call, row: Record) -> dict[str, Any]:
    key = await _key(call, row["patient_id"])
    opened = call.services.keyring.open(key, bytes(row["sealed"]), _context(row["id"]))
    resource: dict[str, Any] = orjson.loads(opened)
    given = {"versionId": str(row["version"]), "lastUpdated": document.instant(row["updated_at"])}
    return {
        "resourceType": "Basic",
        "id": row["id"],
        **resource,
        "meta": {**resource.get("meta", {}), **given},
    }


async def _key(call: Call, patient_id: str | None) -> bytes | None:
    """State about a patient goes when the patient's key goes; other state is the system's."""
    if patient_id is None:
        return None
    held = await call.services.db.fetch_val(QUERIES["key_of_patient"], {"patient": patient_id})
    if held is None:  # nobody by that name, or somebody who is being erased
        raise Forbidden(NOT_THAT_SUBJECT)
    return bytes(held)


async def _answer(call: Call, row: Record, status: int = 200) -> Response:
    headers = {
        "ETag": f'W/"{row["version"]}"',
        "Last-Modified": row["updated_at"].strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "Cache-Control": "no-store",
    }
    return Response(orjson.dumps(await _resource(call, row)), status, headers, FHIR_JSON)


async def _note_read(call: Call, rows: Iterable[Record]) -> None:
    for row in rows:
        hour = f"{clock.now():%Y-%m-%dT%H}"
        await call.note(Event.RECORD_READ, row, fold=f"state {call.actor.client_id} {row['id']} {hour}")


def _base(call: Call) -> str:
    return f"{call.services.settings.base_url}{PATH}"


def _context(id: str) -> bytes:
    return b"app-state:" + id.encode()
