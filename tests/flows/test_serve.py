"""`lightbox serve` as an operator meets it: started, stopped, killed, with commands beside it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import pytest

from tests.faults.processes import Lightbox, children, command_line


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not below pytest's own directory, which another run's start closes to the user of PostgreSQL."""
    with TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def lightbox(tmp_path: Path) -> Iterator[Lightbox]:
    made = Lightbox(tmp_path / "data", workers=2)
    made.start()
    yield made
    made.stop()


def process_of(lightbox: Lightbox) -> subprocess.Popen[bytes]:
    assert lightbox._process
    return lightbox._process


def postmaster(lightbox: Lightbox) -> int:
    return int((lightbox.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def gone(pid: int) -> bool:
    """Ended, buried or not."""
    for _ in range(1200):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.05)
    return False


@pytest.mark.parametrize("signal_number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_in_order_with_its_database(lightbox: Lightbox, signal_number: signal.Signals) -> None:
    """As a terminal's Ctrl-C and systemd's stop say it, to all processes at once; the first alone is asked below."""
    server, database = process_of(lightbox), postmaster(lightbox)
    os.killpg(server.pid, signal_number)
    server.wait(20)
    assert gone(database)
    assert "Traceback" not in lightbox.log()
    with pytest.raises(httpx.TransportError):
        httpx.get(f"{lightbox.url}/health/live")


def test_commands_beside_it_leave_it_running(lightbox: Lightbox, tmp_path: Path) -> None:
    made = lightbox.command("user", "add", "--role", "patient", "--email", "a@b.example", "--name", "A B")
    assert made["fhir_id"]
    second = Lightbox(tmp_path / "second")
    second.port = lightbox.port
    with pytest.raises(AssertionError):
        second.start()
    second.stop()
    assert "Traceback" not in second.log()
    assert str(lightbox.port) in second.log()
    assert not (second.data / "postgres" / "postmaster.pid").exists()
    assert httpx.get(f"{lightbox.url}/health/ready").status_code == 200


def test_killed_without_its_workers_it_starts_again(lightbox: Lightbox) -> None:
    """SIGKILL to the first process alone: its workers must not go on holding the port.

    It watches them and holds nothing else of the server, and they share what they have loaded (docs/performance.md).
    """
    database = postmaster(lightbox)
    assert megabytes(process_of(lightbox).pid, "Pss") < 45
    [source] = [
        pid for pid in children(process_of(lightbox).pid) if "server.cli.loaded" in str(command_line(pid))
    ]
    assert all(megabytes(pid, "Private_Dirty") < megabytes(pid, "Rss") / 2 for pid in children(source))
    os.kill(process_of(lightbox).pid, signal.SIGKILL)
    process_of(lightbox).wait()
    assert not_listening(lightbox.url)
    lightbox.start()
    assert postmaster(lightbox) == database
    process_of(lightbox).terminate()
    process_of(lightbox).wait(20)
    assert gone(database)


def megabytes(pid: int, what: str) -> float:
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{what}:")) / 1024


def not_listening(url: str) -> bool:
    for _ in range(1200):
        try:
            httpx.get(f"{url}/health/live", timeout=10)
        except httpx.TransportError:
            return True
        time.sleep(0.05)
    return False


def test_settings_that_cannot_be_stop_the_start(tmp_path: Path) -> None:
    environment = {**os.environ, "LIGHTBOX_STORAGE_URL": "ftp://somewhere"}
    done = subprocess.run(
        [sys.executable, "-m", "server", "serve", "--data", str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "LIGHTBOX_STORAGE_URL" in done.stderr
