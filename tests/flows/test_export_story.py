"""Row 56, the whole way: one ZIP by the patient alone, fetched over the page, usable elsewhere (rows 44, 52)."""

from __future__ import annotations

import hashlib
import io
import itertools
import zipfile
from base64 import b64decode, b64encode
from pathlib import Path

import httpx
import orjson
import pytest
from pydicom import dcmread

from server.access.action import STUDY_STORE
from server.access.services import Services
from server.core.settings import Settings
from server.imaging.disc import survey
from server.imaging.store import receive
from server.imaging.verify import verify
from server.jobs.worker import Worker
from server.rights.background import KITS
from server.storage.keyring import KeyRing
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import file, instance, store
from tests.conftest import RunningServer
from tests.databases import create_database, drop_database
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import submit
from tests.sharing_steps import actor_of
from tests.waiting import tries

PDF = b"%PDF-1.4 a report, byte for byte \x00\xff"
FILM = hashlib.shake_256(b"film").digest(100_000)  # lies in the object store
_numbers = itertools.count(1)


async def filled(server: RunningServer, people: People) -> tuple[Person, dict[str, bytes]]:
    """A patient with images of several kinds and a report; the images by their UIDs."""
    ada, bo = await people.patient("Ada Moor"), await people.doctor()
    samples = [instance(), instance(), file("JPEG2000.dcm"), file("examples_ybr_color.dcm")]
    contents = {}
    headers = bearer(await people.token(ada))
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as web:
        for each in samples:
            data = each if isinstance(each, bytes) else each.data
            assert (await store(web, data)).status_code == 200
            contents[str(dcmread(io.BytesIO(data)).SOPInstanceUID)] = data
        report = {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "CT chest"},
            "subject": {"reference": f"Patient/{ada.fhir_id}"},
            "presentedForm": [
                {"contentType": "application/pdf", "title": "CT chest.pdf", "data": b64encode(PDF).decode()}
            ],
        }
        answer = await web.post(
            "/fhir/DiagnosticReport", json=report, headers={"Content-Type": "application/fhir+json"}
        )
        assert answer.status_code == 201, answer.text
        whose = {"Content-Type": "video/mp4", "X-Security-Context": f"Patient/{ada.fhir_id}"}
        assert (await web.post("/fhir/Binary", content=FILM, headers=whose)).status_code == 201
    await people.share(ada, bo)
    return ada, contents


async def made(services: Services, browser: httpx.AsyncClient) -> str:
    """Ask for a copy on the page and wait for it; its address."""
    assert (await submit(browser, "/account/data", "/account/data/copy")).status_code == 303
    async for _ in tries():
        await Worker(services, KITS).drain()
        page = await browser.get("/account/data")
        if (at := page.text.find("/account/data/copies/")) > 0 and "download>" in page.text:
            return page.text[at : page.text.index('"', at)]
    raise AssertionError("no copy was made")


@pytest.fixture
async def empty(cluster: str, tmp_path: Path) -> Services:
    """The services of another, empty Lightbox."""
    from server.access.running import running_services

    name = f"t_import_{next(_numbers)}"
    data = tmp_path / name
    data.mkdir()
    settings = Settings(database_url=create_database(cluster, name), data=data)
    KeyRing.load(settings.key_file, create=True)
    async with running_services(settings) as services:
        yield services  # type: ignore[misc]
    drop_database(cluster, name)


async def test_a_copy_of_everything(fresh_server: RunningServer, empty: Services, tmp_path: Path) -> None:
    """Rows 52, 56: everything is in it, every fingerprint agrees, and another Lightbox takes it whole."""
    people = People(fresh_server.services)
    ada, contents = await filled(fresh_server, people)
    async with httpx.AsyncClient(base_url=fresh_server.url, timeout=60) as browser:
        await people.session(browser, ada)
        address = await made(fresh_server.services, browser)
        whole = await browser.get(address)
        assert whole.status_code == 200
        assert int(whole.headers["content-length"]) == len(whole.content)
        half = len(whole.content) // 2
        rest = await browser.get(
            address, headers={"Range": f"bytes={half}-", "If-Range": whole.headers["etag"]}
        )
        assert rest.status_code == 206
        assert rest.headers["content-range"] == f"bytes {half}-{len(whole.content) - 1}/{len(whole.content)}"
        assert rest.content == whole.content[half:]
        beyond = await browser.get(address, headers={"Range": f"bytes={len(whole.content)}-"})
        assert beyond.status_code == 416
    archive = tmp_path / "copy.zip"
    archive.write_bytes(whole.content)
    _is_complete(archive, contents)
    await _another_lightbox_takes_it(empty, archive, contents)


def _is_complete(archive: Path, contents: dict[str, bytes]) -> None:
    with zipfile.ZipFile(archive) as read:
        assert read.testzip() is None
        names = read.namelist()
        manifest = dict(line.split("  ")[::-1] for line in read.read("manifest.sha256").decode().splitlines())
        assert set(manifest) == set(names) - {"manifest.sha256"}
        assert all(hashlib.sha256(read.read(name)).hexdigest() == digest for name, digest in manifest.items())
        images = [read.read(name) for name in names if name.startswith("DICOM/")]
        assert sorted(images) == sorted(contents.values())
        directory = dcmread(io.BytesIO(read.read("DICOMDIR")))
        listed = {
            "/".join(each.ReferencedFileID): each.ReferencedSOPInstanceUIDInFile
            for each in directory.DirectoryRecordSequence
            if "ReferencedFileID" in each
        }
        assert {uid: read.read(name) for name, uid in listed.items()} == contents
        [report, film] = sorted(name for name in names if name.startswith("REPORTS/"))
        assert (read.read(report), read.read(film)) == (PDF, FILM)
        assert report.endswith("ct-chest.pdf")
        bundle = orjson.loads(read.read("FHIR/bundle.json"))
        types = {entry["resource"]["resourceType"] for entry in bundle["entry"]}
        assert {"Patient", "ImagingStudy", "DiagnosticReport", "Consent", "AuditEvent"} <= types
        [binary] = [e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Binary"]
        assert b64decode(binary["data"]) == FILM
        account = orjson.loads(read.read("ACCOUNT/account.json"))
        assert account["shares"][0]["state"] == "active"
        assert b"copy of everything" in read.read("README.txt")


async def _another_lightbox_takes_it(services: Services, archive: Path, contents: dict[str, bytes]) -> None:
    """`lightbox import`: what is no image is ignored, each image has the fingerprint it had."""
    other = await People(services).patient("Ada Moor")
    disc = survey([archive])
    reach = await services.gate.reach_for_actor(actor_of(other), STUDY_STORE, patient_id=other.fhir_id)

    async def parts() -> object:
        for part in disc.parts:
            yield part

    report = await receive(
        services,
        parts(),
        reach=reach,
        actor=actor_of(other),
        patient_id=other.fhir_id,
        study_uid=None,
        mine=True,
    )
    assert not report.failed
    rows = await services.db.fetch_all(Statement("hashes", "SELECT sop_uid, sha256 FROM instance"))
    hashes = {row["sop_uid"]: row["sha256"] for row in rows}
    assert hashes == {uid: hashlib.sha256(data).digest() for uid, data in contents.items()}
    assert (await verify(services.db, services.objects, services.keyring)).clean


async def test_the_copy_is_its_owners_and_ends_with_the_right(fresh_server: RunningServer) -> None:
    """Row 56: by the patient alone; the right is asked again for every file while it is sent."""
    people = People(fresh_server.services)
    ada, _ = await filled(fresh_server, people)
    eve = await people.patient("Eve Else")
    async with httpx.AsyncClient(base_url=fresh_server.url, timeout=60) as browser:
        await people.session(browser, ada)
        address = await made(fresh_server.services, browser)
        async with httpx.AsyncClient(base_url=fresh_server.url, timeout=60) as other:
            assert (await other.get(address)).status_code == 303
            await people.session(other, eve)
            assert (await other.get(address)).status_code == 404
        end = Statement("end", "UPDATE holder SET until = '2000-01-01' WHERE account_id = :id")
        size = int((await browser.head(address)).headers["content-length"])
        assert size > 1000
        await fresh_server.services.db.execute(end, {"id": ada.account_id})
        assert (await browser.get(address)).status_code == 404
