"""Patients' keys in a database of their own: made, turned over, backed up, destroyed there (decision 23, row 54)."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from server.access.action import Action, Verb
from server.access.services import Services
from server.core.errors import StorageUnavailable
from server.imaging.verify import Trouble, verify
from server.rights import erasure, erasure_steps, proof
from server.storage import key_moves
from server.storage.backup import back_up, keys_file
from server.storage.key_store import QUERIES, KeyStore, KeyStoreMissing, attach, is_ticket
from server.storage.keyring import KeyUnusable
from server.storage.restore import restore
from server.storage.rotation import rotate_master
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer, serving
from tests.databases import create_database, drop_database
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of

RAW = {"Accept": 'application/dicom; transfer-syntax="*"'}
HELD = Statement("held", "SELECT wrapped FROM keys.patient_key WHERE patient_id = :patient")


@pytest.fixture
def keys_url(cluster: str) -> Iterator[str]:
    """An empty second database."""
    name = f"t_keys_{os.getpid()}"
    yield create_database(cluster, name, "template0")
    drop_database(cluster, name)


async def _stored(server: RunningServer, name: str) -> tuple[Person, Sample]:
    person, sample = await People(server.services).patient(name), instance()
    async with httpx.AsyncClient(base_url=server.url, headers=await _bearer(server, person)) as web:
        assert (await store(web, sample)).status_code == 200
    return person, sample


async def _bearer(server: RunningServer, person: Person) -> dict[str, str]:
    return bearer(await People(server.services).token(person, "patient/*.cruds"))


async def _read(
    server: RunningServer, person: Person, sample: Sample, headers: dict[str, str] | None = None
) -> bytes | int:
    headers = headers or await _bearer(server, person)
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as web:
        answer = await web.get(f"/dicomweb{sample.path}", headers=RAW)
        return answer.content if answer.status_code == 200 else answer.status_code


async def _is_clean(services: Services) -> bool:
    report = await verify(services.db, services.objects, services.keyring)
    return report.clean and not (await key_moves.whereabouts(services.db, services.keyring.store)).missing


async def test_a_store_of_keys_of_its_own(
    cluster: str, database_url: str, keys_url: str, tmp_path: Path
) -> None:
    """Moved there, made there, turned over there, in the second file of a backup, and destroyed there (row 54)."""
    async with serving(database_url, tmp_path / "server") as before:
        ada, of_ada = await _stored(before, "Ada Moor")
    async with serving(database_url, tmp_path / "server", keys_database_url=keys_url) as server:
        services, keys = server.services, server.services.keyring.store
        assert keys is not None
        await attach(services.db, keys)
        assert await _read(server, ada, of_ada) == of_ada.data  # where it still lies
        assert await key_moves.into_store(services.db, keys) == 1
        bea, of_bea = await _stored(server, "Bea Moor")
        for person in (ada, bea):
            held = await services.db.fetch_val(HELD, {"patient": person.fhir_id})
            assert is_ticket(held)
            with pytest.raises(KeyUnusable):  # whoever has the main database and the master key has no key
                type(services.keyring).load(services.settings.key_file, create=False).wrapped(held)
        assert await rotate_master(services.db, services.settings.key_file, store=keys, grace=0) == 2
        keys._remembered.clear()
        assert await _read(server, ada, of_ada) == of_ada.data
        await back_up(services.db, services.objects, services.keyring, tmp_path / "older")
        await _erase(services, ada)
        assert await keys.fetch_val(QUERIES["count"]) == 1
        found = await proof.of_erasure(
            services, ada.fhir_id, backup=tmp_path / "older", keys=keys_file(tmp_path / "older")
        )
        assert (found["rows"], found["backup"]["readable"]) == ({}, True)
        await back_up(services.db, services.objects, services.keyring, tmp_path / "newer")
        assert await _is_clean(services)
        await _restored(server, cluster, tmp_path, {ada: of_ada}, bea, of_bea)
        assert await key_moves.out_of_store(services.db, keys) == 1
        assert await keys.fetch_val(QUERIES["count"]) == 0
        await _stored(server, "Cara Moor")  # before the server is started again: her key goes where it went
        with pytest.raises(KeyStoreMissing):
            await attach(services.db, None)
        assert await key_moves.out_of_store(services.db, keys) == 1
        await attach(services.db, None)
        assert await _read(server, bea, of_bea) == of_bea.data


async def _erase(services: Services, person: Person) -> None:
    actor = actor_of(person)
    reach = await services.gate.reach_for_actor(actor, Action("Patient", Verb.DELETE))
    [erasure_id] = await erasure.ask(services, actor=actor, reach=reach)
    while not await erasure_steps.advance(services, erasure_id):
        pass


async def _restored(
    server: RunningServer,
    cluster: str,
    folder: Path,
    erased: dict[Person, Sample],
    stays: Person,
    of_stays: Sample,
) -> None:
    """Elsewhere, without a store; with the keys of the later backup the erased one stays out."""
    name, data = f"t_restored_keys_{os.getpid()}", folder / "elsewhere"
    data.mkdir()
    (data / "master.key").write_bytes(server.services.settings.key_file.read_bytes())
    try:
        async with serving(create_database(cluster, name), data) as there:
            services = there.services
            report = await restore(
                services.db, services.objects, services.keyring, folder / "older", keys_file(folder / "newer")
            )
            assert report.left_out == {person.fhir_id for person in erased}
            assert await _read(there, stays, of_stays) == of_stays.data
    finally:
        drop_database(cluster, name)


async def test_what_goes_wrong_with_the_store(
    database_url: str, keys_url: str, cluster: str, tmp_path: Path
) -> None:
    """Not named, another one, away, killed in the middle of a move or an erasure, a key lost."""
    async with serving(database_url, tmp_path / "server", keys_database_url=keys_url) as server:
        services, keys = server.services, server.services.keyring.store
        assert keys is not None
        await attach(services.db, keys)
        with pytest.raises(KeyStoreMissing):
            await attach(services.db, None)
        ada, of_ada = await _stored(server, "Ada Moor")
        await _another_one(services, cluster)
        # Killed after the key was kept and before the row led there.
        await key_moves.out_of_store(services.db, keys)
        in_place = await services.db.fetch_val(HELD, {"patient": ada.fhir_id})
        await keys.add(ada.fhir_id, in_place)
        await key_moves.into_store(services.db, keys)
        assert await keys.fetch_val(QUERIES["count_of_patient"], {"patient": ada.fhir_id}) == 1
        # Away: a sentence, at once, and all is well when it is back.
        ours = await _bearer(server, ada)
        whole, keys._url = keys._url, "postgresql://nobody@127.0.0.1:9/none"
        db, keys._db = keys._db, None
        keys._remembered.clear()
        assert await _read(server, ada, of_ada, ours) == 503
        with pytest.raises(StorageUnavailable):
            await People(services).patient("Nobody Yet")
        keys._url, keys._db, keys._not_before = whole, db, 0.0
        assert await _read(server, ada, of_ada) == of_ada.data
        # Lost, with nobody erasing: told.
        await keys.destroy(ada.fhir_id)
        assert (await key_moves.whereabouts(services.db, keys)).missing == (ada.fhir_id,)
        report = await verify(services.db, services.objects, services.keyring)
        assert [each.trouble for each in report.findings] == [Trouble.NO_KEY]
        # Killed between the key and its ticket, an erasure goes on.
        await _erase(services, ada)
        assert (await key_moves.whereabouts(services.db, keys)) == key_moves.Whereabouts()


async def _another_one(services: Services, cluster: str) -> None:
    name = f"t_other_keys_{os.getpid()}"
    other = KeyStore(create_database(cluster, name, "template0"))
    try:
        with pytest.raises(KeyStoreMissing):
            await attach(services.db, other)
    finally:
        other.close()
        drop_database(cluster, name)
