"""Topic-based subscriptions on R4 (Subscriptions R5 Backport IG 1.1, rest-hook): handshake, notifications, status,
and that nothing is told which the subscriber may not read at that moment."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import httpx
import orjson
import pytest

from server.core import clock
from server.fhir import background, notify
from server.jobs.worker import Worker
from server.sharing import share as sharing
from server.storage.sql import Statement
from tests.conftest import RunningServer, serving
from tests.databases import create_database
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of, consent_reach
from tests.waiting import tries

Json = dict[str, Any]
IG = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"


@dataclass
class Endpoint:
    """Somebody's rest-hook: keeps what it is sent."""

    url: str = ""
    status: int = 200
    bodies: list[Json] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        named = dict(line.split(": ", 1) for line in head.split("\r\n")[1:] if line)
        lower = {name.lower(): value for name, value in named.items()}
        body = await reader.readexactly(int(lower["content-length"]))
        self.headers.append(lower)
        self.bodies.append(orjson.loads(body))
        writer.write(f"HTTP/1.1 {self.status} x\r\ncontent-length: 0\r\nconnection: close\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    async def of_kind(self, kind: str, count: int = 1) -> list[Json]:
        """The notifications of a kind, when there are so many."""
        async for _ in tries():
            found = [body for body in self.bodies if value_of(body, "type") == kind]
            if len(found) >= count:
                return found
        raise AssertionError([value_of(body, "type") for body in self.bodies])


def value_of(notification: Json, name: str) -> Any:
    """A parameter of the SubscriptionStatus in front."""
    for one in notification["entry"][0]["resource"]["parameter"]:
        if one["name"] == name:
            return next((v for k, v in one.items() if k.startswith("value")), one.get("part"))
    return None


@pytest.fixture(scope="module")
async def house(cluster: str, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[RunningServer]:
    """A server whose operator allowed an address on loopback."""
    url = create_database(cluster, f"t_subscriptions_{os.getpid()}")
    data = tmp_path_factory.mktemp("subscriptions")
    async with serving(url, data, private_hosts=("127.0.0.1",)) as running:
        yield running


@pytest.fixture
async def endpoint() -> AsyncIterator[Endpoint]:
    made = Endpoint()
    listening = await asyncio.start_server(made.answer, "127.0.0.1", 0)
    made.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    yield made
    listening.close()


@dataclass
class App:
    """An app of somebody in that server."""

    client: httpx.AsyncClient
    token: str
    base: str

    async def ask(self, method: str, path: str, body: Any = None) -> httpx.Response:
        return await self.client.request(method, f"/fhir/{path}", headers=bearer(self.token), json=body)

    def subscription(self, endpoint: str, **changed: Any) -> Json:
        filters = changed.pop("filters", ["DiagnosticReport?status=final"])
        narrowing = [{"url": f"{IG}/backport-filter-criteria", "valueString": each} for each in filters]
        return {
            "resourceType": "Subscription",
            "status": "requested",
            "reason": "to know",
            **({"_criteria": {"extension": narrowing}} if narrowing else {}),
            "criteria": f"{self.base}/fhir/SubscriptionTopic/{changed.pop('topic', 'diagnostic-report-changed')}",
            "channel": {
                "type": "rest-hook",
                "endpoint": endpoint,
                "payload": "application/fhir+json",
                "header": ["Authorization: Bearer hook-secret"],
                "_payload": {
                    "extension": [
                        {
                            "url": f"{IG}/backport-payload-content",
                            "valueCode": changed.pop("content", "full-resource"),
                        }
                    ]
                },
                **changed.pop("channel", {}),
            },
            **changed,
        }


@pytest.fixture
async def people(house: RunningServer) -> People:
    return People(house.services)


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor")


@pytest.fixture
async def app(house: RunningServer, people: People, ada: Person) -> AsyncIterator[App]:
    async with httpx.AsyncClient(base_url=house.url, timeout=30) as client:
        yield App(client, await people.token(ada), house.url)


def report(patient: str, status: str = "final") -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "status": status,
        "code": {"text": "CT"},
        "subject": {"reference": f"Patient/{patient}"},
    }


async def active(app: App, resource: Json) -> Json:
    """A subscription whose handshake succeeded."""
    made = await app.ask("POST", "Subscription", resource)
    assert made.status_code == 201, made.text
    return await until(app, made.json()["id"], "active")


async def until(app: App, id: str, status: str) -> Json:
    async for _ in tries():
        found: Json = (await app.ask("GET", f"Subscription/{id}")).json()
        if found["status"] == status:
            return found
    raise AssertionError(found)


async def test_handshake_then_events(app, ada, endpoint):
    """requested -> handshake -> active; an event for what meets the filter; full-resource carries it."""
    made = await app.ask("POST", "Subscription", app.subscription(endpoint.url))
    assert made.json()["status"] == "requested"
    id = made.json()["id"]
    await until(app, id, "active")
    [shake] = await endpoint.of_kind("handshake")
    assert shake["type"] == "history"
    assert shake["meta"]["profile"] == [f"{IG}/backport-subscription-notification-r4"]
    assert value_of(shake, "subscription") == {"reference": f"{app.base}/fhir/Subscription/{id}"}
    assert shake["entry"][0]["request"]["url"].endswith(f"Subscription/{id}/$status")
    await app.ask("POST", "DiagnosticReport", report(ada.fhir_id, "preliminary"))
    stored = (await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))).json()
    [told] = await endpoint.of_kind("event-notification")
    assert value_of(told, "events-since-subscription-start") == "1"
    parts = {part["name"]: part for part in value_of(told, "notification-event")}
    assert parts["event-number"]["valueString"] == "1"
    assert parts["focus"]["valueReference"]["reference"].endswith(f"DiagnosticReport/{stored['id']}")
    assert told["entry"][1]["resource"] == stored
    assert endpoint.headers[-1]["authorization"] == "Bearer hook-secret"
    assert endpoint.headers[-1]["content-type"] == "application/fhir+json"
    # an update is an event too
    await app.ask("PUT", f"DiagnosticReport/{stored['id']}", {**stored, "conclusion": "well"})
    [_, second] = await endpoint.of_kind("event-notification", 2)
    assert second["entry"][1]["request"]["method"] == "PUT"
    # $status and $events
    status = (await app.ask("GET", f"Subscription/{id}/$status")).json()
    assert status["type"] == "searchset"
    assert value_of(status, "events-since-subscription-start") == "2"
    assert value_of(status, "type") == "query-status"
    mine = (await app.ask("GET", f"Subscription/$status?id={id}&status=active")).json()
    assert mine["total"] == 1
    events = (await app.ask("GET", f"Subscription/{id}/$events?eventsSinceNumber=2&content=id-only")).json()
    assert value_of(events, "type") == "query-event"
    assert [("resource" in entry) for entry in events["entry"]] == [True, False]


async def test_what_is_sent_is_in_the_log(app, ada, endpoint):
    """A resource that goes out by a notification was read, once an event; `$events` is a search."""
    made = await active(app, app.subscription(endpoint.url))
    stored = (await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))).json()
    await app.ask("PUT", f"DiagnosticReport/{stored['id']}", {**stored, "conclusion": "well"})
    await endpoint.of_kind("event-notification", 2)
    read = f"AuditEvent?patient={ada.fhir_id}&entity=DiagnosticReport/{stored['id']}&action=R"
    assert (await app.ask("GET", read)).json()["total"] == 2
    await app.ask("GET", f"Subscription/{made['id']}/$events?content=full-resource")
    async for _ in tries():
        log = (await app.ask("GET", f"AuditEvent?patient={ada.fhir_id}&subtype=search")).json()
        entities = [one["resource"]["entity"] for one in log.get("entry", [])]
        if any(all("query" not in each for each in found) for found in entities):  # those of the log have one
            return
    raise AssertionError(log)


async def test_how_much_is_told(app, ada, endpoint):
    """payload content: empty names nothing, id-only no content."""
    for content in ("empty", "id-only"):
        await active(app, app.subscription(endpoint.url, content=content, filters=[]))
    await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))
    told = await endpoint.of_kind("event-notification", 2)
    sizes = sorted((len(one["entry"]), b"DiagnosticReport/" in orjson.dumps(one)) for one in told)
    assert sizes == [(1, False), (2, True)]
    assert all("resource" not in one["entry"][-1] for one in told if len(one["entry"]) == 2)


async def test_headers_are_nobodys_to_read(app, endpoint):
    """The secret of the channel is not shown, and survives an update that sends back what was shown."""
    found = await active(app, app.subscription(endpoint.url))
    assert found["channel"]["header"] == ["Authorization: ***"]
    history = (await app.ask("GET", f"Subscription/{found['id']}/_history")).text
    assert "hook-secret" not in history
    changed = await app.ask("PUT", f"Subscription/{found['id']}", {**found, "reason": "still"})
    assert changed.json()["status"] == "requested"
    await until(app, found["id"], "active")
    assert endpoint.headers[-1]["authorization"] == "Bearer hook-secret"


async def test_turned_off_and_deleted(app, ada, endpoint):
    """status off, or DELETE: nothing is sent any more."""
    off = await active(app, app.subscription(endpoint.url))
    gone = await active(app, app.subscription(endpoint.url))
    await app.ask("PUT", f"Subscription/{off['id']}", {**off, "status": "off"})
    assert (await app.ask("DELETE", f"Subscription/{gone['id']}")).status_code == 204
    kept = await active(app, app.subscription(endpoint.url))
    await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))
    [told] = await endpoint.of_kind("event-notification")
    await asyncio.sleep(0.3)
    assert len(await endpoint.of_kind("event-notification")) == 1
    assert value_of(told, "subscription")["reference"].endswith(kept["id"])


async def test_what_cannot_be_done_is_refused(app, people, endpoint):
    """422 names the element: topic, channel, endpoint, filters; 403 for a foreign patient."""
    wrong = [
        {"criteria": "Observation?code=1"},
        {"channel": {"type": "websocket"}},
        {"channel": {"endpoint": "http://169.254.169.254/latest"}},
        {"channel": {"endpoint": "http://example.org/hook"}},
        {"filters": ["Patient?name=x"]},
        {"filters": ["DiagnosticReport?subject:Patient.name=x"]},
        {"filters": ["DiagnosticReport?colour=red"]},
        {"content": "everything"},
        {"end": "2001-01-01T00:00:00Z"},
        {"channel": {"header": ["Host: elsewhere"]}},
    ]
    for one in wrong:
        answer = await app.ask("POST", "Subscription", app.subscription(endpoint.url, **one))
        assert answer.status_code == 422, (one, answer.text)
        assert answer.json()["issue"][0]["expression"][0].startswith("Subscription.")
    other = await people.patient("Eve Other")
    foreign = app.subscription(endpoint.url, filters=[f"DiagnosticReport?patient=Patient/{other.fhir_id}"])
    assert (await app.ask("POST", "Subscription", foreign)).status_code == 403


async def test_without_a_scope_for_the_topic(app, people, ada, endpoint):
    narrow = App(app.client, await people.token(ada, "patient/Subscription.cruds"), app.base)
    answer = await narrow.ask("POST", "Subscription", narrow.subscription(endpoint.url))
    assert answer.status_code == 403


async def test_a_subscription_is_its_apps_alone(app, people, endpoint):
    found = await active(app, app.subscription(endpoint.url))
    eve = App(app.client, await people.token(await people.patient("Eve Other")), app.base)
    for path in ("", "/$status", "/$events", "/_history"):
        answer = await eve.ask("GET", f"Subscription/{found['id']}{path}")
        assert answer.status_code == 404, path
    assert (await eve.ask("GET", "Subscription")).json()["total"] == 0
    assert (await eve.ask("GET", f"Subscription/$status?id={found['id']}")).json()["total"] == 0
    assert (await eve.ask("DELETE", f"Subscription/{found['id']}")).status_code == 204
    assert (await app.ask("GET", f"Subscription/{found['id']}")).json()["status"] == "active"


async def test_others_records_are_not_told(app, people, ada, endpoint):
    """The filter does not widen the reach: somebody else's report is no event."""
    await active(app, app.subscription(endpoint.url, filters=[]))
    other = await people.patient("Eve Other")
    eve = App(app.client, await people.token(other), app.base)
    await eve.ask("POST", "DiagnosticReport", report(other.fhir_id))
    await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))
    [told] = await endpoint.of_kind("event-notification")
    assert told["entry"][1]["resource"]["subject"]["reference"] == f"Patient/{ada.fhir_id}"


async def test_a_share_that_ended_tells_nothing(app, people, ada, endpoint):
    """A doctor hears of the patient's new reports until the share ends."""
    doctor = await people.doctor()
    share = await people.share(ada, doctor)
    theirs = App(app.client, await people.token(doctor, "user/*.cruds"), app.base)
    await active(theirs, theirs.subscription(endpoint.url, topic="consent-changed", filters=[]))
    services = people.services
    await sharing.end(services, share, actor=actor_of(ada), reach=await consent_reach(services, ada))
    hers = Endpoint()
    listening = await asyncio.start_server(hers.answer, "127.0.0.1", 0)
    hers.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/hook"
    await active(app, app.subscription(hers.url, topic="consent-changed", filters=[]))
    await people.share(ada, await people.doctor("Cy Other"))
    told = await hers.of_kind("event-notification")
    assert told[0]["entry"][1]["resource"]["resourceType"] == "Consent"
    await asyncio.sleep(0.3)
    assert [one for one in endpoint.bodies if value_of(one, "type") == "event-notification"] == []
    listening.close()


async def test_an_authorization_that_ended_turns_it_off(app, people, ada, endpoint):
    """The grant it was made with is its life."""
    found = await active(app, app.subscription(endpoint.url))
    async with people.services.db.raw() as connection:
        await connection.execute(
            "UPDATE app_grant SET ended_at = now() WHERE account_id = $1", ada.account_id
        )
    again = App(app.client, await people.token(ada), app.base)
    await again.ask("POST", "DiagnosticReport", report(ada.fhir_id))
    await until(again, found["id"], "off")
    assert [one for one in endpoint.bodies if value_of(one, "type") == "event-notification"] == []


async def test_an_endpoint_that_fails(app, people, ada, endpoint):
    """Tried again later; in error after some failures, active again when it answers, off in the end."""
    found = await active(app, app.subscription(endpoint.url))
    endpoint.status = 503
    await app.ask("POST", "DiagnosticReport", report(ada.fhir_id))
    await endpoint.of_kind("event-notification")
    later = await tried_until(people, found["id"], "error", after=0)
    endpoint.status = 200
    await tried_until(people, found["id"], "active", after=later)


async def tried_until(people: People, id: str, state: str, *, after: int) -> int:
    """Ten minutes go by again and again, and what is due then is done (by the server's own worker or by this), until it
    is so; how many minutes later that is."""
    worker, found = _worker(people), None
    for minutes in range(after + 10, after + 100, 10):
        clock.travel(timedelta(minutes=minutes))
        for _ in range(25):
            await worker.drain()
            found = await people.services.db.fetch_val(
                _query("SELECT state FROM subscription WHERE id = :id"), {"id": id}
            )
            if found == state:
                return minutes
            await asyncio.sleep(0.2)
    raise AssertionError(found)


async def test_a_heartbeat(app, people, endpoint):
    """backport-heartbeat-period: something is sent when nothing happened for so long."""
    period = {"extension": [{"url": f"{IG}/backport-heartbeat-period", "valueUnsignedInt": 60}]}
    await active(app, app.subscription(endpoint.url, channel=period))
    clock.travel(timedelta(seconds=90))
    await notify.KIT.periodic[0].run(people.services)
    await _worker(people).drain()
    await endpoint.of_kind("heartbeat")


async def test_nothing_is_left_of_an_account_that_is_gone(app, people, ada, endpoint):
    """The account ends its subscriptions; the worker removes the resource and its history."""
    found = await active(app, app.subscription(endpoint.url))
    query = _query("DELETE FROM subscription WHERE account_id = :account")  # as the account's end does
    await people.services.db.execute(query, {"account": ada.account_id})
    await notify.KIT.periodic[1].run(people.services)
    left = _query("SELECT count(*) FROM resource_version WHERE type = 'Subscription' AND id = :id")
    assert await people.services.db.fetch_val(left, {"id": found["id"]}) == 0
    assert (await app.ask("GET", f"Subscription/{found['id']}")).status_code == 404


def _worker(people: People) -> Any:
    return Worker(people.services, background.KITS)


def _query(text: str) -> Any:
    return Statement("query", text)
