"""Processes that decode, started when they are needed and ended when they are not, or take too long."""

from __future__ import annotations

import asyncio
import atexit
import os
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

from server.core.errors import Unavailable

from .codec_worker import read_message, write_message

TIME = 30.0  # seconds for one job
IDLE = 120.0  # seconds after which a process that nobody needed ends
_KEPT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")  # nothing that opens anything
_ROOT = str(Path(__file__).resolve().parents[2])  # where the package `server` lies


class Failed(Exception):
    """The job was not done: its codec crashed, looped, or refused."""


class _Process:
    """One worker process."""

    def __init__(self) -> None:
        environment = {name: os.environ[name] for name in _KEPT if name in os.environ}
        environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": _ROOT}
        self._child = subprocess.Popen(
            [sys.executable, "-P", "-m", "server.imaging.codec_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment,
            close_fds=True,
        )
        self.used = time.monotonic()

    def do(self, header: Mapping[str, Any], content: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        """Have one job done; raises Failed, and then the process is to be ended."""
        assert self._child.stdin is not None
        assert self._child.stdout is not None
        timer = threading.Timer(seconds, self._child.kill)
        timer.daemon = True
        timer.start()
        try:
            write_message(self._child.stdin, dict(header), content)  # type: ignore[arg-type]
            found = read_message(self._child.stdout)  # type: ignore[arg-type]
        except (OSError, ValueError) as error:
            raise Failed() from error
        finally:
            timer.cancel()
            self.used = time.monotonic()
        if found is None:
            raise Failed()
        return found

    @property
    def is_alive(self) -> bool:
        return self._child.poll() is None

    @property
    def pid(self) -> int:
        return self._child.pid

    def end(self) -> None:
        self._child.kill()
        self._child.wait()
        for stream in (self._child.stdin, self._child.stdout):
            if stream is not None:
                with suppress(OSError):
                    stream.close()


class CodecPool:
    """A few processes, each with one job at a time; what waits, waits in a thread."""

    def __init__(self, size: int = 2, waiting: int = 64) -> None:
        self._threads = ThreadPoolExecutor(size, thread_name_prefix="codec")
        self._free: list[_Process] = []
        self._lock = threading.Lock()
        self._room = waiting
        self._sweeper: threading.Timer | None = None
        atexit.register(self.close)

    async def do(
        self, header: Mapping[str, Any], content: bytes, *, seconds: float = TIME
    ) -> tuple[dict[str, Any], bytes]:
        """Have a job done in a process. Raises Failed, and Unavailable when too many wait."""
        if self._room <= 0:
            raise Unavailable("Too many images are being prepared; try again in a moment.")
        self._room -= 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._threads, lambda: self._do(header, content, seconds))
        finally:
            self._room += 1

    def close(self) -> None:
        """End the processes."""
        with self._lock:
            free, self._free = self._free, []
            if self._sweeper is not None:
                self._sweeper.cancel()
        for process in free:
            process.end()

    def _do(self, header: Mapping[str, Any], content: bytes, seconds: float) -> tuple[dict[str, Any], bytes]:
        process = self._take()
        try:
            found = process.do(header, content, seconds)
        except BaseException:
            process.end()
            raise
        self._give_back(process)
        return found

    def _take(self) -> _Process:
        with self._lock:
            free = self._free
            while free:
                process = free.pop()
                if process.is_alive:
                    return process
                process.end()  # something ended it while it waited: no job's fault
        return _Process()

    def _give_back(self, process: _Process) -> None:
        with self._lock:
            self._free.append(process)
            if self._sweeper is None:
                self._sweep_later()

    def _sweep_later(self) -> None:
        self._sweeper = threading.Timer(IDLE, self._sweep)
        self._sweeper.daemon = True
        self._sweeper.start()

    def _sweep(self) -> None:
        with self._lock:
            now = time.monotonic()
            idle = [each for each in self._free if now - each.used >= IDLE]
            self._free = [each for each in self._free if each not in idle]
            self._sweeper = None
            if self._free:
                self._sweep_later()
        for process in idle:
            process.end()


POOL = CodecPool()  # processes belong to the operating system's process, not to one application in it
