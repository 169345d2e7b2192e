# ruff: noqa: S603 - the programs started are our own and Orthanc, with arguments of ours
"""DICOMweb, side by side: Lightbox with encryption, authorization and audit on, and Orthanc as it comes.

    python benchmarks/dicomweb.py [--seconds 3] [--instances 400] [--studies 2000] [--peer URL] [--only qido,frames]

Starts a Lightbox of its own and, when Debian's packages `orthanc` and `orthanc-dicomweb` are installed, an Orthanc;
`--peer` names another DICOMweb server instead. The same data go into both and the same workloads run in turn. Rates
on a machine that clients share say little by themselves: the ratio, and the processor time a server spends on each
operation, are what to read. Answers are compared on what both must give: the UIDs found, the bytes of a frame. The
table that is printed is Markdown; docs/performance.md has one.
"""

from __future__ import annotations

import argparse
import http.client
import io
import itertools
import json
import multiprocessing
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from pydicom import Dataset, dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

BOUNDARY = "benchmark"
STOW = {
    "Content-Type": f'multipart/related; type="application/dicom"; boundary={BOUNDARY}',
    "Accept": "application/dicom+json",
}
JSON = {"Accept": "application/dicom+json"}
AS_STORED = {"Accept": 'multipart/related; type="application/dicom"; transfer-syntax=*'}
FRAME = {"Accept": 'multipart/related; type="application/octet-stream"; transfer-syntax=*'}
PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
_runs = itertools.count(1000)
NAMES = ("MOOR", "GARCIA", "LINDEN", "OKAFOR", "SATO", "NOVAK", "BERG", "CARDEN", "DUARTE", "FISK")


@dataclass(frozen=True)
class Server:
    """A server under test; `pid` is the root of its processes, where it runs here."""

    name: str
    base: str
    token: str = ""
    pid: int | None = None
    data: str = ""  # the directory of a Lightbox


@dataclass(frozen=True)
class Archive:
    """What is stored: one study with a large series, and many small studies."""

    study: str
    series: str
    sops: list[str]
    large: list[bytes]
    small: list[bytes]
    small_studies: list[str]
    cine: tuple[str, bytes]  # address and content of an object of 1,000 frames
    still: tuple[str, bytes]  # of one frame of the same size

    def again(self, count: int) -> list[bytes]:
        """Objects of the large series as a study of its own: other UIDs, as long as those they take the place of."""
        run = f"{next(_runs):04d}"
        uids = [self.study, self.series, *self.sops]
        fresh = {uid.encode(): (uid[:-4] + run).encode() for uid in uids}
        changed = []
        for sop, data in zip(self.sops[:count], self.large, strict=False):
            for uid in (self.study, self.series, sop):
                data = data.replace(uid.encode(), fresh[uid.encode()])
            changed.append(data)
        return changed


@dataclass
class Workload:
    """Requests that are asked again and again; `goal` is the ratio that performance.md sets."""

    name: str
    paths: Sequence[str]
    headers: dict[str, str]
    connections: int = 1
    goal: float | None = None
    group: str = ""


@dataclass
class Result:
    """What a workload gave on one server."""

    rate: float
    megabytes: float
    milliseconds: float | None  # of processor time an operation
    bad: dict[int, int] = field(default_factory=dict)


# -- data


def archive(instances: int, studies: int) -> Archive:
    """Made anew for each run: nothing is held before."""
    rng = np.random.default_rng(1)
    study, series = generate_uid(), generate_uid()
    pixels = rng.integers(0, 2000, (512, 512)).astype(np.int16)
    large = [
        _instance(study, series, number, pixels, "P-CT", "MOOR^ADA") for number in range(1, instances + 1)
    ]
    tiny = rng.integers(0, 255, (64, 64)).astype(np.int16)
    small, uids = [], []
    for number in range(studies):
        uids.append(generate_uid())
        name = f"{NAMES[number % len(NAMES)]}^{number}"
        small.append(_instance(uids[-1], generate_uid(), 1, tiny, f"P{number}", name, number)[1])
    cine, still = _cine(rng.integers(0, 2000, (1000, 128, 128))), _cine(rng.integers(0, 2000, (1, 128, 128)))
    sops, content = [sop for sop, _ in large], [data for _, data in large]
    return Archive(study, series, sops, content, small, uids, cine, still)


def _cine(pixels: Any) -> tuple[str, bytes]:
    """A multi-frame object of its own study."""
    study, series = generate_uid(), generate_uid()
    frames = pixels.astype(np.int16)
    sop, data = _instance(study, series, 1, frames, "P-CINE", "MOOR^ADA")
    return f"/studies/{study}/series/{series}/instances/{sop}", data


def _instance(
    study: str, series: str, number: int, pixels: Any, patient: str, name: str, spread: int = 0
) -> tuple[str, bytes]:
    made = Dataset()
    made.SOPClassUID, made.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.2", generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = study, series
    made.PatientName, made.PatientID, made.PatientBirthDate, made.PatientSex = name, patient, "19700101", "O"
    made.StudyDate = f"{2015 + spread % 10}{spread % 12 + 1:02d}{spread % 28 + 1:02d}"
    made.StudyTime, made.AccessionNumber, made.StudyID = "101500", f"A{spread}", "1"
    made.StudyDescription, made.SeriesDescription, made.ReferringPhysicianName = "CHEST", "AXIAL", "READER^BO"
    made.Modality, made.SeriesNumber, made.InstanceNumber = ("CT", "MR", "CR")[spread % 3], 1, number
    made.WindowCenter, made.WindowWidth, made.RescaleIntercept, made.RescaleSlope = 40, 400, -1024, 1
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape[-2:]
    if pixels.ndim == 3:
        made.NumberOfFrames = len(pixels)
    made.BitsAllocated = made.BitsStored = 16
    made.HighBit, made.PixelRepresentation = 15, 1
    made.PixelData = pixels.tobytes()
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return made.SOPInstanceUID, out.getvalue()


def body(parts: Sequence[bytes]) -> bytes:
    head = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()
    return b"".join(head + part + b"\r\n" for part in parts) + f"--{BOUNDARY}--\r\n".encode()


# -- servers


RUN = [sys.executable, "-m", "server"]


@contextmanager
def lightbox() -> Iterator[Server]:
    """A Lightbox on a free port with a backend client, as a hospital's archive would be one."""
    with tempfile.TemporaryDirectory(prefix="lightbox-bench-") as data:
        port = _free_port()
        environment = {**os.environ, "LIGHTBOX_DATA": data}
        serve = [*RUN, "serve", "--port", str(port), "--workers", "2"]
        with subprocess.Popen(
            serve, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as served:
            try:
                _wait(port)
                base = f"http://127.0.0.1:{port}/dicomweb"
                yield new_client(Server("Lightbox", base, pid=served.pid, data=data), "bench")
            finally:
                served.terminate()


def new_client(server: Server, name: str) -> Server:
    """The same Lightbox, asked with the token of a backend client of its own."""
    environment = {**os.environ, "LIGHTBOX_DATA": server.data}
    added = _json([*RUN, "client", "add", "--name", name, "--type", "backend", "--json"], environment)
    client = ["--client", added["client_id"], "--scope", "system/*.cruds", "--ttl", "36000"]
    return replace(server, token=_json([*RUN, "token", *client, "--json"], environment)["access_token"])


@contextmanager
def orthanc() -> Iterator[Server | None]:
    """Debian's Orthanc, where it is installed."""
    program = shutil.which("Orthanc")
    if program is None or not PLUGIN.exists():
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="orthanc-bench-") as data:
        port = _free_port()
        settings = {
            "StorageDirectory": data,
            "IndexDirectory": data,
            "HttpPort": port,
            "RemoteAccessAllowed": False,
            "AuthenticationEnabled": False,
            "DicomServerEnabled": False,
            "StableAge": 3,
            "Plugins": [str(PLUGIN)],
            "DicomWeb": {"Enable": True, "Root": "/dicom-web/"},
        }
        file = Path(data) / "orthanc.json"
        file.write_text(json.dumps(settings))
        with subprocess.Popen(
            [program, str(file)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        ) as served:
            try:
                _wait(port)
                version = subprocess.run(
                    [program, "--version"], capture_output=True, text=True, check=False
                ).stdout
                yield Server(
                    Path(version.splitlines()[0]).name, f"http://127.0.0.1:{port}/dicom-web", pid=served.pid
                )
            finally:
                served.terminate()


def _json(command: list[str], environment: dict[str, str]) -> Any:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


def _wait(port: int) -> None:
    for _ in range(600):
        with socket.socket() as tried:
            if tried.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.1)
    raise SystemExit("The server did not start within a minute.")


# -- measuring


class Client:
    """One connection that is kept open."""

    def __init__(self, server: Server) -> None:
        parts = urlsplit(server.base)
        self._root = parts.path
        self._headers = {"Authorization": f"Bearer {server.token}"} if server.token else {}
        kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
        self._connection = kind(parts.hostname or "", parts.port, timeout=300)

    def ask(
        self, method: str, path: str, headers: dict[str, str], body: bytes | None = None
    ) -> tuple[int, bytes]:
        self._connection.request(method, self._root + path, body, {**self._headers, **headers})
        answer = self._connection.getresponse()
        return answer.status, answer.read()


def _asking(
    server: Server, paths: Sequence[str], headers: dict[str, str], seconds: float, skip: int, out: Any
) -> None:
    client, count, size, bad = Client(server), 0, 0, {}
    client.ask("GET", paths[skip % len(paths)], headers)  # the connection is warm
    began = time.perf_counter()
    while time.perf_counter() - began < seconds:
        status, content = client.ask("GET", paths[(skip + count) % len(paths)], headers)
        count, size = count + 1, size + len(content)
        if status != 200:
            bad[status] = bad.get(status, 0) + 1
    out.put((count / (time.perf_counter() - began), size / (time.perf_counter() - began), bad))


def measured(server: Server, load: Workload, seconds: float) -> Result:
    """The rate over all connections, and the processor time of the server's processes an operation."""
    out: Any = multiprocessing.Queue()
    before, began = processor_time(server.pid), time.perf_counter()
    askers = [
        multiprocessing.Process(
            target=_asking, args=(server, load.paths, load.headers, seconds, 7919 * number, out)
        )
        for number in range(load.connections)
    ]
    for asker in askers:
        asker.start()
    found = [out.get() for _ in askers]
    for asker in askers:
        asker.join()
    spent, wall = processor_time(server.pid) - before, time.perf_counter() - began
    rate = sum(each[0] for each in found)
    bad = {status: count for each in found for status, count in each[2].items()}
    milliseconds = 1000 * spent / (rate * min(wall, seconds)) if server.pid else None
    return Result(rate, sum(each[1] for each in found) / 1e6, milliseconds, bad)


def processor_time(pid: int | None) -> float:
    """Seconds of a process and all that descend from it, the ended ones too."""
    if pid is None:
        return 0.0
    tick, children, own = os.sysconf("SC_CLK_TCK"), {}, {}
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                fields = (folder / "stat").read_text().rsplit(")", 1)[1].split()
            except OSError:
                continue
            children.setdefault(int(fields[1]), []).append(int(folder.name))
            own[int(folder.name)] = sum(map(int, fields[11:15])) / tick
    total, waiting = 0.0, [pid]
    while waiting:
        one = waiting.pop()
        total += own.get(one, 0.0)
        waiting += children.get(one, [])
    return total


def stored(server: Server, data: Sequence[bytes], batch: int, connections: int = 1) -> Result:
    """Store all of it, so many to a request; instances a second."""
    bodies = [body(data[start : start + batch]) for start in range(0, len(data), batch)]
    out: Any = multiprocessing.Queue()
    before, began = processor_time(server.pid), time.perf_counter()
    senders = [
        multiprocessing.Process(target=_sending, args=(server, bodies[number::connections], out))
        for number in range(connections)
    ]
    for sender in senders:
        sender.start()
    bad: dict[int, int] = {}
    for status in itertools.chain.from_iterable(out.get() for _ in senders):
        if status not in (200, 202):
            bad[status] = bad.get(status, 0) + 1
    for sender in senders:
        sender.join()
    wall, spent = time.perf_counter() - began, processor_time(server.pid) - before
    size = sum(map(len, data)) / 1e6
    return Result(len(data) / wall, size / wall, 1000 * spent / len(data) if server.pid else None, bad)


def _sending(server: Server, bodies: Sequence[bytes], out: Any) -> None:
    client = Client(server)
    out.put([client.ask("POST", "/studies", STOW, each)[0] for each in bodies])


def memory(pid: int | None) -> float:
    """Megabytes of a process and all that descend from it, what they share counted once."""
    if pid is None:
        return 0.0
    total, waiting = 0, [pid]
    while waiting:
        one = waiting.pop()
        with suppress(OSError):
            lines = Path(f"/proc/{one}/smaps_rollup").read_text().splitlines()
            total += next(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
            waiting += map(int, Path(f"/proc/{one}/task/{one}/children").read_text().split())
    return total / 1024


# -- workloads


def workloads(held: Archive) -> list[Workload]:
    """The rows of performance.md that one connection or a few can show."""
    series = f"/studies/{held.study}/series/{held.series}"
    instances = [f"{series}/instances/{sop}" for sop in held.sops]
    frames = [f"{path}/frames/1" for path in instances]
    names = [f"/studies?PatientName={name}*&limit=25" for name in NAMES]
    dates = [f"/studies?StudyDate={year}0101-{year}0331&limit=25" for year in range(2015, 2025)]
    ids = [f"/studies?PatientID=P{number}" for number in range(len(held.small_studies))]
    uids = [f"/studies?StudyInstanceUID={uid}" for uid in held.small_studies]
    rendered = [f"{path}/rendered?window=40,400,linear" for path in frames]
    offsets = [f"/studies?limit=25&offset={number}" for number in range(900, 1100, 10)]
    infixes = [f"/studies?PatientName=*{part}*&limit=25" for part in ("AR", "ON", "IN", "ER", "OV")]
    several = [f"{name}&StudyDate=20150101-20241231&ModalitiesInStudy=CT" for name in names]
    return [
        Workload("QIDO studies limit=25", ["/studies?limit=25"], JSON, 1, 30, "qido"),
        Workload("QIDO limit=25, offset 900-1,100", offsets, JSON, 1, 30, "qido"),
        Workload("QIDO PatientName=*X* limit=25", infixes, JSON, 1, 30, "qido"),
        Workload("QIDO name, dates and modality", several, JSON, 1, 30, "qido"),
        Workload("QIDO PatientName=X* limit=25", names, JSON, 1, 30, "qido"),
        Workload("QIDO date range limit=25", dates, JSON, 1, 30, "qido"),
        Workload("QIDO PatientID", ids, JSON, 1, 8, "qido"),
        Workload("QIDO StudyInstanceUID", uids, JSON, 1, 8, "qido"),
        Workload("QIDO mix, 8 connections", [*names, *dates, *ids[:10], *uids[:10]], JSON, 8, 25, "qido"),
        Workload("QIDO all studies", ["/studies"], JSON, 1, 50, "qido"),
        Workload("QIDO instances of the series", [f"{series}/instances"], JSON, 1, 50, "qido"),
        Workload("study metadata", [f"/studies/{held.study}/metadata"], JSON, 1, 6, "meta"),
        Workload(
            "study metadata, gzip",
            [f"/studies/{held.study}/metadata"],
            {**JSON, "Accept-Encoding": "gzip"},
            1,
            40,
            "meta",
        ),
        Workload("whole series as stored", [series], AS_STORED, 1, 1.7, "wado"),
        Workload("whole series, 4 connections", [series], AS_STORED, 4, 1.7, "wado"),
        Workload("single instances", instances, AS_STORED, 1, 4, "wado"),
        Workload("single instances, 8 connections", instances, AS_STORED, 8, 3, "wado"),
        Workload("frames/1", frames, FRAME, 1, 4, "frames"),
        Workload("frames/1, 8 connections", frames, FRAME, 8, 3, "frames"),
        Workload("frame 500 of 1,000", [f"{held.cine[0]}/frames/500"], FRAME, 1, None, "frames"),
        Workload("a single frame of that size", [f"{held.still[0]}/frames/1"], FRAME, 1, None, "frames"),
        Workload("rendered PNG", rendered, {"Accept": "image/png"}, 1, 3, "rendered"),
        Workload("rendered PNG, 8 connections", rendered, {"Accept": "image/png"}, 8, 3, "rendered"),
        Workload("rendered JPEG", rendered, {"Accept": "image/jpeg"}, 1, 3, "rendered"),
        Workload("rendered JPEG, 8 connections", rendered, {"Accept": "image/jpeg"}, 8, 3, "rendered"),
        Workload(
            "thumbnail",
            [f"{path}/thumbnail" for path in instances],
            {"Accept": "image/jpeg"},
            1,
            15,
            "rendered",
        ),
    ]


def agree(servers: Sequence[Server], held: Archive) -> list[str]:
    """What differs between the answers of the servers, on what both must give."""
    differences = []
    series = f"/studies/{held.study}/series/{held.series}"
    projections: list[tuple[str, Callable[[Server], Any]]] = [
        ("studies by name", lambda each: _uids(each, "/studies?PatientName=SATO*", "0020000D")),
        ("instances of the series", lambda each: _uids(each, f"{series}/instances", "00080018")),
        ("pixels of a frame", lambda each: _pixels(each, f"{series}/instances/{held.sops[0]}/frames/1")),
    ]
    for name, project in projections:
        found = [project(server) for server in servers]
        if any(each != found[0] for each in found):
            differences.append(name)
    return differences


def _uids(server: Server, path: str, tag: str) -> list[str]:
    _, content = Client(server).ask("GET", path, JSON)
    return sorted(item[tag]["Value"][0] for item in json.loads(content or b"[]"))


def _pixels(server: Server, path: str) -> bytes:
    _, content = Client(server).ask("GET", path, FRAME)
    return content.partition(b"\r\n\r\n")[2][: 512 * 512 * 2]


# -- the report


def report(servers: Sequence[Server], held: Archive, options: argparse.Namespace) -> None:
    names = [f"{each.name}: a second | MB/s | CPU ms" for each in servers]
    print("| workload | " + " | ".join([*names, "ratio", "ratio of CPU", "goal"]) + " |")
    print("|---|" + "---|" * (3 * len(servers) + 3))
    for server in servers:
        before = memory(server.pid)
        for data in (held.large, held.small, [held.cine[1]], [held.still[1]]):
            stored(server, data, 10, 4)
        if server.pid:
            print(
                f"<!-- {server.name}: {before:.0f} MB before, {memory(server.pid):.0f} MB after the stores -->"
            )
    wanted = set(options.only.split(","))
    if "stow" in wanted:
        _stores(servers, held)
    if "meta" in wanted:
        _cold(servers, held)
    for load in (each for each in workloads(held) if each.group in wanted):
        _line(load.name, [measured(server, load, options.seconds) for server in servers], load.goal)
    for server in servers:
        if server.pid:
            print(f"<!-- {server.name}: {memory(server.pid):.0f} MB at the end -->")
    if len(servers) > 1:
        print("Answers differ in:", ", ".join(agree(servers, held)) or "nothing")


def _fill(server: Server, held: Archive) -> None:
    before = memory(server.pid)
    for data in (held.large, held.small, [held.cine[1]], [held.still[1]]):
        stored(server, data, 10, 4)
    if server.pid:
        print(f"<!-- {server.name}: {before:.0f} MB before, {memory(server.pid):.0f} MB after the stores -->")


def _stores(servers: Sequence[Server], held: Archive) -> None:
    combinations = ((1, 1, 1.5), (1, 4, 1.5), (10, 1, 2), (10, 4, 2), (100, 1, 3), (100, 4, 3))
    for batch, connections, goal in combinations:
        data = held.again(len(held.large))
        results = [stored(server, data, batch, connections) for server in servers]
        _line(f"STOW {batch} a request, {connections} connections", results, float(goal))
    small = [_small_again(each) for each in held.small]
    _line("STOW small, new patients, 10 a request, 4", [stored(each, small, 10, 4) for each in servers], 2.5)


def _small_again(data: bytes) -> bytes:
    """The study of another patient, with UIDs of its own."""
    made = dcmread(io.BytesIO(data))
    made.PatientID += "B"
    made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    made.StudyInstanceUID, made.SeriesInstanceUID = generate_uid(), generate_uid()
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def _cold(servers: Sequence[Server], held: Archive) -> None:
    """Metadata of a study the moment it is stored: one request, so its rate is what one takes."""
    data = held.again(len(held.large))
    study = str(dcmread(io.BytesIO(data[0]), stop_before_pixels=True).StudyInstanceUID)
    results = []
    for server in servers:
        stored(server, data, 10, 4)
        before, began = processor_time(server.pid), time.perf_counter()
        status, content = Client(server).ask("GET", f"/studies/{study}/metadata", JSON)
        wall, spent = time.perf_counter() - began, processor_time(server.pid) - before
        bad = {} if status == 200 else {status: 1}
        results.append(Result(1 / wall, len(content) / 1e6 / wall, 1000 * spent if server.pid else None, bad))
    _line("study metadata, first time", results, 100.0)


def _line(name: str, results: Sequence[Result], goal: float | None) -> None:
    cells = [cell for each in results for cell in _figures(each)]
    ratio = spent = "-"
    if len(results) > 1:
        ours, theirs = results
        is_fair = theirs.rate and not (ours.bad or theirs.bad)
        ratio = f"{ours.rate / theirs.rate:.1f}" if is_fair else "-"
        if is_fair and ours.milliseconds and theirs.milliseconds:
            spent = f"{theirs.milliseconds / ours.milliseconds:.1f}"
    print("| " + " | ".join([name, *cells, ratio, spent, f"{goal:g}" if goal else "-"]) + " |", flush=True)


def _figures(result: Result) -> tuple[str, str, str]:
    bad = (
        f" ({', '.join(f'{count} x {status}' for status, count in result.bad.items())})" if result.bad else ""
    )
    spent = f"{result.milliseconds:.2f}" if result.milliseconds is not None else "-"
    return f"{result.rate:.1f}{bad}", f"{result.megabytes:.1f}", spent


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--seconds", type=float, default=3.0, help="of each workload on each server")
    asked.add_argument("--instances", type=int, default=400, help="of the large series")
    asked.add_argument("--studies", type=int, default=2000, help="small ones")
    asked.add_argument("--peer", help="base address of another DICOMweb server")
    asked.add_argument("--only", default="stow,qido,meta,wado,frames,rendered", help="groups of workloads")
    options = asked.parse_args()
    held = archive(options.instances, options.studies)
    assert dcmread(io.BytesIO(held.large[0])).StudyInstanceUID == held.study
    with lightbox() as ours, orthanc() as theirs:
        peer = Server("peer", options.peer.rstrip("/")) if options.peer else theirs
        servers = [ours, peer] if peer else [ours]
        report(servers, held, options)


if __name__ == "__main__":
    main()
