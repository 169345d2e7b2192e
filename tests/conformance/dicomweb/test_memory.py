"""What a store may hold in memory, measured on a real server process: docs/dicomweb.md, "Limits"."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.conformance.dicomweb.samples import BOUNDARY, MULTIPART, body, instance
from tests.faults.processes import Lightbox

BOUND = 96 * 2**20  # bytes beyond what the server has when it is idle, whatever the length of a store
MIB = 2**20
HEAD = f"--{BOUNDARY}\r\nContent-Type: application/dicom\r\n\r\n".encode()


@pytest.fixture(scope="module")
def lightbox() -> Iterator[Lightbox]:
    with TemporaryDirectory() as directory:  # not below pytest's own, which is closed to PostgreSQL's user
        made = Lightbox(Path(directory) / "data")
        made.start()
        yield made
        made.stop()


@pytest.fixture(scope="module")
def token(lightbox: Lightbox) -> str:
    lightbox.command("user", "add", "--role", "patient", "--email", "a@b.example", "--name", "Ada Moor")
    made = lightbox.command("token", "--user", "a@b.example", "--scope", "patient/*.cruds")
    return str(made["access_token"] if "access_token" in made else made["token"])


class Watch:
    """The most memory that the processes of the server have while something goes on, and what others are answered."""

    def __init__(self, lightbox: Lightbox) -> None:
        assert lightbox._process
        self._session, self._url = lightbox._process.pid, lightbox.url
        self.before = self.resident()
        self.highest, self.answers = self.before, list[int]()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._done.wait(0.05):
            self.highest = max(self.highest, self.resident())
            self.answers.append(httpx.get(f"{self._url}/health/ready", timeout=60).status_code)

    def resident(self) -> int:
        """Of the server and its workers, without its database."""
        total = 0
        for entry in Path("/proc").iterdir():
            try:
                session = int((entry / "stat").read_text().rpartition(")")[2].split()[3])
                if session == self._session and b"postgres" not in (entry / "cmdline").read_bytes()[:200]:
                    total += int((entry / "statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
            except (OSError, ValueError, IndexError):
                continue
        return total


def one_object(megabytes: int) -> Iterator[bytes]:
    """An image whose pixels go on and on, with the length that they have (UL of undefined: PS3.5, A.4)."""
    whole = instance().data
    at = whole.index(b"\xe0\x7f\x10\x00")
    yield HEAD + whole[:at] + b"\xe0\x7f\x10\x00OW\0\0" + (megabytes * MIB).to_bytes(4, "little")
    piece = os.urandom(MIB)
    for _ in range(megabytes):
        yield piece
    yield f"\r\n--{BOUNDARY}--\r\n".encode()


def many_objects(megabytes: int) -> Iterator[bytes]:
    """Small instances, each another one."""
    size = 0
    while size < megabytes * MIB:
        part = body([instance(ImageComments="x" * 8000).data]).removesuffix(f"--{BOUNDARY}--\r\n".encode())
        size += len(part)
        yield part
    yield f"--{BOUNDARY}--\r\n".encode()


def many_nothings(megabytes: int) -> Iterator[bytes]:
    """Parts that hold nothing to speak of, until there are too many."""
    for _ in range(megabytes):
        yield (HEAD + b"x\r\n") * (MIB // 100)
    yield f"--{BOUNDARY}--\r\n".encode()


@pytest.mark.parametrize(
    ("stream", "megabytes"),
    [
        (one_object, 256),
        (many_objects, 3),
        (many_nothings, 2),
        pytest.param(one_object, 3900, marks=pytest.mark.long),
        pytest.param(many_objects, 2000, marks=pytest.mark.long),
    ],
    ids=lambda value: getattr(value, "__name__", str(value)),
)
def test_a_store_of_any_length_is_bounded(
    lightbox: Lightbox, token: str, stream: object, megabytes: int
) -> None:
    """The answer is a clear status, memory stays below the bound, and others are answered meanwhile."""
    headers = {"Authorization": f"Bearer {token}", "Content-Type": MULTIPART}
    assert callable(stream)
    with Watch(lightbox) as watch:
        answer = httpx.post(
            f"{lightbox.url}/dicomweb/studies", content=stream(megabytes), headers=headers, timeout=1800
        )
    assert answer.status_code in (200, 202, 409, 413), answer.text[:500]
    if stream is not many_nothings:
        assert "00081199" in answer.json()
    assert watch.highest - watch.before < BOUND, f"{(watch.highest - watch.before) / MIB:.0f} MiB"
    assert set(watch.answers) == {200}
