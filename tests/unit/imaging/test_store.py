"""Storing: what is kept, what is refused with which reason, and what stays as it was."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import orjson
import pytest

from server.access.scopes import Scopes
from server.imaging import catalogue, removal
from server.imaging.report import FailureReason
from server.storage.sql import Statement
from server.storage.where import TRUE

from .conftest import Holder, MakeHolder
from .samples import all_samples, made, sample

_STANDING = Statement("standing", "SELECT standing FROM study ORDER BY created_at")


async def test_the_same_bytes_come_back(holder: Holder) -> None:
    content = sample("CT_small.dcm")
    report = await holder.store(content)
    assert [each.patient_id for each in report.stored] == [holder.patient_id]
    assert not report.failed
    (row,) = await catalogue.instances_of(
        holder.services.db, report.stored[0].study_uid, reach=holder.reading, metadata=True
    )
    assert await holder.services.objects.read(catalogue.address_of(holder.services, row)) == content
    assert row.sha256 == hashlib.sha256(content).digest()


async def test_counts_and_prepared_answers_grow(holder: Holder) -> None:
    await holder.store(made(), made(SeriesInstanceUID="1.2.3.4.6", Modality="PT"))
    await holder.store(made(InstanceNumber=2))
    (study,) = (await catalogue.find_studies(holder.services.db, TRUE, reach=holder.reading, limit=9)).rows
    found = orjson.loads(study.qido.replace(b"\0", b"http://x"))
    assert found["00201208"]["Value"] == [3]
    assert found["00201206"]["Value"] == [2]
    assert found["00080061"]["Value"] == ["CT", "PT"]
    assert found["00081190"]["Value"] == ["http://x/studies/1.2.3.4"]
    assert found["00100010"]["Value"] == [{"Alphabetic": "Moor^Ada"}]
    series = (await catalogue.find_series(holder.services.db, TRUE, reach=holder.reading, limit=9)).rows
    assert [orjson.loads(each.qido.replace(b"\0", b""))["00201209"]["Value"] for each in series] == [[2], [1]]


async def test_identical_bytes_again_are_a_success_and_write_nothing(holder: Holder) -> None:
    content = made()
    first = await holder.store(content)
    again = await holder.store(content, content)
    assert [each.repeated for each in (*first.stored, *again.stored)] == [False, True, True]
    packs = [pack async for pack in holder.services.objects.list_packs()]
    assert len(packs) == 1
    (row,) = await catalogue.instances_of(holder.services.db, "1.2.3.4", reach=holder.reading)
    assert await holder.services.objects.read(catalogue.address_of(holder.services, row)) == content


async def test_other_bytes_under_a_held_uid_are_refused(holder: Holder) -> None:
    uid = "1.2.3.4.5.6"
    await holder.store(made(SOPInstanceUID=uid))
    report = await holder.store(
        made(SOPInstanceUID=uid, InstanceNumber=7), made(SOPInstanceUID="1.2.3.4.5.7")
    )
    assert [each.reason for each in report.failed] == [FailureReason.DUPLICATE]
    assert [each.sop_instance_uid for each in report.stored] == ["1.2.3.4.5.7"]


async def test_the_same_uid_twice_in_one_request(holder: Holder) -> None:
    uid = "1.2.3.4.5.6"
    content = made(SOPInstanceUID=uid)
    report = await holder.store(content, content, made(SOPInstanceUID=uid, InstanceNumber=7))
    assert len(report.stored) == 2
    assert [each.reason for each in report.failed] == [FailureReason.DUPLICATE]


async def test_one_bad_part_spoils_no_other(holder: Holder) -> None:
    report = await holder.store(b"garbage", made(), b"", made()[:700], made(StudyInstanceUID=None))
    assert len(report.stored) == 1
    assert {each.reason for each in report.failed} <= {
        FailureReason.CANNOT_UNDERSTAND,
        FailureReason.NO_IDENTIFIER,
    }
    assert len(report.failed) == 4
    assert all(each.comment for each in report.failed)


async def test_an_instance_of_another_study(holder: Holder) -> None:
    report = await holder.store(made(), study_uid="1.2.3.999")
    assert [each.reason for each in report.failed] == [FailureReason.WRONG_STUDY]
    assert report.failed[0].sop_instance_uid


@pytest.mark.parametrize("chunk", [1000, 65_536, 10_000_000])
async def test_a_large_part_is_written_while_it_arrives(holder: Holder, chunk: int) -> None:
    pixels = b"\1\2" * 1_500_000
    content = made(Rows=1000, Columns=1500, PixelData=pixels, SOPInstanceUID="1.2.3.77")
    other = made(Rows=1000, Columns=1500, PixelData=pixels[::-1], SOPInstanceUID="1.2.3.77")
    report = await holder.store(made(), content, content, other, made(), chunk=chunk)
    assert [each.repeated for each in report.stored].count(True) == 1
    assert len(report.stored) == 4
    assert [each.reason for each in report.failed] == [FailureReason.DUPLICATE]
    (row,) = await catalogue.instances_of(
        holder.services.db, "1.2.3.4", sop_uid="1.2.3.77", reach=holder.reading
    )
    address = catalogue.address_of(holder.services, row)
    assert await holder.services.objects.read(address) == content
    start = row.pixel_offset or 0
    assert await holder.services.objects.read(address, start, start + 4) == pixels[:4]


async def test_many_parts_are_committed_in_groups(holder: Holder) -> None:
    report = await holder.store(*(made(InstanceNumber=number) for number in range(230)))
    assert len(report.stored) == 230
    packs = [pack async for pack in holder.services.objects.list_packs()]
    assert len(packs) == 3


async def test_a_study_that_differs_is_seen_by_the_holder_only(holder: Holder) -> None:
    await holder.store(made(PatientName="Other^Person"))
    row = await holder.services.db.fetch_one(_STANDING)
    assert row is not None
    assert row["standing"] == "differs"
    await holder.store(made(PatientName="Other^Person", StudyInstanceUID="1.2.9"), mine=True)
    rows = await holder.services.db.fetch_all(_STANDING)
    assert sorted(each["standing"] for each in rows) == ["differs", "mine"]


async def test_every_sample_is_stored_or_refused_with_a_reason(holder: Holder) -> None:
    files = [path.read_bytes() for path in all_samples()]
    report = await holder.store(*files)
    assert len(report.stored) + len(report.failed) == len(files)
    assert len(report.stored) > 150  # several are the same instance in another transfer syntax
    hashes = {hashlib.sha256(content).digest() for content in files}
    for study in {each.study_uid for each in report.stored}:
        for row in await catalogue.instances_of(holder.services.db, study, reach=holder.reading):
            content = await holder.services.objects.read(catalogue.address_of(holder.services, row))
            assert hashlib.sha256(content).digest() == row.sha256
            assert row.sha256 in hashes


async def test_patients_do_not_see_each_other(make_holder: MakeHolder) -> None:
    one = await make_holder(email="one@example.org")
    other = await make_holder(email="other@example.org")
    content = made()
    await one.store(content)
    assert not await catalogue.instances_of(other.services.db, "1.2.3.4", reach=other.reading)
    report = await other.store(content)
    assert [each.repeated for each in report.stored] == [False]


async def test_a_scope_filter_selects_whole_studies(holder: Holder) -> None:
    """Decision 3: for a store, the old and the new content of the study must match."""
    scope = Scopes.parse("patient/ImagingStudy.cruds?modality=CT")
    actor = replace(holder.actor, scopes=scope, context_patient=holder.patient_id)
    filtered = replace(holder, actor=actor)
    report = await filtered.store(made(), made(Modality="MR", StudyInstanceUID="1.2.7"))
    assert [each.study_uid for each in report.stored] == ["1.2.3.4"]
    assert [each.reason for each in report.failed] == [FailureReason.NOT_AUTHORIZED]
    await holder.store(made(Modality="MR", StudyInstanceUID="1.2.7"))
    assert [each.reason for each in (await filtered.store(made(StudyInstanceUID="1.2.7"))).failed] == [
        FailureReason.NOT_AUTHORIZED
    ]


async def test_what_the_holder_deleted_comes_back_with_the_same_bytes(holder: Holder) -> None:
    content = made()
    await holder.store(content, made(SOPInstanceUID="1.2.3.88"))
    await removal.delete(
        holder.services, "1.2.3.4", "1.2.3.4.5", "1.2.3.88", reach=holder.reading, actor=holder.actor
    )
    await removal.delete(holder.services, "1.2.3.4", reach=holder.reading, actor=holder.actor)
    assert not await catalogue.instances_of(holder.services.db, "1.2.3.4", reach=holder.reading)
    report = await holder.store(content)
    assert [each.repeated for each in report.stored] == [True]
    rows = await catalogue.instances_of(holder.services.db, "1.2.3.4", reach=holder.reading)
    assert len(rows) == 1
    (study,) = (await catalogue.find_studies(holder.services.db, TRUE, reach=holder.reading, limit=9)).rows
    assert orjson.loads(study.qido.replace(b"\0", b""))["00201208"]["Value"] == [1]
