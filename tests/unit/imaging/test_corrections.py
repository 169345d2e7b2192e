"""Corrections by the patient: shown by the ImagingStudy, never written into the objects. Row 53."""

from __future__ import annotations

from typing import Any

import orjson
import pytest

from server.access.action import Action, Verb
from server.access.policy import decide
from server.access.reach import Reach
from server.core.errors import NotFound
from server.imaging import catalogue, corrections, rebuild
from server.records import store
from server.storage.sql import Statement

from .conftest import Holder, MakeHolder
from .samples import made

Json = dict[str, Any]
_STUDY = Statement("study", "SELECT fhir_id, study_day, shown_day, qido FROM study")
_EVENTS = Statement("events", "SELECT event FROM audit_event WHERE event LIKE 'imaging:study:c%'")
UID = "1.2.3.4"


def updating(holder: Holder) -> Reach:
    action = Action("ImagingStudy", Verb.UPDATE)
    return Reach(action, decide(holder.actor, action))


async def say(holder: Holder, **changes: str) -> list[str]:
    return await corrections.correct(
        holder.services, holder.patient_id, UID, changes, reach=updating(holder), actor=holder.actor
    )


async def undo(holder: Holder, attribute: str) -> str:
    return await corrections.undo(
        holder.services, holder.patient_id, UID, attribute, reach=updating(holder), actor=holder.actor
    )


async def resource(holder: Holder) -> tuple[int, Json]:
    await rebuild.refresh(holder.services, reach=holder.reading)
    row = await holder.services.db.fetch_one(_STUDY)
    assert row is not None
    stored = await store.read(holder.services.db, "ImagingStudy", row["fhir_id"], reach=holder.reading)
    return stored.version, orjson.loads(stored.json)


@pytest.fixture
async def study(holder: Holder) -> Holder:
    await holder.store(
        made(StudyDescription="Head", BodyPartExamined="HEAD", SeriesDate="20240131", SeriesTime="101500")
    )
    assert (await resource(holder))[0] == 1
    return holder


async def test_a_correction_makes_one_version_and_leaves_the_objects(study: Holder) -> None:
    db = study.services.db
    before = await catalogue.metadata_of(db, UID, reach=study.reading)
    row = await db.fetch_one(_STUDY)
    said = {"date": "2023-12", "description": "Chest", "modality": "mr", "body_part": "CHEST", "name": "A M"}
    assert sorted(await say(study, **said)) == sorted(said)
    version, found = await resource(study)
    assert version == 2
    assert (found["started"], found["description"]) == ("2023-12", "Chest")
    [series] = found["series"]
    assert [each["code"] for each in found["modality"]] == [series["modality"]["code"]] == ["MR"]
    assert (series["bodySite"]["code"], series["started"]) == ("816094009", "2023-12")
    assert await catalogue.metadata_of(db, UID, reach=study.reading) == before
    after = await db.fetch_one(_STUDY)
    assert row is not None
    assert after is not None
    assert (after["qido"], after["study_day"]) == (row["qido"], "20240131")
    assert (row["shown_day"], after["shown_day"]) == ("20240131", "202312")
    assert len(await db.fetch_all(_EVENTS)) == 1
    assert await say(study, description="Chest") == []  # said before: nothing happens
    assert (await resource(study))[0] == 2


async def test_the_correction_outlives_another_store(study: Holder) -> None:
    await say(study, description="Chest")
    await study.store(made(InstanceNumber=2, StudyDescription="Head"))
    version, found = await resource(study)
    assert (version, found["description"], found["numberOfInstances"]) == (2, "Chest", 2)


async def test_words_are_kept_and_taken_back_one_by_one(study: Holder) -> None:
    for text in ("First", "Second", "Third"):
        await say(study, description=text)
    assert [await undo(study, "description") for _ in range(3)] == ["Second", "First", ""]
    with pytest.raises(NotFound):
        await undo(study, "description")
    words = await corrections.history(study.services, study.patient_id, UID, reach=study.reading)
    assert [each.value for each in words] == ["", "First", "Second", "Third", "Second", "First"]
    assert {(each.original, each.by_name) for each in words} == {("Head", "Ada Moor")}
    assert not any(each.in_force for each in words)
    assert (await resource(study))[1]["description"] == "Head"


async def test_what_the_images_say_needs_no_correction(study: Holder) -> None:
    assert await say(study, date="2024-01-31", description="Head", modality="CT", body_part="head") == []
    await say(study, description="Chest")
    assert await say(study, description="Head") == ["description"]  # back to what they say
    [latest, _] = await corrections.history(study.services, study.patient_id, UID, reach=study.reading)
    assert latest.value == ""


@pytest.mark.parametrize(
    ("attribute", "value"),
    [
        ("date", "31.1.2024"),
        ("date", "2024-13"),
        ("date", "2999-01-01"),
        ("modality", "<script>"),
        ("description", "x" * 201),
        ("patient_id", "1"),
    ],
)
async def test_what_no_correction_can_say(study: Holder, attribute: str, value: str) -> None:
    with pytest.raises(corrections.NotCorrectable):
        await say(study, **{attribute: value})


async def test_only_who_holds_the_record_corrects_it(study: Holder, make_holder: MakeHolder) -> None:
    other = await make_holder("Eve Other", email="eve@example.org")
    with pytest.raises(NotFound):
        await corrections.correct(
            study.services,
            study.patient_id,
            UID,
            {"description": "x"},
            reach=updating(other),
            actor=other.actor,
        )
    await say(study, description="Chest")
    assert await corrections.history(study.services, study.patient_id, UID, reach=other.reading) == []
