"""The embedded PostgreSQL: starts, is shared, survives its owner's death, ends with its last user."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.parse import parse_qs, urlsplit

import psycopg
import pytest

from server.core.errors import StorageUnavailable
from server.storage import embedded


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data directory whose cluster is made once; every test here starts and ends its postmaster."""
    with TemporaryDirectory() as directory:
        yield Path(directory)


@pytest.fixture
def tmp_path() -> Iterator[Path]:
    """Not below pytest's own directory, which another run's start closes to the user of PostgreSQL."""
    with TemporaryDirectory() as directory:
        yield Path(directory)


def answer(url: str, question: str = "SELECT 1") -> object:
    with psycopg.connect(url) as connection:
        row = connection.execute(question).fetchone()
        assert row is not None
        return row[0]


def postmaster(data: Path) -> int:
    return int((data / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def lives(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_starts_and_ends_with_its_user(data: Path) -> None:
    with embedded.running(data) as url:
        assert answer(url) == 1
        pid = postmaster(data)
    assert not lives(pid)
    assert not (data / "postgres" / "postmaster.pid").exists()


def test_what_was_written_is_there_after_the_next_start(data: Path) -> None:
    with embedded.running(data) as url, psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS answer")
    with embedded.running(data) as url:
        assert answer(url, "SELECT answer FROM kept") == 42


@pytest.mark.parametrize(
    ("name", "value"),
    [("fsync", "on"), ("synchronous_commit", "on"), ("listen_addresses", ""), ("max_connections", "200")],
)
def test_writes_are_durable_and_no_port_is_open(data: Path, name: str, value: str) -> None:
    with embedded.running(data) as url:
        assert answer(url, f"SHOW {name}") == value


def test_the_log_tells_nothing_of_a_statement_that_failed(data: Path) -> None:
    with embedded.running(data) as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("CREATE TABLE person (email text PRIMARY KEY)")
        connection.execute("INSERT INTO person VALUES ('pat@secret.example')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            connection.execute("INSERT INTO person VALUES ('pat@secret.example')")
    log = (data / "postgres" / "log").read_text()
    assert "duplicate key" in log
    assert "secret.example" not in log


def test_two_users_share_one_postmaster_until_the_last_is_gone(data: Path) -> None:
    with embedded.running(data) as url:
        pid = postmaster(data)
        with embedded.running(data) as same:
            assert same == url
        assert answer(url) == 1
    assert not lives(pid)


OWNER = """
import sys, time
from pathlib import Path
from server.storage import embedded
with embedded.running(Path(sys.argv[1])):
    print("started", flush=True)
    time.sleep(600)
"""


def test_after_a_killed_owner_the_next_joins_and_ends_it(data: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", OWNER, str(data)], stdout=subprocess.PIPE) as owner:
        assert owner.stdout
        assert owner.stdout.readline() == b"started\n"
        owner.send_signal(signal.SIGKILL)
    left_behind = postmaster(data)
    assert lives(left_behind)
    with embedded.running(data) as url:
        assert answer(url) == 1
        assert postmaster(data) == left_behind
    wait_until_gone(left_behind)


def wait_until_gone(pid: int) -> None:
    """A process whose parent died is buried by the system's first process, a moment later."""
    deadline = time.monotonic() + 60
    while lives(pid) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not lives(pid) or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]


def test_starts_after_the_postmaster_itself_was_killed(data: Path) -> None:
    with embedded.running(data):
        os.kill(postmaster(data), signal.SIGKILL)
        time.sleep(0.2)
    with embedded.running(data) as url:
        assert answer(url) == 1


def test_a_stale_pid_file_with_the_number_of_another_program_is_no_hindrance(data: Path) -> None:
    stale = data / "postgres" / "postmaster.pid"
    stale.write_text(f"{os.getpid()}\n{data / 'postgres'}\n1\n5432\n\n\n\nready\n")
    with embedded.running(data) as url:
        assert answer(url) == 1


def test_a_stale_lock_beside_the_socket_is_no_hindrance(data: Path) -> None:
    """A killed postmaster that nobody buried yet still answers to its number; so does any other program."""
    with subprocess.Popen(["sleep", "60"]) as other:
        lock = data / "postgres" / ".s.PGSQL.5432.lock"
        lock.write_text(f"{other.pid}\n{data / 'postgres'}\n")
        try:
            with embedded.running(data) as url:
                assert answer(url) == 1
        finally:
            other.kill()


def test_the_reason_of_a_failed_start_is_the_fatal_line() -> None:
    log = "LOG:  starting\nFATAL:  lock file already exists\nLOG:  database system is shut down\n"
    assert embedded._reason(log) == "FATAL:  lock file already exists"


def test_a_first_start_cut_short_is_made_again(tmp_path: Path) -> None:
    half = tmp_path / "postgres.new"
    half.mkdir()
    (half / "PG_VERSION").write_text("18\n")
    with embedded.running(tmp_path) as url:
        assert answer(url) == 1


def test_paths_longer_than_a_socket_may_be_and_with_spaces(tmp_path: Path) -> None:
    data = tmp_path / ("long " * 20) / "a, b"
    with embedded.running(data) as url:
        assert answer(url) == 1
        sockets = Path(parse_qs(urlsplit(url).query)["host"][0])
        assert sockets.stat().st_mode & 0o077 == 0
    assert not sockets.exists()


def test_a_cluster_of_another_version_is_refused_in_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("15\n")
    with pytest.raises(StorageUnavailable, match="made by PostgreSQL 15"), embedded.running(tmp_path):
        pass


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_nobody_else_gets_in_when_we_are_root(data: Path) -> None:
    with embedded.running(data):
        assert (data / "postgres").stat().st_uid != 0
        assert (data / "postgres").stat().st_mode & 0o077 == 0
