"""Notifications: a Bundle whose first entry tells of the subscription, the others of what happened.

Subscriptions R5 Backport IG 1.1, R4: Bundle of type history, SubscriptionStatus as Parameters.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from server.core import clock
from server.core.ids import new_id
from server.records.document import Json, dump, instant

from .bundle import entry
from .topics import IG

NOTIFICATION = f"{IG}/backport-subscription-notification-r4"
STATUS = f"{IG}/backport-subscription-status-r4"


@dataclass(frozen=True)
class Happening:
    """One event, with the resource where that is told and may be seen."""

    number: int
    at: datetime
    type: str
    id: str
    version: int
    json: bytes = b""
    patient_id: str = ""  # whose it is, and which version is shown: for the log
    shown: int = 0


def status(
    id: str,
    base: str,
    *,
    topic: str,
    state: str,
    kind: str,
    count: int,
    events: Sequence[Happening] = (),
    told: str = "empty",
    problem: str = "",
) -> Json:
    """SubscriptionStatus: handshake, heartbeat, event-notification, query-status, query-event."""
    parameter: list[Json] = [
        {"name": "subscription", "valueReference": {"reference": f"{base}/Subscription/{id}"}},
        {"name": "topic", "valueCanonical": topic},
        {"name": "status", "valueCode": state},
        {"name": "type", "valueCode": kind},
        {"name": "events-since-subscription-start", "valueString": str(count)},
        *(_event(each, base, told) for each in events),
    ]
    if problem:
        parameter.append({"name": "error", "valueCodeableConcept": {"text": problem}})
    meta = {"profile": [STATUS]}
    return {"resourceType": "Parameters", "id": new_id(), "meta": meta, "parameter": parameter}


def _event(event: Happening, base: str, told: str) -> Json:
    part: list[Json] = [
        {"name": "event-number", "valueString": str(event.number)},
        {"name": "timestamp", "valueInstant": instant(event.at)},
    ]
    if told != "empty":
        part.append({"name": "focus", "valueReference": {"reference": f"{base}/{event.type}/{event.id}"}})
    return {"name": "notification-event", "part": part}


def bundle(id: str, base: str, head: Json, events: Sequence[Happening] = (), told: str = "empty") -> bytes:
    """The whole notification."""
    asked: Json = {"method": "GET", "url": f"{base}/Subscription/{id}/$status"}
    first = entry(f"urn:uuid:{head['id']}", dump(head), {"request": asked, "response": {"status": "200"}})
    entries = [first]
    if told != "empty":
        entries += [_told(event, base, told) for event in events]
    outer = {
        "resourceType": "Bundle",
        "id": new_id(),
        "meta": {"lastUpdated": instant(clock.now()), "profile": [NOTIFICATION]},
        "type": "history",
        "timestamp": instant(clock.now()),
    }
    return dump(outer)[:-1] + b',"entry":[' + b",".join(entries) + b"]}"


def _told(event: Happening, base: str, told: str) -> bytes:
    method = "POST" if event.version == 1 else "PUT"
    url = event.type if event.version == 1 else f"{event.type}/{event.id}"
    status = "201" if event.version == 1 else "200"
    json = event.json if told == "full-resource" else b""
    extra: dict[str, Json] = {"request": {"method": method, "url": url}, "response": {"status": status}}
    return entry(f"{base}/{event.type}/{event.id}", json, extra)
