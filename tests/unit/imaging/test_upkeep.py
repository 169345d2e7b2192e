"""Room is given back, and nothing that is used goes with it."""

import os
from datetime import timedelta
from typing import Any

import pytest

from server.core import clock
from server.imaging import upkeep
from server.storage import packs
from server.storage.crypto import CHUNK
from server.storage.objects import Damaged, Missing
from tests.unit.imaging.test_verify import Archive, archive

__all__ = ["archive"]


class Parts:
    """What upkeep wants of the services."""

    def __init__(self, archive: Archive) -> None:
        self.db, self.objects = archive.db, archive.objects


@pytest.fixture(autouse=True)
def _everything_is_worth_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "WORTH_IT", 0)


async def test_used_packs_stay(archive: Archive) -> None:
    services = Parts(archive)
    assert await upkeep.release(services) == 0  # type: ignore[arg-type]
    assert await upkeep.compact(services) == 0  # type: ignore[arg-type]


async def test_a_pack_without_rows_goes(archive: Archive) -> None:
    await archive.run("DELETE FROM study")
    assert await upkeep.release(Parts(archive)) == 1  # type: ignore[arg-type]
    assert await packs.sweep(archive.db, archive.objects) == 1
    with pytest.raises(Missing):
        await archive.objects.read(archive.addresses[0])


async def test_a_sparse_pack_is_written_anew(archive: Archive) -> None:
    kept = await archive.objects.read(archive.addresses[0])
    await archive.run("DELETE FROM instance WHERE sop_uid = '1.2.3.1'")
    assert await upkeep.compact(Parts(archive)) == 1  # type: ignore[arg-type]
    report = await archive.verified()
    assert report.clean
    assert (report.objects, report.packs, report.waiting) == (2, 1, 1)
    # Whoever asked for the place just before still finds it there, for a while.
    assert await packs.sweep(archive.db, archive.objects) == 0
    assert await archive.objects.read(archive.addresses[0]) == kept
    clock.travel(timedelta(hours=1))
    assert await packs.sweep(archive.db, archive.objects) == 1
    assert (await archive.verified()).clean
    with pytest.raises(Missing):
        await archive.objects.read(archive.addresses[0])


async def test_a_cut_pack_is_left_as_it_is(archive: Archive) -> None:
    os.truncate(archive.path, CHUNK)
    with pytest.raises(Damaged):
        await upkeep.compact_pack(Parts(archive), archive.addresses[0].pack_id)  # type: ignore[arg-type]
    report = await archive.verified()
    assert (report.packs, report.waiting) == (1, 0)


async def test_a_pack_in_use_cannot_be_swept_by_mistake(archive: Archive) -> None:
    """Dropped while a row names it, it counts again with the next sweep, and the file stays."""
    await packs.drop(archive.db, [archive.addresses[0].pack_id])
    assert await packs.sweep(archive.db, archive.objects) == 0
    assert archive.path.exists()
    report = await archive.verified()
    assert (report.clean, report.packs, report.waiting) == (True, 1, 0)


async def test_a_merger_in_the_middle_of_compacting(
    archive: Archive, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows that went to another patient meanwhile name the new pack like all others."""
    await archive.run("DELETE FROM instance WHERE sop_uid = '1.2.3.1'")
    await archive.run("INSERT INTO patient (id, created_at) SELECT 'p2', created_at FROM patient")
    await archive.run("INSERT INTO keys.patient_key SELECT 'p2', wrapped, created_at FROM keys.patient_key")
    copy = archive.objects.copy

    async def merging(*given: Any) -> int:
        await archive.run("UPDATE study SET patient_id = 'p2'")
        return await copy(*given)

    monkeypatch.setattr(archive.objects, "copy", merging)
    assert await upkeep.compact(Parts(archive)) == 1  # type: ignore[arg-type]
    clock.travel(timedelta(hours=1))
    assert await packs.sweep(archive.db, archive.objects) == 1
    report = await archive.verified()
    assert (report.clean, report.objects, report.packs) == (True, 2, 1)
