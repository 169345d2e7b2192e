"""The server, PostgreSQL and commands beside it are killed while people erase, copy and share, while the master key is
rotated and a backup is made. Afterwards what was acknowledged happens or has happened, and `lightbox verify` is clean.
"""

from __future__ import annotations

import hashlib
import io
import os
import random
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import psycopg
import pytest

from server.access.services import Services
from server.cli.archive import _verified
from server.cli.context import prepared
from server.core.settings import read_settings
from server.storage.backup import back_up, keys_file
from server.storage.restore import restore
from server.storage.rotation import rotate_master
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance
from tests.factories import PASSWORD, People, Person
from tests.flows.portal_steps import forms_of

from .processes import Lightbox

COMMANDS = (("backup", "{data}/../night"), ("keys", "rotate-master"))


@dataclass
class Somebody:
    """A patient, what they stored, and what the server said it would do."""

    email: str
    patient_id: str
    samples: list[Sample] = field(default_factory=list)
    proof: str = ""  # the deletion was acknowledged
    shared: list[str] = field(default_factory=list)  # with these addresses, acknowledged


@pytest.fixture
def lightbox(tmp_path: Path) -> Iterator[Lightbox]:
    made = Lightbox(tmp_path / "data")  # test_kill.py has several workers
    yield made
    with suppress(ProcessLookupError):
        made.stop()


def _people(lightbox: Lightbox, count: int) -> list[Somebody]:
    async def make(services: Services) -> list[Person]:
        return [await People(services).patient("Ada Moor") for _ in range(count)]

    return [Somebody(each.email, each.fhir_id) for each in lightbox.prepare(make)]


class Browser:
    """One person's browser; a request that fails because the server was killed says so by None."""

    def __init__(self, lightbox: Lightbox, who: Somebody) -> None:
        self.who = who
        self.client = httpx.Client(base_url=lightbox.url, timeout=60)
        form = {"email": who.email, "password": PASSWORD}
        answer = self.client.post("/sign-in", data=form)
        assert answer.status_code == 303, answer.text

    def __enter__(self) -> Browser:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def post(self, page: str, action: str, **fields: str) -> httpx.Response | None:
        try:
            form = next(each for each in forms_of(self.client.get(page)) if each["action"] == action)
            return self.client.post(action, data={**form["fields"], **fields})
        except (httpx.TransportError, StopIteration):
            return None

    def store(self, sample: Sample) -> bool:
        csrf = next(iter(forms_of(self.client.get("/account"))))["fields"]["csrf"][0]
        headers = {"Content-Type": MULTIPART, "X-CSRF-Token": csrf}
        with suppress(httpx.TransportError):
            return (
                self.client.post(
                    "/dicomweb/studies", content=body([sample.data]), headers=headers
                ).status_code
                == 200
            )
        return False


def command(lightbox: Lightbox, *arguments: str) -> subprocess.Popen[bytes]:
    """A command beside the server, to be killed."""
    words = [each.format(data=lightbox.data) for each in arguments]
    line = [sys.executable, "-m", "server", *words, "--data", str(lightbox.data)]
    quiet = subprocess.DEVNULL
    return subprocess.Popen(
        line, env=lightbox._environment(), stdout=quiet, stderr=quiet, start_new_session=True
    )


def turmoil(lightbox: Lightbox, leaving: Somebody, staying: Somebody, number: int) -> None:
    """One leaves, one shares and has a copy made, commands run beside; then all is killed at a random moment."""
    beside = [command(lightbox, *each) for each in COMMANDS]
    time.sleep(random.uniform(0.5, 2.0))  # until they are at work
    with Browser(lightbox, leaving) as one, Browser(lightbox, staying) as other:
        acts(one, other, f"doctor{number}@example.org")
    time.sleep(random.uniform(0, 0.6))
    for each in beside:
        with suppress(ProcessLookupError):
            os.killpg(each.pid, signal.SIGKILL)
        each.wait()
    lightbox.kill(database=number % 2 == 0)


def acts(one: Browser, other: Browser, address: str) -> None:
    """What is acknowledged is noted."""
    invited = other.post("/sharing/new", "/sharing/new", name="Bo", email=address, right="images")
    if invited is not None and invited.status_code == 303:
        other.who.shared.append(address)
    other.post("/account/data", "/account/data/copy")
    typed = {"what": "account", "when": "now", "sure": "yes", "password": PASSWORD}
    done = one.post("/account/delete", "/account/delete", **typed)
    if done is not None and done.status_code == 303:
        one.who.proof = done.headers["location"]


def settled(lightbox: Lightbox, people: list[Somebody]) -> None:
    """Who was told "deleted" is, the others are whole, and their copies come."""
    gone = [each for each in people if each.proof]
    with httpx.Client(base_url=lightbox.url, timeout=60) as anybody:
        for each in gone:
            wait_for(lambda path=each.proof: "Everything was deleted" in anybody.get(path).text)
        for each in gone[:10]:  # more tries in vain would slow down this whole network (accounts/attempts.py)
            answer = anybody.post("/sign-in", data={"email": each.email, "password": PASSWORD})
            assert answer.status_code != 303
    for each in people:
        if each.proof:
            continue
        with Browser(lightbox, each) as browser:
            _is_whole(browser)
    with Browser(lightbox, next(each for each in people if not each.proof)) as browser:
        _copy_comes(browser)


def _is_whole(browser: Browser) -> None:
    raw = {"Accept": 'application/dicom; transfer-syntax="*"'}
    for sample in browser.who.samples:
        answer = browser.client.get(f"/dicomweb{sample.path}", headers=raw)
        assert hashlib.sha256(answer.content).digest() == hashlib.sha256(sample.data).digest()
    ids = re.findall(r'href="(/sharing/[0-9a-f-]{36})"', browser.client.get("/sharing").text)
    addresses = "".join(browser.client.get(path).text for path in ids)
    assert all(address in addresses for address in browser.who.shared)


def _copy_comes(browser: Browser) -> None:
    asked = browser.post("/account/data", "/account/data/copy")
    assert asked is not None
    assert asked.status_code == 303
    link = re.compile(r'"(/account/data/copies/[0-9a-f-]+)" download')
    wait_for(lambda: link.search(browser.client.get("/account/data").text) is not None)
    found = link.search(browser.client.get("/account/data").text)
    assert found
    with zipfile.ZipFile(io.BytesIO(browser.client.get(found[1]).content)) as read:
        assert read.testzip() is None
        assert {hashlib.sha256(each.data).digest() for each in browser.who.samples} <= {
            hashlib.sha256(read.read(name)).digest() for name in read.namelist() if name.startswith("DICOM/")
        }


def wait_for(what: object, seconds: float = 90) -> None:
    """Jobs of a killed worker come up again when their lease has ended."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if what():  # type: ignore[operator]
            return
        time.sleep(0.2)
    raise AssertionError("it does not come")


def run_story(lightbox: Lightbox, rounds: int, tmp_path: Path) -> None:
    people = _people(lightbox, rounds + 1)
    lightbox.start()
    for each in people:
        with Browser(lightbox, each) as browser:
            each.samples += [sample for sample in (instance(), instance()) if browser.store(sample)]
    assert all(len(each.samples) == 2 for each in people)
    staying = people[-1]
    for number, leaving in enumerate(people[:-1]):
        turmoil(lightbox, leaving, staying, number)
        _lease_ends(lightbox.data)
        lightbox.start()
    settled(lightbox, people)
    file = tmp_path / "last"
    lightbox.prepare(lambda services: _turned_over_and_saved(services, file))
    (tmp_path / "other" / "data").mkdir(parents=True)
    other = Lightbox(tmp_path / "other" / "data")
    (other.data / "master.key").write_bytes((lightbox.data / "master.key").read_bytes())
    other.prepare(lambda services: _restored(services, file))
    other.stop()


async def _turned_over_and_saved(services: Services, file: Path) -> None:
    """What `lightbox keys rotate-master`, `verify` and `backup` do, while the server serves."""
    await rotate_master(services.db, services.settings.key_file, grace=0.2)
    await _is_clean(services)
    await back_up(services.db, services.objects, services.keyring, file)


async def _restored(services: Services, file: Path) -> None:
    await restore(services.db, services.objects, services.keyring, file, keys_file(file))
    await _is_clean(services)


async def _is_clean(services: Services) -> None:
    found = await _verified(services)
    assert not found["objects"]["wrong"], found
    assert not found["audit"]["wrong"], found
    assert not found["keys"]["missing"], found


def _lease_ends(data: Path) -> None:
    """As if five minutes had passed: what a killed worker held is due."""
    with prepared(read_settings(data=data)) as settings, psycopg.connect(settings.database_url) as connection:
        connection.execute("UPDATE job SET due_at = now() WHERE dead_at IS NULL AND tries > 0")


def test_killed_while_people_use_their_rights(lightbox: Lightbox, tmp_path: Path) -> None:
    run_story(lightbox, 1, tmp_path)


@pytest.mark.long
def test_killed_while_people_use_their_rights_many_times(lightbox: Lightbox, tmp_path: Path) -> None:
    run_story(lightbox, 60, tmp_path)
