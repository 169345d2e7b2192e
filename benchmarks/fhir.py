# ruff: noqa: S603 - the programs started are our own, with arguments of ours
"""The FHIR API beside a bare endpoint: what rights, search and the log cost, and how that grows with the data.

    python -m benchmarks.fhir [--quick] [--patients 10000] [--studies 100000] [--events 100] [--seconds 3]
                              [--peer URL --peer-token TOKEN]

Starts a PostgreSQL, one process of Lightbox and, on the same database, a bare Starlette + asyncpg endpoint that reads
a row by its primary key and serves a static file. Rates are of what was looked at before: the first look of a caller
within an hour waits for its place in the log. `--events` are for each patient. Every search is measured at a
hundredth of the studies (1,000 of 100,000) and at all of them. `--peer` asks another FHIR server for the same after
putting the small stage into both. Where clients share the machine, read the ratios and the processor time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

from benchmarks.dicomweb import RUN, Client, Server, Workload, _free_port, _wait, measured, processor_time
from benchmarks.fhir_data import Loader, pages, patient, patient_id, study, study_uid
from server.storage import embedded
from server.storage.migrate import migrate
from tests.conftest import create_database, database_of

HEADERS = {"Accept": "application/fhir+json"}
SAMPLE = 50  # different addresses in a workload
ROUNDS = 5  # of a workload and the bare endpoint in turn
SCOPE = "system/*.cruds"
FLOOR = "bare: row by primary key"
STATIC = "bare: static file"
BARE = """
import os, sys
import asyncpg, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse, Response
from starlette.routing import Route

async def row(request):
    id = request.path_params["id"]
    found = await pool.fetchval("SELECT json FROM resource WHERE type = 'Patient' AND id = $1", id)
    return Response(found, media_type="application/fhir+json")

async def file(request):
    return FileResponse(os.environ["BARE_FILE"], media_type="application/fhir+json")

async def lifespan(app):
    global pool
    pool = await asyncpg.create_pool(os.environ["BARE_DATABASE"], min_size=8, max_size=8)
    yield
    await pool.close()

from contextlib import asynccontextmanager
app = Starlette(routes=[Route("/row/{id}", row), Route("/file", file)], lifespan=asynccontextmanager(lifespan))
uvicorn.run(app, port=int(sys.argv[1]), log_level="warning", access_log=False)
"""


def reads(patients: int, studies: int) -> list[Workload]:
    """Single resources."""
    people = [f"/Patient/{patient_id(n * patients // SAMPLE)}" for n in range(min(SAMPLE, patients))]
    ones = [f"/ImagingStudy/s{n * studies // SAMPLE}" for n in range(min(SAMPLE, studies))]
    return [
        Workload("read Patient", people, HEADERS, goal=0.5),
        Workload("read ImagingStudy", ones, HEADERS, goal=0.5),
        Workload("vread ImagingStudy", [f"{one}/_history/1" for one in ones], HEADERS),
    ]


def searches(patients: int, studies: int) -> list[Workload]:
    """The ten commonest of an EHR and of a viewer; at most 20 results each."""
    step = max(1, patients // SAMPLE)
    numbers = range(0, patients, step)
    made = [patient(n) for n in numbers]
    uids = [study_uid(n) for n in range(0, studies, max(1, studies // SAMPLE))]
    asked = {
        "Patient by identifier": [f"/Patient?identifier=urn:hospital|MRN{n}" for n in numbers],
        "Patient by name and birth date": [
            f"/Patient?family={quote(one['name'][0]['family'])}&birthdate={one['birthDate']}&_count=20"
            for one in made
        ],
        "Patient by name, 20 of many": [
            f"/Patient?name={one['name'][0]['given'][0]}&_count=20" for one in made
        ],
        "studies of a patient, newest first": [
            f"/ImagingStudy?patient={patient_id(n)}&_sort=-started&_count=20" for n in numbers
        ],
        "studies of a patient + Endpoint": [
            f"/ImagingStudy?patient={patient_id(n)}&_include=ImagingStudy:endpoint&_count=20" for n in numbers
        ],
        "study by UID": [f"/ImagingStudy?identifier=urn:oid:{uid}" for uid in uids],
        "studies of a patient by modality": [
            f"/ImagingStudy?patient={patient_id(n)}&modality=CT&_count=20" for n in numbers
        ],
        "studies of a day, 20": [
            f"/ImagingStudy?started=2024-{n % 12 + 1:02d}-{n % 28 + 1:02d}&_count=20" for n in numbers
        ],
        "what is new, 20": ["/ImagingStudy?_lastUpdated=gt2025-01-01&_sort=-_lastUpdated&_count=20"],
        "log of a patient, 20": [f"/AuditEvent?patient={patient_id(n)}&_count=20" for n in numbers],
    }
    return [Workload(name, paths, HEADERS, goal=0.25) for name, paths in asked.items()]


@contextmanager
def bare(url: str, file: Path) -> Iterator[Server]:
    """The endpoint that everything is measured against."""
    port = _free_port()
    environment = {**os.environ, "BARE_DATABASE": url, "BARE_FILE": str(file)}
    with subprocess.Popen([sys.executable, "-c", BARE, str(port)], env=environment) as served:
        try:
            _wait(port)
            yield Server("bare", f"http://127.0.0.1:{port}", pid=served.pid)
        finally:
            served.terminate()


@contextmanager
def lightbox(url: str, data: Path) -> Iterator[Server]:
    """One process of Lightbox with a client that the operator trusts."""
    port = _free_port()
    base = f"http://127.0.0.1:{port}"
    os.environ |= {
        "LIGHTBOX_DATA": str(data), "LIGHTBOX_DATABASE_URL": url, "LIGHTBOX_BASE_URL": base,
        "LIGHTBOX_RATE_LIMIT": "0",
    }  # fmt: skip
    with subprocess.Popen([*RUN, "serve", "--port", str(port)], stdout=subprocess.DEVNULL) as served:
        try:
            _wait(port)
            added = _cli(
                "client",
                "add",
                "--name",
                "bench",
                "--type",
                "backend",
                "--trusted",
                "--scope",
                SCOPE,
                "--json",
            )
            asked = ("--client", added["client_id"], "--scope", SCOPE, "--ttl", "86400", "--json")
            token = _cli("token", *asked)["access_token"]
            yield Server("Lightbox", f"{base}/fhir", token, served.pid, str(data))
        finally:
            served.terminate()


def _cli(*words: str) -> Any:
    return json.loads(subprocess.run([*RUN, *words], capture_output=True, text=True, check=True).stdout)


def percentile(server: Server, load: Workload, count: int) -> float:
    """The 95th of this many answers on one connection, in milliseconds."""
    client, times = Client(server), []
    for number in range(count):
        began = time.perf_counter()
        status, content = client.ask("GET", load.paths[number % len(load.paths)], load.headers)
        times.append(1000 * (time.perf_counter() - began))
        if status != 200:
            raise SystemExit(f"{load.name}: {status} {content[:300]!r}")
    return statistics.quantiles(times, n=20)[-1] if len(times) > 1 else times[0]


def transactions(server: Server, rounds: int) -> tuple[float, float]:
    """Bundles of 100 new Observations: how many a second, and the server's processor milliseconds for each."""
    entry = [
        {
            "resource": {
                "resourceType": "Observation",
                "status": "final",
                "code": {"coding": [{"system": "http://loinc.org", "code": "8867-4"}]},
                "subject": {"reference": f"Patient/{patient_id(0)}"},
                "effectiveDateTime": f"2026-01-{number % 28 + 1:02d}",
                "valueQuantity": {"value": number, "unit": "/min"},
            },
            "request": {"method": "POST", "url": "Observation"},
        }
        for number in range(100)
    ]
    body = json.dumps({"resourceType": "Bundle", "type": "transaction", "entry": entry}).encode()
    client, kind = Client(server), {"Content-Type": "application/fhir+json", "Prefer": "return=minimal"}
    before, began = processor_time(server.pid), time.perf_counter()
    for _ in range(rounds):
        status, content = client.ask("POST", "", kind, body)
        if status != 200:
            raise SystemExit(f"transaction: {status} {content[:300]!r}")
    spent = time.perf_counter() - began
    return rounds / spent, 1000 * (processor_time(server.pid) - before) / rounds


def export(server: Server, path: str) -> tuple[float, int, float]:
    """A Bulk Data export with its files: seconds, resources, and by how many MB the server's memory grew at most."""
    client, calm = Client(server), memory(server.pid)
    began = time.perf_counter()
    connection = client._connection
    root = server.base.split("//")[1].split("/", 1)[1]
    connection.request(
        "GET", f"/{root}{path}", headers={**client._headers, "Prefer": "respond-async", **HEADERS}
    )
    answer = connection.getresponse()
    answer.read()
    where = answer.getheader("Content-Location")
    if answer.status != 202 or where is None:
        raise SystemExit(f"export: {answer.status}")
    most, status, content = calm, 202, b""
    plain = Client(replace(server, base=server.base.split("/fhir")[0]))
    while status == 202:
        time.sleep(0.1)
        most = max(most, memory(server.pid))
        status, content = plain.ask("GET", "/" + where.split("/", 3)[3], {})
    count = 0
    for file in json.loads(content)["output"]:
        _, lines = plain.ask("GET", "/" + file["url"].split("/", 3)[3], {"Accept": "application/fhir+ndjson"})
        count += lines.count(b"\n")
        most = max(most, memory(server.pid))
    return time.perf_counter() - began, count, (most - calm) / 1e6


def memory(pid: int | None) -> int:
    """Resident bytes of the server's own process."""
    try:
        return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0


def report_rates(
    server: Server, floor: Server, loads: Sequence[Workload], seconds: float, connections: int
) -> None:
    """Each workload's rate, its part of the bare endpoint's rate at as many connections, and what it costs.

    Both are asked in turn, and of the rounds the one with the middle ratio is told: the machine changes its pace.
    """
    paths = [path.replace("/Patient/", "/row/") for path in reads(SAMPLE, SAMPLE)[0].paths]
    base = Workload(FLOOR, paths, HEADERS, connections=connections)
    print(f"\n{connections} connection(s), beside {FLOOR}")
    for load in loads:
        rounds = []
        for _ in range(ROUNDS):
            bare_rate = measured(floor, base, seconds / ROUNDS)
            found = measured(server, replace(load, connections=connections), seconds / ROUNDS)
            rounds.append((found.rate / bare_rate.rate, bare_rate, found))
        ratio, bare_rate, found = sorted(rounds, key=lambda each: each[0])[ROUNDS // 2]
        wrong = f"  NOT 200: {found.bad}" if found.bad else ""
        goal = f"goal {load.goal:.2f}" if load.goal else ""
        print(
            f"  {load.name:36} {found.rate:7,.0f}/s of {bare_rate.rate:7,.0f}/s  {ratio:5.2f} {goal:9}"
            f"  {found.milliseconds:5.2f} ms processor of {bare_rate.milliseconds:.2f}{wrong}"
        )


def report_large(server: Server, floor: Server, seconds: float) -> None:
    """A study of 30 series with 100 instances each, beside a static file of its size."""
    one = measured(server, Workload("", ["/ImagingStudy/s9999999"], HEADERS), seconds)
    file = measured(floor, Workload(STATIC, ["/file"], {}), seconds)
    ratio = one.rate / file.rate
    print(f"\n30 x 100 ImagingStudy: {one.rate:,.0f}/s, {STATIC} of its size {file.rate:,.0f}/s: {ratio:.2f}")


def report_growth(
    loads: Sequence[Workload], few: Sequence[float], many: Sequence[float], sizes: tuple[int, int]
) -> None:
    print(f"\np95 at {sizes[0]:,} and {sizes[1]:,} studies, ms; goal: within twice")
    for load, before, after in zip(loads, few, many, strict=True):
        print(f"  {load.name:36} {before:8.2f} {after:8.2f}  x {after / before:.2f}")


def report_rest(server: Server, rounds: int) -> None:
    rate, cost = transactions(server, rounds)
    print(f"\ntransactions of 100 resources: {rate:.1f}/s, {cost:.0f} ms processor each")
    for name, path in (
        ("one patient", f"/Patient/$export?patient=Patient/{patient_id(0)}"),
        ("all", "/Patient/$export"),
    ):
        if name == "one patient":
            continue  # by GET the patients are those of the client: the $everything below is one patient's
        seconds, count, grown = export(server, path)
        print(f"export of {name}: {count:,} resources in {seconds:.1f} s, memory +{grown:.0f} MB")
    began = time.perf_counter()
    status, content = Client(server).ask("GET", f"/Patient/{patient_id(0)}/$everything", HEADERS)
    print(
        f"everything of one patient: {status}, {len(content):,} bytes in {1000 * (time.perf_counter() - began):.0f} ms"
    )


def put_into(server: Server, patients: int, studies: int) -> None:
    """The same data through the API, for a server that is not ours."""
    client = Client(server)
    made = [patient(n) for n in range(patients)]
    made += [study(n, patient_id(n % patients)) for n in range(studies)]
    for piece in pages(range(len(made)), 100):
        entry = [
            {"resource": {**made[n], "endpoint": []} if "endpoint" in made[n] else made[n],
             "request": {"method": "PUT", "url": f"{made[n]['resourceType']}/{made[n]['id']}"}}
            for n in piece
        ]  # fmt: skip
        for each in entry:
            each["resource"] = {name: value for name, value in each["resource"].items() if value != []}
        body = json.dumps({"resourceType": "Bundle", "type": "batch", "entry": entry}).encode()
        status, content = client.ask("POST", "", {"Content-Type": "application/fhir+json"}, body)
        if status != 200:
            raise SystemExit(f"The peer refused the data: {status} {content[:300]!r}")


def report_peer(server: Server, peer: Server, loads: Sequence[Workload], seconds: float) -> None:
    print(f"\nbeside {peer.base}")
    for load in loads:
        ours, theirs = measured(server, load, seconds), measured(peer, load, seconds)
        wrong = f"  NOT 200: {ours.bad or theirs.bad}" if ours.bad or theirs.bad else ""
        print(
            f"  {load.name:36} {ours.rate:9,.0f}/s {theirs.rate:9,.0f}/s  x {ours.rate / theirs.rate:.1f}{wrong}"
        )


def run(url: str, folder: Path, given: argparse.Namespace) -> None:
    few = (max(10, given.patients // 100), max(20, given.studies // 100))
    with lightbox(url, folder / "data") as server:
        loader = Loader(url, folder / "data" / "master.key", server.base.removesuffix("/fhir"))
        loader.load(range(few[0]), range(few[1]), given.events)
        small = [percentile(server, load, given.rounds) for load in searches(*few)]
        if given.peer:
            peer = Server("peer", given.peer.rstrip("/"), given.peer_token)
            put_into(peer, *few)
            report_peer(server, peer, [*reads(*few), *searches(*few)[:-1]], given.seconds)
        large = loader.large(patient_id(0))  # before the others, or "what is new" would be this one mostly
        loader.load(range(few[0], given.patients), range(few[1], given.studies), given.events)
        file = folder / "large.json"
        file.write_bytes(Client(server).ask("GET", f"/ImagingStudy/{large}", HEADERS)[1])
        with bare(url, file) as floor:
            loads = [*reads(given.patients, given.studies), *searches(given.patients, given.studies)]
            for connections in (1, 16):
                report_rates(server, floor, loads, given.seconds, connections)
            report_large(server, floor, given.seconds)
        many = [percentile(server, load, given.rounds) for load in searches(given.patients, given.studies)]
        report_growth(searches(*few), small, many, (few[1], given.studies))
        report_rest(server, given.rounds // 10)


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--patients", type=int, default=10_000)
    asked.add_argument("--studies", type=int, default=100_000)
    asked.add_argument("--events", type=int, default=100, help="in the log of each patient")
    asked.add_argument("--seconds", type=float, default=3.0, help="of each workload")
    asked.add_argument("--rounds", type=int, default=300, help="of each percentile")
    asked.add_argument("--peer", help="base address of another FHIR server")
    asked.add_argument("--peer-token", default="")
    asked.add_argument("--quick", action="store_true", help="small sizes: does it run?")
    given = asked.parse_args()
    if given.quick:
        given.patients, given.studies, given.events, given.seconds, given.rounds = 300, 3_000, 20, 0.5, 60
    multiprocessing.set_start_method("fork")
    with (
        tempfile.TemporaryDirectory(prefix="lightbox-bench-") as name,
        embedded.running(Path(name), {}) as url,
    ):
        create_database(url, "bench", "template0")
        migrate(database_of(url, "bench"))
        (Path(name) / "server").mkdir()
        run(database_of(url, "bench"), Path(name) / "server", given)


if __name__ == "__main__":
    main()
