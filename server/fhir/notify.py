"""What subscriptions send: handshakes, events, heartbeats; each through the guarded client, at least once.

Subscriptions R5 Backport IG 1.1. A change leaves a job in its own transaction (records/store.py). Whether a subscriber
hears of it, and what of it, is asked with the subscriber's reach when the notification is sent: what was taken back
in between is not told. Whoever's authorization has ended hears nothing more: the subscription is turned off.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock, outbound
from server.core.errors import Gone, InsufficientScope, NotFound, ServerError
from server.jobs.queue import MOST_TRIES, Job, Kit, Periodic, enqueue
from server.records import search, store
from server.records.criteria import condition
from server.records.document import load_exact
from server.records.registry import resource_type
from server.records.search_references import Searching
from server.storage.db import Record

from . import later, notification, topics
from .subscription import HANDSHAKE, QUERIES, happening
from .topics import Wish

DELIVER = "fhir-deliver"
HEARTBEAT_EVERY = timedelta(seconds=15)
HANDSHAKES = 4  # tries
IN_ERROR_AFTER = 3  # failures in a row
EVENTS_KEPT = timedelta(days=30)


class NotDelivered(ServerError):
    """The endpoint did not take the notification."""


@dataclass(frozen=True)
class _Subscriber:
    """One subscription, ready to be told something."""

    row: Record
    wish: Wish
    actor: Actor
    reach: Reach

    @property
    def id(self) -> str:
        return str(self.row["id"])


async def changed(services: Services, job: Job) -> None:
    """A resource is new or has changed: an event for each subscriber whose filters and reach it meets."""
    type, id, version = job.payload["type"], job.payload["id"], job.payload["version"]
    patient = await services.db.fetch_val(QUERIES["whose_is_changed"], {"type": type, "id": id})
    if not patient:
        return
    values = {"type": type, "patient": patient, "now": clock.now()}
    for row in await services.db.fetch_all(QUERIES["subscribers"], values):
        subscriber = await _subscriber(services, row["id"])
        if subscriber is None or not await _meets(services, subscriber, type, id):
            continue
        event = {
            "subscription": subscriber.id,
            "type": type,
            "id": id,
            "version": version,
            "patient": patient,
            "now": clock.now(),
        }
        async with services.db.transaction():
            number = await services.db.fetch_val(QUERIES["add_event"], event)
            if number is not None:
                await enqueue(services.db, DELIVER, {"subscription": subscriber.id, "number": number})


async def _meets(services: Services, subscriber: _Subscriber, type: str, id: str) -> bool:
    query = subscriber.wish.query(condition(resource_type(type), "_id", id))
    searching = Searching(services.settings.fhir_base)
    return bool(await search.page(services.db, query, searching, reach=subscriber.reach, limit=1))


async def handshake(services: Services, job: Job) -> None:
    """Active once the endpoint has answered (2xx); in error when it does not after some tries."""
    subscriber = await _subscriber(services, job.payload["subscription"])
    if subscriber is None:
        return
    try:
        await _send(services, subscriber, "handshake")
    except NotDelivered:
        if job.tries < HANDSHAKES:
            raise
        await _turn(services, subscriber.id, "error", "The endpoint does not answer.")


async def deliver(services: Services, job: Job) -> None:
    """One event, or (without a number) a heartbeat."""
    subscriber = await _subscriber(services, job.payload["subscription"])
    if subscriber is None:
        return
    number = job.payload.get("number")
    try:
        if number is None:
            await _send(services, subscriber, "heartbeat")
            return
        values = {"id": subscriber.id, "least": number, "most": number, "limit": 1}
        row = await services.db.fetch_one(QUERIES["events"], values)
        content = subscriber.wish.content
        event = row and await happening(services.db, row, content, reach=subscriber.reach)
        if event is not None:
            await _note(services, subscriber, event)
            await _send(services, subscriber, "event-notification", [event])
    except NotDelivered:
        await _failed(services, subscriber, last=job.tries >= MOST_TRIES)
        if number is not None:  # a heartbeat that was missed is not made up for
            raise


async def _note(services: Services, subscriber: _Subscriber, event: notification.Happening) -> None:
    """A resource that is sent is one that is read: in the log before it goes, once however often it is tried."""
    if event.json and event.patient_id:
        await services.audit.record(
            Event.RECORD_READ,
            who=subscriber.actor.who(),
            patient_id=event.patient_id,
            detail={"type": event.type, "id": event.id, "version": event.shown},
            fold=f"notified {subscriber.id} {event.number} {event.patient_id} {event.shown}",
        )


async def _send(
    services: Services, subscriber: _Subscriber, kind: str, events: list[notification.Happening] | None = None
) -> None:
    """Raises NotDelivered."""
    wish, base = subscriber.wish, services.settings.fhir_base
    happened = events or []
    head = notification.status(
        subscriber.id,
        base,
        topic=wish.topic,
        state="requested" if kind == "handshake" else "active",
        kind=kind,
        count=happened[-1].number if happened else subscriber.row["last_event"],
        events=happened,
        told=wish.content,
    )
    body = notification.bundle(subscriber.id, base, head, happened, wish.content)
    headers = later.unseal(services, subscriber.row["secret"], f"headers {subscriber.id}".encode())["headers"]
    try:
        answer = await outbound.post(
            wish.endpoint,
            body,
            {**headers, "Content-Type": "application/fhir+json"},
            seconds=wish.timeout,
            private=topics.is_private(wish.endpoint, services.settings.private_hosts),
        )
    except outbound.Refused as exc:
        raise NotDelivered() from exc
    if not 200 <= answer.status < 300:
        raise NotDelivered()
    await services.db.fetch_val(QUERIES["sent"], {"id": subscriber.id, "now": clock.now()})
    await _show(services, subscriber.id, "active")


async def _subscriber(services: Services, id: str) -> _Subscriber | None:
    """Somebody who may still be told something; a subscription whose authorization has ended is turned off."""
    row = await services.db.fetch_one(QUERIES["subscription"], {"id": id})
    if row is None or row["state"] == "off":
        return None
    if row["ends_at"] is not None and row["ends_at"] <= clock.now():
        await _turn(services, id, "off", "Its time has ended.")
        return None
    actor = await later.revived(services, later.unseal(services, row["actor"], f"subscriber {id}".encode()))
    wish = await _wish(services, id)
    if actor is None or wish is None:
        await _turn(services, id, "off", "The authorization it was made with has ended.")
        return None
    try:
        reach = await services.gate.reach_for_actor(actor, Action(wish.type, Verb.READ))
    except InsufficientScope:
        await _turn(services, id, "off", "The authorization it was made with has ended.")
        return None
    return _Subscriber(row, wish, actor, reach)


async def _wish(services: Services, id: str) -> Wish | None:
    try:
        stored = await store.read_own(services.db, "Subscription", id)
    except (NotFound, Gone):
        return None
    return topics.read(load_exact(stored.json), services.settings.fhir_base, services.settings.private_hosts)


async def _failed(services: Services, subscriber: _Subscriber, *, last: bool) -> None:
    problem = "The endpoint does not take notifications."
    row = await services.db.fetch_one(QUERIES["not_sent"], {"id": subscriber.id, "problem": problem})
    if last:
        await _turn(services, subscriber.id, "off", problem)
    elif row is not None and row["failures"] >= IN_ERROR_AFTER:
        await _turn(services, subscriber.id, "error", problem)


async def _turn(services: Services, id: str, state: str, problem: str) -> None:
    """Another state, in the row and in the resource."""
    async with services.db.transaction():
        values = {"id": id, "state": state, "problem": problem}
        if await services.db.fetch_val(QUERIES["turn_subscription"], values) is not None:
            await _show(services, id, state, problem)


async def _show(services: Services, id: str, state: str, problem: str = "") -> None:
    """The Subscription says what state it is in."""
    try:
        stored = await store.read_own(services.db, "Subscription", id)
    except (NotFound, Gone):
        return
    resource = load_exact(stored.json)
    if resource.get("status") == state:
        return
    resource["status"] = state
    resource.pop("error", None)
    if problem:
        resource["error"] = problem
    await store.put(services.db, resource, patient_id="", author=stored.author)


async def _heartbeats(services: Services) -> None:
    now = clock.now()
    async with services.db.transaction():
        for row in await services.db.fetch_all(QUERIES["heartbeats_due"], {"now": now}):
            await enqueue(services.db, DELIVER, {"subscription": row["id"], "number": None})
    for row in await services.db.fetch_all(QUERIES["subscriptions_ended"], {"now": now}):
        await _turn(services, row["id"], "off", "Its time has ended.")


async def _tidy(services: Services) -> None:
    """Remove what belongs to nobody any more, its history too; forget old events."""
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES["subscriptions_of_nobody"])
        gone = {"ids": [row["id"] for row in rows]}
        await services.db.execute(QUERIES["erase_versions"], gone)
        await services.db.execute(QUERIES["erase_subscriptions"], gone)
    await services.db.execute(QUERIES["forget_events"], {"before": clock.now() - EVENTS_KEPT})


KIT = Kit(
    handlers={store.CHANGED: changed, HANDSHAKE: handshake, DELIVER: deliver},
    periodic=(
        Periodic("fhir: heartbeats", HEARTBEAT_EVERY, _heartbeats),
        Periodic("fhir: tidy subscriptions", timedelta(hours=1), _tidy),
    ),
)
