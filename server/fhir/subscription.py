"""Subscriptions: made, changed and ended through FHIR; their $status and $events.

FHIR R4 Subscription, Subscriptions R5 Backport IG 1.1. A Subscription is its app's alone, tells nothing that the app
could not read at that moment with the authorization it was made with, and ends with that. What sends is notify.py.
"""

from __future__ import annotations

from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.audit.events import Event
from server.core import clock
from server.core.errors import Gone, InvalidInput, NotAllowed, NotFound, TooManyRequests, Unprocessable
from server.jobs.queue import enqueue
from server.records import store, validate
from server.records.document import Json, load_exact
from server.records.store import Stored
from server.storage.db import Database, Record
from server.storage.sql import load

from . import later, notification, topics, trail
from .bundle import bundle, entry
from .call import Call
from .export_params import from_parameters
from .format import Answer, json_answer, resource_of, respond
from .later import facts_of
from .topics import HIDDEN, Wish

QUERIES = load(__package__, "subscriptions.sql")
HANDSHAKE = "fhir-handshake"
MOST = 100  # of one caller
MOST_EVENTS = 200
_STATES = ("requested", "active", "error", "off")


async def create(call: Call, resource: Json, *, reach: Reach, id: str | None = None) -> Stored:
    """A new one: requested, until its endpoint has answered the handshake."""
    wish = await _checked(call, resource)
    caller = {"client": call.actor.client_id, "account": call.actor.account_id}
    if await call.services.db.fetch_val(QUERIES["count_subscriptions"], caller) >= MOST:
        raise TooManyRequests(f"There may be at most {MOST} subscriptions of one app.", retry_after=3600)
    shown = {**topics.masked(resource), "status": "requested"}
    shown.pop("error", None)
    stored = await store.create(
        call.services.db, shown, reach=reach, patient_id="", author=call.actor.own, id=id
    )
    values = {"now": clock.now(), **caller, **_row(call, stored.id, wish, wish.headers)}
    await call.services.db.execute(QUERIES["add_subscription"], values)
    await enqueue(call.services.db, HANDSHAKE, {"subscription": stored.id})
    await trail.wrote(call, Event.RECORD_CREATED, stored)
    return stored


async def update(
    call: Call, before: Stored, resource: Json, *, reach: Reach, if_match: int | None, method: str
) -> Stored:
    """Changed: off where it is turned off, else requested again, with a new handshake."""
    wish = await _checked(call, resource)
    row = await call.services.db.fetch_one(QUERIES["subscription"], {"id": before.id})
    caller = {"client": call.actor.client_id, "account": call.actor.account_id}
    if row is not None and (row["client_id"], row["account_id"]) != (caller["client"], caller["account"]):
        raise NotAllowed(
            "A subscription is changed by the app that made it.", allow="GET, HEAD"
        )  # it would send with other rights
    off = resource.get("status") == "off"
    shown = {**topics.masked(resource), "status": "off" if off else "requested"}
    stored = await store.update(
        call.services.db,
        shown,
        reach=reach,
        patient_id="",
        author=call.actor.own,
        if_match=if_match,
        method=method,
    )
    headers = _kept_headers(call, wish, row)
    values = _row(call, before.id, wish, headers)
    if row is None:
        await call.services.db.execute(QUERIES["add_subscription"], {"now": clock.now(), **caller, **values})
    await call.services.db.execute(
        QUERIES["change_subscription"], {**values, "state": "off" if off else "requested"}
    )
    if not off:
        await enqueue(call.services.db, HANDSHAKE, {"subscription": before.id})
    await trail.wrote(call, Event.RECORD_UPDATED, stored)
    return stored


async def delete(call: Call, before: Stored, *, reach: Reach, if_match: int | None) -> Stored:
    """Ended: nothing is sent any more."""
    stored = await store.delete(
        call.services.db, "Subscription", before.id, reach=reach, author=call.actor.own, if_match=if_match
    )
    await call.services.db.execute(QUERIES["drop_subscription"], {"id": before.id})
    return stored


async def _checked(call: Call, resource: Json) -> Wish:
    """What it asks for, which the caller may read. Raises Invalid, Unprocessable, Forbidden, InsufficientScope."""
    await validate.check(resource)
    wish = topics.read(resource, call.base, call.services.settings.private_hosts)
    if wish.ends_at is not None and wish.ends_at <= clock.now():
        raise Unprocessable("The end of the subscription has passed.", expression="Subscription.end")
    reach = await call.services.gate.reach_for_actor(call.actor, Action(wish.type, Verb.READ))
    await call.require_patients(reach, wish.query().patients())
    return wish


def _row(call: Call, id: str, wish: Wish, headers: Mapping[str, str]) -> dict[str, object]:
    context = call.actor.scopes is not None and call.actor.scopes.contexts == {"patient"}
    named = wish.query().patients()
    only = [call.actor.context_patient] if context and call.actor.context_patient else named or None
    return {
        "id": id,
        "actor": later.seal(call.services, facts_of(call.actor), f"subscriber {id}".encode()),
        "secret": later.seal(call.services, {"headers": dict(headers)}, f"headers {id}".encode()),
        "topic": wish.type,
        "heartbeat": wish.heartbeat,
        "ends_at": wish.ends_at,
        "patients": only,
    }


def _kept_headers(call: Call, wish: Wish, row: Record | None) -> dict[str, str]:
    """A value that comes back as it was shown is the one that is kept here."""
    if row is None:
        return dict(wish.headers)
    kept = later.unseal(call.services, row["secret"], f"headers {row['id']}".encode())["headers"]
    return {n: kept.get(n, "") if v == HIDDEN else v for n, v in wish.headers.items()}


async def instance_status(request: Request) -> Response:
    """GET and POST [base]/Subscription/[id]/$status"""
    call = await Call.of(request)
    stored = await _stored(call)
    return await _statuses(call, [stored.id], None)


async def type_status(request: Request) -> Response:
    """GET and POST [base]/Subscription/$status?id=…&status=…: those of the caller"""
    call = await Call.of(request)
    await call.reach("Subscription", Verb.READ)
    pairs = await _pairs(call)
    ids = [each for name, value in pairs if name == "id" for each in value.split(",")]
    states = [each for name, value in pairs if name == "status" for each in value.split(",")]
    return await _statuses(call, [each.rpartition("/")[2] for each in ids] or None, states or None)


async def _statuses(call: Call, ids: list[str] | None, states: list[str] | None) -> Response:
    values = {
        "client": call.actor.client_id,
        "account": call.actor.account_id,
        "ids": ids,
        "states": states,
    }
    rows = await call.services.db.fetch_all(QUERIES["subscriptions_of_caller"], values)
    addresses = {type: address for address, type in topics.topic_addresses(call.base).items()}
    entries = []
    for row in rows:
        told = notification.status(
            row["id"],
            call.base,
            topic=addresses[row["topic"]],
            state=row["state"],
            kind="query-status",
            count=row["last_event"],
            problem=row["problem"],
        )
        entries.append(entry(f"urn:uuid:{told['id']}", json_answer(told).json, {"search": {"mode": "match"}}))
    return await respond(call.request, Answer(200, bundle("searchset", entries, total=len(entries))))


async def events(request: Request) -> Response:
    """GET and POST [base]/Subscription/[id]/$events: what happened, as far as the caller may read it now"""
    call = await Call.of(request)
    stored = await _stored(call)
    row = await call.services.db.fetch_one(QUERIES["subscription"], {"id": stored.id})
    if row is None:
        raise NotFound()
    pairs = dict(await _pairs(call))
    wish = topics.read(load_exact(stored.json), call.base, call.services.settings.private_hosts)
    content = pairs.get("content", wish.content)
    if content not in topics.CONTENTS:
        raise InvalidInput(f"content must be one of {', '.join(topics.CONTENTS)}.")
    values = {
        "id": stored.id,
        "least": _number(pairs, "eventsSinceNumber", 1),
        "most": _number(pairs, "eventsUntilNumber", row["last_event"]),
        "limit": MOST_EVENTS,
    }
    reach = await call.reach(wish.type, Verb.READ)
    rows = await call.services.db.fetch_all(QUERIES["events"], values)
    seen = [await happening(call.services.db, one, content, reach=reach) for one in rows]
    shown = [one for one in seen if one is not None]
    head = notification.status(
        stored.id,
        call.base,
        topic=wish.topic,
        state=row["state"],
        kind="query-event",
        count=row["last_event"],
        events=shown,
        told=content,
    )
    whole = notification.bundle(stored.id, call.base, head, shown, content)
    people = [one.patient_id for one in shown if content != "empty"]
    await trail.searched(call, "Subscription/$events", (), people, (content, *shown))
    return await respond(request, Answer(200, whole))


async def happening(
    db: Database, row: Record, content: str, *, reach: Reach
) -> notification.Happening | None:
    """An event with its resource as it is now; None where that may not be seen (any more)."""
    try:
        stored = await store.read(db, row["type"], row["id"], reach=reach)
    except (NotFound, Gone):
        return None
    json = stored.json if content == "full-resource" else b""
    event = row["number"], row["at"], row["type"], row["id"], row["version"]
    return notification.Happening(*event, json, stored.patient_id, stored.version)


async def _stored(call: Call) -> Stored:
    reach = await call.reach("Subscription", Verb.READ)
    return await store.read(call.services.db, "Subscription", call.request.path_params["id"], reach=reach)


async def _pairs(call: Call) -> list[tuple[str, str]]:
    request = call.request
    pairs = list(request.query_params.multi_items())
    if request.method == "POST":
        pairs += from_parameters(await resource_of(request, limit=call.services.settings.max_resource_bytes))
    return pairs


def _number(pairs: dict[str, str], name: str, default: int) -> int:
    text = pairs.get(name, str(default))
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise InvalidInput(f"{name} must be a number.")
    return int(text)
