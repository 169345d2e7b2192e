"""DICOM to FHIR, one target element each; and the resource as a whole is a valid ImagingStudy."""

from __future__ import annotations

from datetime import timedelta

import orjson
import pytest
from fhir.resources.R4B.endpoint import Endpoint
from fhir.resources.R4B.imagingstudy import ImagingStudy
from fhir.resources.R4B.patient import Patient

from server.core import clock
from server.imaging import rebuild, removal
from server.imaging.entry import entry_of
from server.imaging.header import Unreadable, header_of
from server.imaging.to_fhir import codes
from server.imaging.to_fhir.endpoint import endpoint
from server.imaging.to_fhir.imaging_study import Instance, Series, Study, imaging_study
from server.imaging.to_fhir.names import fhir_moment, fhir_zone, human_name, human_names
from server.imaging.to_fhir.patient import unclaimed
from server.records import store
from server.storage.sql import Statement

from .conftest import Holder
from .samples import all_samples, made

_STUDY = Statement("study", "SELECT fhir_id, fhir_stale FROM study")


@pytest.mark.parametrize(
    ("group", "expected"),
    [
        ("Moor^Ada", {"text": "Ada Moor", "family": "Moor", "given": ["Ada"]}),
        (
            "Adams^John Robert^Quincy^Rev.^B.A. M.Div.",
            {
                "text": "Rev. John Robert Quincy Adams B.A. M.Div.",
                "family": "Adams",
                "given": ["John", "Robert", "Quincy"],
                "prefix": ["Rev."],
                "suffix": ["B.A.", "M.Div."],
            },
        ),
        ("^^^^", {}),
        ("", {}),
        ("^Ada", {"text": "Ada", "given": ["Ada"]}),
        (
            "a^b^c^d^e^f^g",
            {"text": "d b c a e", "family": "a", "given": ["b", "c"], "prefix": ["d"], "suffix": ["e"]},
        ),
    ],
)
def test_human_name(group: str, expected: dict[str, object]) -> None:
    assert human_name(group) == expected


def test_groups_of_a_name_say_what_they_are() -> None:
    names = human_names(("Yamada^Tarou", "山田^太郎", "やまだ^たろう"))
    assert [name["extension"][0]["valueCode"] for name in names] == ["ABC", "IDE", "SYL"]
    assert "extension" not in human_names(("Moor^Ada", "", ""))[0]


def test_moments() -> None:
    """R4 dateTime: a time of day needs a timezone."""
    assert fhir_moment("20240131", "101112500000", "+0100") == "2024-01-31T10:11:12.500+01:00"
    assert fhir_moment("20240131", "101112000000", "") == "2024-01-31"
    assert fhir_moment("20240131", "", "+0100") == "2024-01-31"
    assert fhir_moment("", "101112000000", "+0100") is None
    assert fhir_moment("20240131", "235960000000", "-0330") == "2024-01-31T23:59:59-03:30"
    assert fhir_zone("+9900") is None


def test_codes() -> None:
    assert codes.body_site("CHEST") == {"system": codes.SNOMED, "code": "816094009", "display": "Chest"}
    assert codes.body_site("LEFT TOE NAIL") == {"display": "LEFT TOE NAIL"}
    assert codes.body_site(" ") is None
    item = {
        "00080100": {"vr": "SH", "Value": ["24627-2"]},
        "00080102": {"vr": "SH", "Value": ["LN"]},
        "00080104": {"vr": "LO", "Value": ["Chest CT"]},
    }
    concept = codes.concept(item)
    assert concept is not None
    assert concept["coding"] == [{"code": "24627-2", "display": "Chest CT", "system": "http://loinc.org"}]


def test_endpoint_is_valid() -> None:
    made_one = endpoint("p1", "https://x.example/patients/p1/dicomweb")
    Endpoint.model_validate(made_one)
    assert len(made_one["extension"]) == 2


def test_every_sample_makes_a_valid_study_and_patient() -> None:
    for path in all_samples():
        try:
            entry = entry_of(header_of(path.read_bytes()))
        except Unreadable:
            continue
        series = Series(
            uid=entry.series_uid,
            modality=entry.modality,
            number=entry.series["series_number"],
            day=entry.series["series_day"],
            time=entry.series["series_time"],
            attributes=entry.series_model,
            instances=[Instance(entry.sop_uid, entry.sop_class, entry.instance["instance_number"])],
        )
        study = Study(
            id="s1",
            uid=entry.study_uid,
            patient_id="p1",
            day=entry.study["study_day"],
            time=entry.study["study_time"],
            modalities=[entry.modality],
            attributes=entry.study_model,
            series=[series],
        )
        ImagingStudy.model_validate(orjson.loads(orjson.dumps(imaging_study(study))))
        Patient.model_validate({"resourceType": "Patient", **unclaimed(entry.identity, "urn:x", "1")})


async def test_the_study_is_rebuilt_and_versioned_only_when_it_changed(holder: Holder) -> None:
    await holder.store(made())
    await rebuild.refresh(holder.services, reach=holder.reading)
    row = await holder.services.db.fetch_one(_STUDY)
    assert row is not None
    assert not row["fhir_stale"]
    read = await store.read(holder.services.db, "ImagingStudy", row["fhir_id"], reach=holder.reading)
    found = orjson.loads(read.json)
    assert found["numberOfInstances"] == 1
    assert found["subject"] == {"reference": f"Patient/{holder.patient_id}"}
    assert await rebuild.everything(holder.services) == 1
    again = await store.read(holder.services.db, "ImagingStudy", row["fhir_id"], reach=holder.reading)
    assert again.version == read.version == 1
    await holder.store(made(InstanceNumber=2))
    await rebuild.refresh(holder.services, reach=holder.reading, patients=[holder.patient_id])
    third = await store.read(holder.services.db, "ImagingStudy", row["fhir_id"], reach=holder.reading)
    assert third.version == 2


async def test_what_is_deleted_is_gone_and_comes_back(holder: Holder) -> None:
    report = await holder.store(made(), made(SeriesInstanceUID="1.2.3.4.6", Modality="PT"))
    services, key = holder.services, (holder.patient_id, "1.2.3.4")
    uid = report.stored[0].sop_instance_uid
    await removal.delete(services, "1.2.3.4", "1.2.3.4.5", uid, reach=holder.reading, actor=holder.actor)
    await rebuild.refresh(services, reach=holder.reading)
    row = await services.db.fetch_one(_STUDY)
    assert row is not None
    read = await store.read(services.db, "ImagingStudy", row["fhir_id"], reach=holder.reading)
    assert [each["code"] for each in orjson.loads(read.json)["modality"]] == ["PT"]
    await removal.delete(services, "1.2.3.4", reach=holder.reading, actor=holder.actor)
    with pytest.raises(removal.NotFound):
        await removal.delete(services, "1.2.3.4", reach=holder.reading, actor=holder.actor)
    await removal.restore(services, *key, reach=holder.reading, actor=holder.actor)
    await removal.say(services, *key, removal.Standing.NOT_MINE, reach=holder.reading, actor=holder.actor)
    with pytest.raises(removal.NotFound):
        await removal.delete(services, "1.2.3.4", reach=holder.reading, actor=holder.actor)


async def test_what_was_deleted_long_ago_is_forgotten(holder: Holder) -> None:
    await holder.store(made(), made(StudyInstanceUID="1.2.9"))
    services = holder.services
    await rebuild.refresh(services, reach=holder.reading)
    await removal.delete(services, "1.2.3.4", reach=holder.reading, actor=holder.actor)
    assert await removal.purge(services) == 0
    clock.travel(timedelta(days=31))
    assert await removal.purge(services) == 1
    assert len(await services.db.fetch_all(_STUDY)) == 1
    with pytest.raises(removal.NotFound):
        await removal.restore(
            services, holder.patient_id, "1.2.3.4", reach=holder.reading, actor=holder.actor
        )
