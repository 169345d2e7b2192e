"""A worker, the server, and PostgreSQL are killed while they store, at random moments (story, step 7).

Afterwards every instance that was answered as stored is there with the same SHA-256, every instance that a search
names comes back whole, and `lightbox verify` finds nothing wrong.
"""

from __future__ import annotations

import hashlib
import os
import random
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from io import BytesIO
from pathlib import Path

import httpx
import pytest
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

from server.access.services import Services
from tests.factories import People

from .processes import Lightbox

STUDIES = 3
UPLOADERS = 3


@dataclass
class Ledger:
    """What was sent, and what the server said it had stored."""

    studies: list[str] = field(default_factory=lambda: [generate_uid() for _ in range(STUDIES)])
    series: dict[str, str] = field(default_factory=dict)
    sent: dict[str, tuple[str, bytes]] = field(default_factory=dict)  # SOP Instance UID: study, SHA-256
    promised: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.series = {study: generate_uid() for study in self.studies}

    def new_instance(self) -> bytes:
        """A CT image as bytes; from one pixel to about a megabyte and a half of them."""
        study, uid = random.choice(self.studies), generate_uid()
        side = random.choice([1, 64, 256, 512, 900])
        content = _dicom(study, self.series[study], uid, side)
        self.sent[uid] = (study, hashlib.sha256(content).digest())
        return content


def _dicom(study: str, series: str, uid: str, side: int) -> bytes:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = uid
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    image.SOPClassUID, image.SOPInstanceUID = CTImageStorage, uid
    image.StudyInstanceUID, image.SeriesInstanceUID = study, series
    image.PatientName, image.PatientID, image.Modality = "Killed^Karl", "K1", "CT"
    image.StudyDate, image.StudyTime, image.InstanceNumber = "20240102", "120000", "1"
    image.Rows = image.Columns = side
    image.BitsAllocated = image.BitsStored = 16
    image.HighBit, image.PixelRepresentation, image.SamplesPerPixel = 15, 0, 1
    image.PhotometricInterpretation = "MONOCHROME2"
    image.PixelData = os.urandom(side * side * 2)
    target = BytesIO()
    image.save_as(target, enforce_file_format=True)
    return target.getvalue()


class Uploader(threading.Thread):
    """Stores instances until the server is gone."""

    def __init__(self, lightbox: Lightbox, token: str, ledger: Ledger) -> None:
        super().__init__(daemon=True)
        self._url = f"{lightbox.url}/dicomweb/studies"
        self._token = token
        self._ledger = ledger
        self.problem: str | None = None
        self.enough = False

    def run(self) -> None:
        with httpx.Client(timeout=30, headers={"Authorization": f"Bearer {self._token}"}) as client:
            while self.problem is None and not self.enough:
                body = _multipart([self._ledger.new_instance() for _ in range(random.randint(1, 6))])
                try:
                    answer = client.post(self._url, content=_slowly(body), headers=_HEADERS)
                except httpx.TransportError:
                    return  # killed: nothing was promised
                self._note(answer)

    def _note(self, answer: httpx.Response) -> None:
        if answer.status_code not in (200, 202):
            self.problem = f"{answer.status_code}: {answer.text[:300]}"
            return
        for item in answer.json()["00081199"]["Value"]:
            self._ledger.promised.add(item["00081155"]["Value"][0])


_HEADERS = {
    "Content-Type": 'multipart/related; type="application/dicom"; boundary=ledger',
    "Accept": "application/dicom+json",
}


def _multipart(contents: list[bytes]) -> bytes:
    parts = (b"--ledger\r\nContent-Type: application/dicom\r\n\r\n" + each + b"\r\n" for each in contents)
    return b"".join(parts) + b"--ledger--\r\n"


def _slowly(body: bytes) -> Iterator[bytes]:
    """In pieces with pauses, so that a kill also comes between them."""
    for start in range(0, len(body), 300_000):
        yield body[start : start + 300_000]
        if random.random() < 0.1:
            time.sleep(0.02)


class Reader:
    """Asks the server for what it holds."""

    def __init__(self, lightbox: Lightbox, token: str) -> None:
        self._client = httpx.Client(
            base_url=f"{lightbox.url}/dicomweb", timeout=60, headers={"Authorization": f"Bearer {token}"}
        )

    def instances_of(self, study: str) -> set[str]:
        """The SOP Instance UIDs that a search names."""
        answer = self._client.get(f"/studies/{study}/instances", headers={"Accept": "application/dicom+json"})
        assert answer.status_code in (200, 204), answer.text
        return {each["00080018"]["Value"][0] for each in (answer.json() if answer.content else [])}

    def hashes_of(self, study: str) -> list[bytes]:
        """The SHA-256 of every instance of the study, retrieved as it was stored."""
        accept = 'multipart/related; type="application/dicom"; transfer-syntax=*'
        answer = self._client.get(f"/studies/{study}", headers={"Accept": accept})
        assert answer.status_code == 200, answer.text
        return [hashlib.sha256(part).digest() for part in _parts(answer)]

    def close(self) -> None:
        self._client.close()


def _parts(answer: httpx.Response) -> list[bytes]:
    header = Message()
    header["Content-Type"] = answer.headers["Content-Type"]
    boundary = b"--" + str(header.get_param("boundary")).encode()
    chunks = (b"\r\n" + answer.content).split(b"\r\n" + boundary)
    return [chunk.partition(b"\r\n\r\n")[2] for chunk in chunks[1:-1]]


def check(lightbox: Lightbox, token: str, ledger: Ledger) -> None:
    """What was promised is there; what is there is whole; nothing is twice."""
    reader = Reader(lightbox, token)
    for study in ledger.studies:
        listed = reader.instances_of(study)
        promised = {uid for uid in ledger.promised if ledger.sent[uid][0] == study}
        assert promised <= listed, f"{len(promised - listed)} promised instances are lost"
        if listed:
            expected = sorted(ledger.sent[uid][1] for uid in listed)
            assert sorted(reader.hashes_of(study)) == expected
    reader.close()


def round_of_uploads(lightbox: Lightbox, token: str, ledger: Ledger, victim: str) -> None:
    """Upload from several connections, and kill at a random moment."""
    uploaders = [Uploader(lightbox, token, ledger) for _ in range(UPLOADERS)]
    for each in uploaders:
        each.start()
    time.sleep(random.uniform(0.05, 1.5))
    if victim == "worker":
        lightbox.kill_worker()  # uploads through the other one go on
        time.sleep(0.5)
        for each in uploaders:
            each.enough = True
    else:
        lightbox.kill(database=victim == "database")
    for each in uploaders:
        each.join(30)
        # With the database gone a moment before the server, a refusal is an answer too: nothing was promised.
        assert each.problem is None or victim == "database", each.problem


@pytest.fixture
def lightbox(tmp_path: Path) -> Iterator[Lightbox]:
    made = Lightbox(tmp_path / "data", workers=2)
    yield made
    with suppress(ProcessLookupError):
        made.stop()


async def _token(services: Services) -> str:
    people = People(services)
    return await people.token(await people.patient("Karl Killed"), "patient/ImagingStudy.cruds", ttl=7200)


def run_story(lightbox: Lightbox, victims: Iterable[str]) -> None:
    bearer, ledger, rounds = lightbox.prepare(_token), Ledger(), 0
    lightbox.start()
    for victim in victims:
        round_of_uploads(lightbox, bearer, ledger, victim)
        if victim != "worker":
            lightbox.start()
        check(lightbox, bearer, ledger)
        rounds += 1
    assert len(ledger.promised) > rounds, "too little was stored for this to say anything"
    lightbox.command("verify")


def test_killed_while_storing(lightbox: Lightbox) -> None:
    run_story(lightbox, ("worker", "server", "database"))


@pytest.mark.long
def test_killed_while_storing_many_times(lightbox: Lightbox) -> None:
    run_story(lightbox, random.choices(("worker", "server", "database"), k=200))
