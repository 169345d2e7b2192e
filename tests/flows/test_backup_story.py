"""A backup under load, restored elsewhere: the same bytes, the same log, and nobody whose key is gone (decision 23)."""

from __future__ import annotations

import asyncio
import hashlib
import itertools
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import httpx
import pytest

from server.access.services import Services
from server.audit import chain
from server.core.errors import Conflict
from server.imaging.verify import verify
from server.storage.backup import LEFT_OUT, back_up, keys_file
from server.storage.backup_file import BackupUnusable, Reader
from server.storage.restore import restore
from server.storage.sql import Statement
from server.storage.tables import all_tables
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance, store
from tests.conftest import RunningServer, serving
from tests.databases import create_database, drop_database
from tests.factories import People, Person, bearer

RAW = {"Accept": 'application/dicom; transfer-syntax="*"'}
Elsewhere = Callable[[], AbstractAsyncContextManager[RunningServer]]
FILM = hashlib.shake_256(b"film").digest(100_000)
_numbers = itertools.count(1)


@pytest.fixture
def elsewhere(cluster: str, tmp_path: Path, fresh_server: RunningServer) -> Elsewhere:
    """Makes another, empty server with the same master key."""

    @asynccontextmanager
    async def make() -> AsyncIterator[RunningServer]:
        name = f"t_restored_{next(_numbers)}"
        data = tmp_path / name
        data.mkdir()
        (data / "master.key").write_bytes(fresh_server.services.settings.key_file.read_bytes())
        try:
            async with serving(create_database(cluster, name), data) as running:
                yield running
        finally:
            drop_database(cluster, name)

    return make


async def backed_up(server: RunningServer, file: Path) -> None:
    services = server.services
    await back_up(services.db, services.objects, services.keyring, file)


async def restored(server: RunningServer, file: Path, keys: Path | None = None) -> set[str]:
    services = server.services
    report = await restore(services.db, services.objects, services.keyring, file, keys or keys_file(file))
    return report.left_out


@asynccontextmanager
async def web_of(server: RunningServer, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    scope = "user/*.cruds" if person.role == "doctor" else "patient/*.cruds"
    token = await People(server.services).token(person, scope)
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(token), timeout=60) as client:
        yield client


async def is_whole(web: httpx.AsyncClient, sample: Sample) -> bool:
    answer = await web.get(f"/dicomweb{sample.path}", headers=RAW)
    return hashlib.sha256(answer.content).digest() == hashlib.sha256(sample.data).digest()


async def is_clean(services: Services) -> bool:
    report = await verify(services.db, services.objects, services.keyring)
    events, breaks = await chain.verify(services.db)
    return report.clean and not report.strays and bool(events) and not breaks


async def test_a_backup_under_load_comes_back_whole(
    fresh_server: RunningServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """What was answered as stored before the backup began is in it; what came meanwhile is there whole or not."""
    people = People(fresh_server.services)
    ada, bo = await people.patient("Ada Moor"), await people.doctor()
    share, before = await people.share(ada, bo), [instance() for _ in range(5)]
    file, going, meanwhile = tmp_path / "night.backup", True, []
    async with web_of(fresh_server, ada) as web:
        for sample in before:
            assert (await store(web, sample)).status_code == 200
        whose = {"Content-Type": "video/mp4", "X-Security-Context": f"Patient/{ada.fhir_id}"}
        kept = await web.post("/fhir/Binary", content=FILM, headers=whose)
        address = kept.headers["location"].partition("/_history")[0].partition("/fhir")[2]

        async def load() -> None:
            while going:
                samples = [instance() for _ in range(3)]
                content = body([each.data for each in samples])
                answer = await web.post(
                    "/dicomweb/studies", content=content, headers={"Content-Type": MULTIPART}
                )
                assert answer.status_code == 200
                meanwhile.extend(samples)

        loading = asyncio.create_task(load())
        await asyncio.sleep(0.1)
        await backed_up(fresh_server, file)
        going = False
        await loading
    assert file.stat().st_mode & 0o077 == 0
    assert keys_file(file).stat().st_mode & 0o077 == 0
    assert b"Moor" not in file.read_bytes()
    async with elsewhere() as there:
        assert await restored(there, file) == set()
        assert await is_clean(there.services)
        async with web_of(there, ada) as web:
            assert all([await is_whole(web, sample) for sample in before])
            assert (await web.get(f"/fhir{address}", headers={"Accept": "*/*"})).content == FILM
            held = [
                each
                for each in meanwhile
                if (await web.get(f"/dicomweb{each.path}/metadata")).status_code == 200
            ]
            assert all([await is_whole(web, sample) for sample in held])
            assert (await store(web, instance())).status_code == 200  # sequences and keys go on
        async with web_of(there, bo) as doctor:
            assert await is_whole(doctor, before[0])
        assert (
            await there.services.db.fetch_val(
                Statement("share", "SELECT state FROM share WHERE id = :id"), {"id": share}
            )
            == "active"
        )
        with pytest.raises(Conflict):
            await restored(there, file)


async def test_who_has_no_key_any_more_stays_out(
    fresh_server: RunningServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """Decision 23: an older backup with newer keys gives everybody back but the one whose key was destroyed."""
    people = People(fresh_server.services)
    gone, stays = await people.patient("Gone Away"), await people.patient("Still Here")
    kept = instance()
    for person, sample in ((gone, instance()), (stays, kept)):
        async with web_of(fresh_server, person) as web:
            assert (await store(web, sample)).status_code == 200
    older, newer = tmp_path / "older", tmp_path / "newer"
    await backed_up(fresh_server, older)
    await fresh_server.services.db.execute(
        Statement("destroy", "DELETE FROM keys.patient_key WHERE patient_id = :id"), {"id": gone.fhir_id}
    )
    await backed_up(fresh_server, newer)
    async with elsewhere() as there:
        assert await restored(there, older, keys_file(newer)) == {gone.fhir_id}
        for table in await all_tables(there.services.db):
            if table.owner:
                count = Statement("count", f'SELECT count(*) FROM {table.quoted} WHERE "{table.owner}" = :id')
                assert await there.services.db.fetch_val(count, {"id": gone.fhir_id}) == 0, table.full
        async with web_of(there, stays) as web:
            assert await is_whole(web, kept)
        assert (await chain.verify(there.services.db))[1] == []


async def test_every_table_is_in_a_backup_or_left_out_by_name(
    fresh_server: RunningServer, tmp_path: Path
) -> None:
    """Also one that somebody adds tomorrow: nothing has to be told to the backup."""
    services = fresh_server.services
    await People(services).patient()
    make = "CREATE TABLE tomorrow (patient_id text REFERENCES patient ON DELETE CASCADE, note text)"
    await services.db.execute(Statement("make", make))
    fill = "INSERT INTO tomorrow SELECT id, 'a secret note' FROM patient"
    await services.db.execute(Statement("fill", fill))
    file, tables = tmp_path / "whole", await all_tables(services.db)
    count = {each.full: Statement("count", f"SELECT count(*) FROM {each.quoted}") for each in tables}
    held = {each.full: await services.db.fetch_val(count[each.full]) for each in tables}
    report = await back_up(services.db, services.objects, services.keyring, file)
    for table in tables:
        if table.full not in LEFT_OUT:
            assert report.tables[table.full] >= min(held[table.full], 1), table.full
    assert report.tables["public.tomorrow"] == 1
    assert b"a secret note" not in file.read_bytes()
    assert set(LEFT_OUT) <= {table.full for table in await all_tables(services.db)}


async def test_rows_of_a_patient_carry_the_patients_id(fresh_server: RunningServer) -> None:
    """A table that refers to a patient does so by `patient_id`: by that its rows are sealed, and erased."""
    for table in await all_tables(fresh_server.services.db):
        refers = [key for key in table.keys if key.parent == "public.patient"]
        assert not refers or table.owner is not None, (
            f"{table.full} refers to patients without a column patient_id"
        )


async def test_a_backup_that_was_touched_is_refused(
    fresh_server: RunningServer, elsewhere: Elsewhere, tmp_path: Path
) -> None:
    """Cut, altered or exchanged; and nothing of it is left in the server it was to go to."""
    await People(fresh_server.services).patient()
    file = tmp_path / "touched"
    await backed_up(fresh_server, file)
    content, keys = file.read_bytes(), keys_file(file).read_bytes()
    middle = len(content) // 2
    altered = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
    async with elsewhere() as there:
        for rows, wrapped in ((content[:middle], keys), (altered, keys), (content, content)):
            file.write_bytes(rows)
            keys_file(file).write_bytes(wrapped)
            with pytest.raises(BackupUnusable):
                await restored(there, file)
            count = Statement("count", "SELECT count(*) FROM patient")
            assert await there.services.db.fetch_val(count) == 0


async def test_what_is_no_backup(fresh_server: RunningServer, tmp_path: Path) -> None:
    file = tmp_path / "none"
    with pytest.raises(BackupUnusable):
        Reader(file, fresh_server.services.keyring)
    file.write_bytes(b"something else\n" * 100)
    with pytest.raises(BackupUnusable):
        Reader(file, fresh_server.services.keyring)
