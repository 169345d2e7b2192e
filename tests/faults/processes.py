"""Real `lightbox` processes on a data directory of their own, to be killed."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import httpx

from server.access.running import running_services
from server.access.services import Services
from server.cli.context import prepared
from server.core.settings import Settings, read_settings

T = TypeVar("T")
_PATIENCE = 60.0  # seconds; a start after a kill replays the database's log first


class Lightbox:
    """One deployment: its data directory, its port, and the server while it runs."""

    def __init__(self, data: Path, *, workers: int = 1) -> None:
        self.data = data
        self.port = _free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._workers = workers
        self._log = (data.parent / "serve.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def prepare(self, work: Callable[[Services], Awaitable[T]]) -> T:
        """Do something with its services before it runs, in this process: what three commands would take long for."""

        async def working(settings: Settings) -> T:
            async with running_services(settings) as services:
                return await work(services)

        with prepared(read_settings(data=self.data, base_url=self.url)) as settings:
            return asyncio.run(working(settings))

    def command(self, *arguments: str) -> Any:
        """Run a command to its end; what it prints as JSON. Raises CalledProcessError."""
        done = subprocess.run(
            [sys.executable, "-m", "server", *arguments, "--data", str(self.data), "--json"],
            env=self._environment(),
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
        assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
        return json.loads(done.stdout)

    def start(self) -> None:
        command = [
            sys.executable,
            "-m",
            "server",
            "serve",
            "--port",
            str(self.port),
            "--data",
            str(self.data),
        ]
        self._process = subprocess.Popen(
            [*command, "--workers", str(self._workers)],
            env=self._environment(),
            stdout=self._log,
            stderr=self._log,
            start_new_session=True,  # a group of its own, to be killed with all its workers
        )
        self._wait_until_it_answers()

    def kill(self, *, database: bool = False) -> None:
        """SIGKILL to the server and all its workers, and to the embedded PostgreSQL as well when asked."""
        assert self._process is not None
        if database:
            os.kill(self._postmaster(), signal.SIGKILL)
        os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._process = None

    def kill_worker(self) -> None:
        """SIGKILL to one of the worker processes: the others go on, and it is replaced."""
        assert self._process is not None
        source = next(pid for pid in children(self._process.pid) if b"forkserver" in command_line(pid))
        workers = children(source)
        assert len(workers) == self._workers
        os.kill(random.choice(workers), signal.SIGKILL)

    def stop(self) -> None:
        """An orderly end, whatever state it is in."""
        if self._process is not None:
            self._process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(20)
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
            self._process = None
        self._log.close()

    def log(self) -> str:
        return (self.data.parent / "serve.log").read_text(errors="replace")

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None
        deadline = time.monotonic() + _PATIENCE
        while time.monotonic() < deadline:
            with suppress(httpx.TransportError):
                if httpx.get(f"{self.url}/health/ready", timeout=5).status_code == 200:
                    return
            assert self._process.poll() is None, self.log()[-2000:]
            time.sleep(0.05)
        raise AssertionError("the server does not answer")

    def _postmaster(self) -> int:
        return int((self.data / "postgres" / "postmaster.pid").read_text().splitlines()[0])

    def _environment(self) -> dict[str, str]:
        """Ours, without settings that would lead somewhere else."""
        return {name: value for name, value in os.environ.items() if not name.startswith("LIGHTBOX_")}


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> bytes:
    return Path(f"/proc/{pid}/cmdline").read_bytes()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        number: int = probe.getsockname()[1]
        return number
