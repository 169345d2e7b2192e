"""What authorization costs: on a DICOMweb frame and a FHIR read over HTTP (with, and with every check taken out), in
its parts, and at the token endpoint; with few living grants, then with many. Goal: under 15 % and 0.3 ms at the median.

    python -m benchmarks.oauth [--grants 100000] [--rounds 300]

Starts a PostgreSQL and services of its own. Two figures a line, in milliseconds: the median that passed, and the mean
of this process's processor time (the HTTP client included); where others use the machine, read the second.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest.mock import patch

import httpx
from starlette.requests import Request

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind
from server.access.gate import Gate
from server.access.reach import Ground, Lane, Reach
from server.core import logs
from server.storage import embedded
from server.storage.migrate import migrate
from server.storage.sql import Statement
from server.storage.where import TRUE
from tests.conformance.dicomweb.samples import MULTIPART, body, instance
from tests.conformance.smart.driver import App, Browser, es384, register
from tests.conftest import RunningServer, create_database, database_of, serving
from tests.factories import People, bearer

READ_PATIENT = Action("Patient", Verb.READ)
RESOURCE = Statement("resource", "SELECT json FROM resource WHERE type = 'Patient' AND id = :id AND {reach}")
GRANTS = Statement(
    "grants",
    """INSERT INTO app_grant (id, client_id, account_id, patient_id, scope, created_at, expires_at)
       SELECT gen_random_uuid(), :client, :account, :patient, 'patient/*.rs', now(), now() + interval '90 days'
         FROM generate_series(1, :count::int)""",
)


async def measure(name: str, rounds: int, work: Callable[[], Awaitable[Any]]) -> None:
    """Run it so often, and print what one call took."""
    times = []
    used = time.process_time()
    for _ in range(rounds):
        began = time.perf_counter()
        await work()
        times.append(time.perf_counter() - began)
    used = (time.process_time() - used) / rounds
    print(f"  {name:26} {statistics.median(times) * 1000:9.3f} {used * 1000:9.3f}")


@contextmanager
def without_authorization() -> Iterator[None]:
    """The same server with nobody asking anything: no token is read, and no statement has a condition on rights."""
    nobody = Actor(ActorKind.CLIENT, client_id="bench", trusted=True)

    async def actor(self: Gate, request: Any) -> Actor:
        return nobody

    async def reach_for(self: Gate, request: Any, action: Action, **how: Any) -> Reach:
        return Reach(action, (Lane(Ground.SERVER),), root=how.get("patient_id"))

    async def reach_for_actor(self: Gate, who: Actor, action: Action, **how: Any) -> Reach:
        return Reach(action, (Lane(Ground.SERVER),), root=how.get("patient_id"))

    async def confirm(self: Gate, request: Any) -> None:
        return None

    with (
        patch.multiple(
            Gate, actor=actor, reach_for=reach_for, reach_for_actor=reach_for_actor, confirm=confirm
        ),
        patch.object(Reach, "_where", lambda self, kind, alias: TRUE),
    ):
        yield


async def compare(name: str, rounds: int, work: Callable[[], Awaitable[Any]]) -> None:
    """With and without, a few of each in turn, so that what else the machine does falls on both."""
    times: dict[bool, list[float]] = {True: [], False: []}
    used: dict[bool, float] = {True: 0.0, False: 0.0}

    async def some(asked: bool) -> None:
        cpu = time.process_time()
        for _ in range(10):
            began = time.perf_counter()
            await work()
            times[asked].append(time.perf_counter() - began)
        used[asked] += time.process_time() - cpu

    for number in range(max(4, rounds // 10)):
        await some(asked=True)
        with without_authorization():
            await some(asked=False)
        if number == 0:  # the first of each fills caches
            times, used = {True: [], False: []}, {True: 0.0, False: 0.0}
    for asked, word in ((True, "with"), (False, "without")):
        median, mean = statistics.median(times[asked]), used[asked] / len(times[asked])
        print(f"  {name + ', ' + word:26} {median * 1000:9.3f} {mean * 1000:9.3f}")
    added = statistics.median(times[True]) - statistics.median(times[False])
    cpu = (used[True] - used[False]) / len(times[True])
    share, of_cpu = added / statistics.median(times[False]), cpu / (used[False] / len(times[False]))
    print(f"  {'':26} {added * 1000:+9.3f} {cpu * 1000:+9.3f}   {share:+.1%} {of_cpu:+.1%}")


class Bench:
    """One server with one patient and two apps."""

    def __init__(self, server: RunningServer, rounds: int) -> None:
        self.server = server
        self.rounds = rounds

    async def prepare(self, client: httpx.AsyncClient) -> None:
        people = People(self.server.services)
        self.person = await people.patient()
        self.app: App = await register(self.server)
        browser = Browser(client)
        await browser.sign_in(self.person)
        answer = await browser.connect(self.app)
        self.token, self.refresh_token = answer["access_token"], answer["refresh_token"]
        self.backend = await register(self.server, "backend", es384(), scope="system/*.rs")
        self.sample = instance()
        headers = bearer(await people.token(self.person)) | {"Content-Type": MULTIPART}
        (
            await client.post("/dicomweb/studies", content=body([self.sample.data]), headers=headers)
        ).raise_for_status()

    async def over_http(self, client: httpx.AsyncClient) -> None:
        """What a request costs with and without authorization: processor time of client and server together."""
        headers = bearer(self.token)
        frame = f"/patients/{self.person.fhir_id}/dicomweb{self.sample.path}/frames/1"
        paths = {"frame": frame, "FHIR read": f"/fhir/Patient/{self.person.fhir_id}"}
        for name, path in paths.items():

            async def ask(path: str = path) -> None:
                (await client.get(path, headers=headers)).raise_for_status()

            await compare(name, self.rounds, ask)

    async def read(self) -> None:
        """The parts of a FHIR read: the token, the decision, the statement with and without its conditions."""
        services, patient = self.server.services, {"id": self.person.fhir_id}
        reach = await services.gate.reach_for(self._request(), READ_PATIENT)

        async def fresh_token() -> None:
            services.tokens._read.clear()
            await services.tokens.read(self.token)

        parts: dict[str, Callable[[], Awaitable[Any]]] = {
            "token, first time": fresh_token,
            "token, seen before": lambda: services.tokens.read(self.token),
            "decision, lazily": lambda: services.gate.reach_for(self._request(), READ_PATIENT, lazily=True),
            "statement without reach": lambda: services.db.fetch_one(RESOURCE, patient, reach=TRUE),
            "statement with reach": lambda: services.db.fetch_one(RESOURCE, patient, reach=reach.resources()),
        }
        for name, work in parts.items():
            await measure(name, self.rounds, work)

    async def endpoint(self, client: httpx.AsyncClient) -> None:
        """The token endpoint over HTTP, one request after the other; /health/live is the floor."""

        async def refresh() -> None:
            answer = await client.post("/oauth/token", data=self.app.refresh(self.refresh_token))
            self.refresh_token = answer.json()["refresh_token"]

        async def assertion() -> None:
            form = {"grant_type": "client_credentials", "scope": "system/*.rs", **self.backend.proof()}
            (await client.post("/oauth/token", data=form)).raise_for_status()

        parts = {
            "floor": lambda: client.get("/health/live"),
            "refresh": refresh,
            "private_key_jwt": assertion,
        }
        for name, work in parts.items():
            await measure(name, self.rounds // 3, work)

    def _request(self) -> Request:
        header = (b"authorization", b"Bearer " + self.token.encode())
        return Request({"type": "http", "method": "GET", "path": "/", "headers": [header], "client": None})


async def run(url: str, data: Path, grants: int, rounds: int) -> None:
    async with serving(url, data) as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        bench = Bench(server, rounds)
        await bench.prepare(client)
        for count in (0, grants):
            if count:
                values = {"client": bench.app.id, "account": bench.person.account_id, "count": count}
                await server.services.db.execute(GRANTS, values | {"patient": bench.person.fhir_id})
            print(f"{count + 1} living grants")
            await bench.over_http(client)
            await bench.read()
            await bench.endpoint(client)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--grants", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=300)
    given = parser.parse_args()
    logs.configure()  # as when it serves
    with tempfile.TemporaryDirectory() as folder, embedded.running(Path(folder) / "cluster", {}) as url:
        create_database(url, "bench", "template0")
        migrate(database_of(url, "bench"))
        asyncio.run(run(database_of(url, "bench"), Path(folder) / "data", given.grants, given.rounds))


if __name__ == "__main__":
    main()
