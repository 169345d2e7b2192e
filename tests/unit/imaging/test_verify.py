"""`verify` finds what is missing or altered, and nothing else."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from server.core.clock import now
from server.imaging.verify import Finding, Report, Trouble, verify
from server.storage import packs
from server.storage.crypto import CHUNK
from server.storage.db import Database
from server.storage.keyring import KeyRing
from server.storage.local import LocalFiles
from server.storage.objects import Address, ObjectStore
from server.storage.sql import Statement

PATIENT = Statement("p", "INSERT INTO patient (id, created_at) VALUES ('p1', :now)")
KEY = Statement("k", "INSERT INTO keys.patient_key VALUES ('p1', :key, :now)")
STUDY = Statement(
    "s",
    "INSERT INTO study (patient_id, study_uid, fhir_id, standing, created_at, updated_at)"
    " VALUES ('p1', '1.2', 'f', 'mine', :now, :now)",
)
SERIES = Statement(
    "e",
    "INSERT INTO series (patient_id, study_uid, series_uid, created_at) VALUES ('p1', '1.2', '1.2.3', :now)",
)
INSTANCE = Statement(
    "i",
    "INSERT INTO instance (patient_id, study_uid, series_uid, sop_uid, sop_class, transfer_syntax, pack_id,"
    " object_id, pack_offset, size, sha256, wrapped_key, qido, metadata, created_at)"
    " VALUES ('p1', '1.2', '1.2.3', :uid, '1', '1', :pack_id, :object_id, :offset, :size, :sha256, :key,"
    " '', '', :now)",
)
# Whatever holds objects must be looked at: a new table joins verify.sql, and this list.
HOLDERS = Statement(
    "h", "SELECT conrelid::regclass::text AS holder FROM pg_constraint WHERE confrelid = 'pack'::regclass"
)


@dataclass
class Archive:
    """A patient with three instances in one pack."""

    db: Database
    objects: ObjectStore
    keyring: KeyRing
    addresses: list[Address]

    async def verified(self) -> Report:
        return await verify(self.db, self.objects, self.keyring)

    async def run(self, sql: str, **values: object) -> None:
        await self.db.execute(Statement("run", sql), values)

    @property
    def path(self) -> Path:
        assert isinstance(self.objects.files, LocalFiles)
        return self.objects.files._path(self.addresses[0].pack_id)


@pytest.fixture
async def archive(db: Database, tmp_path: Path) -> AsyncIterator[Archive]:
    keyring = KeyRing([os.urandom(32)])
    objects = ObjectStore(LocalFiles(tmp_path / "objects"))
    key = keyring.new_patient_key()
    await db.execute(PATIENT, {"now": now()})
    await db.execute(KEY, {"key": key, "now": now()})
    await db.execute(STUDY, {"now": now()})
    await db.execute(SERIES, {"now": now()})
    rows, addresses = [], []
    async with packs.opened(db, objects) as pack:
        for number, size in enumerate((1000, 2 * CHUNK + 1, 0)):
            writer = await pack.begin()
            await writer.write(os.urandom(size))
            stored = await writer.finish()
            addresses.append(stored.address)
            rows.append(
                {
                    "uid": f"1.2.3.{number}",
                    "pack_id": pack.id,
                    "object_id": stored.address.object_id,
                    "offset": stored.address.offset,
                    "size": size,
                    "sha256": stored.sha256,
                    "key": keyring.wrap(key, stored.address.key),
                    "now": now(),
                }
            )
        async with db.transaction():
            await packs.ready(db, pack)
            await db.execute_many(INSTANCE, rows)
    yield Archive(db, objects, keyring, addresses)
    await objects.close()


async def test_what_is_whole_is_clean(archive: Archive) -> None:
    seen: list[int] = []
    report = await verify(
        archive.db, archive.objects, archive.keyring, lambda report: seen.append(report.objects)
    )
    assert report.clean
    assert (report.objects, report.packs, report.size, report.waiting) == (3, 1, 2 * CHUNK + 1001, 0)
    assert (report.strays, seen) == ([], [3, 3])


async def test_an_altered_object_is_named(archive: Archive) -> None:
    lying = bytearray(archive.path.read_bytes())
    lying[archive.addresses[1].offset + CHUNK + 500] ^= 1
    archive.path.write_bytes(lying)
    report = await archive.verified()
    assert report.findings == [Finding(Trouble.ALTERED, "instance", "1.2.3.1", "p1")]


async def test_a_wrong_hash_is_named(archive: Archive) -> None:
    await archive.run("UPDATE instance SET sha256 = :hash WHERE sop_uid = '1.2.3.0'", hash=bytes(32))
    report = await archive.verified()
    assert report.findings == [Finding(Trouble.ALTERED, "instance", "1.2.3.0", "p1")]


async def test_a_missing_pack_is_named_with_all_that_it_held(archive: Archive) -> None:
    archive.path.unlink()
    report = await archive.verified()
    assert {(each.trouble, each.what) for each in report.findings} == {
        (Trouble.MISSING, "instance"),
        (Trouble.MISSING, "pack"),
    }
    assert len(report.findings) == 4


async def test_a_cut_pack_is_named(archive: Archive) -> None:
    os.truncate(archive.path, archive.path.stat().st_size - 1)
    report = await archive.verified()
    assert [(each.what, each.trouble) for each in report.findings] == [
        ("instance", Trouble.ALTERED),
        ("pack", Trouble.ALTERED),
    ]


async def test_a_lost_key_is_named_except_of_a_patient_being_erased(archive: Archive) -> None:
    await archive.run("DELETE FROM keys.patient_key")
    assert {each.trouble for each in (await archive.verified()).findings} == {Trouble.NO_KEY}
    await archive.run("UPDATE patient SET state = 'erasing'")
    assert (await archive.verified()).clean


async def test_another_master_key_opens_nothing(archive: Archive) -> None:
    report = await verify(archive.db, archive.objects, KeyRing([bytes(32)]))
    assert [each.trouble for each in report.findings] == [Trouble.NO_KEY] * 3


async def test_files_without_a_row_and_packs_being_written_are_told_apart(archive: Archive) -> None:
    async with packs.opened(archive.db, archive.objects) as pack:
        await (await pack.begin()).finish()
        await pack.publish()
        stray = await archive.objects.open_pack()
        await (await stray.begin()).finish()
        await stray.publish()
        report = await archive.verified()
    assert report.clean
    assert (report.waiting, report.strays) == (1, [stray.id])


async def test_every_table_that_holds_objects_is_looked_at(db: Database) -> None:
    assert {row["holder"] for row in await db.fetch_all(HOLDERS)} == {"instance", "content"}
