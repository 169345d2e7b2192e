"""Searches at the level of the patient, counts at every level; keys of levels below; PS3.4, C.2.2.2.7 and C.2.2.2.8."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, instance, parts, store
from tests.factories import People, bearer


@pytest.fixture
async def archive(web: httpx.AsyncClient) -> dict[str, Sample]:
    """Two numbers of one person: a CT with two series and an MR under P-1, a CR under P-2."""
    ct = instance(Manufacturer="Make^r", BodyPartExamined="CHEST", ImageComments="the first")
    other = instance(study=ct.study, SeriesNumber=2, BodyPartExamined="HEAD", Modality="SR")
    mr = instance(Modality="MR", StudyDate="20240202", PatientWeight="70", AccessionNumber="")
    cr = instance(Modality="CR", PatientID="P-2", PatientName="Moor^Adah", BodyPartExamined="HAND")
    answer = await store(web, ct, other, mr, cr)
    assert answer.status_code == 200, answer.text
    return {"ct": ct, "other": other, "mr": mr, "cr": cr}


async def search(web: httpx.AsyncClient, path: str) -> list[dict[str, Any]]:
    answer = await web.get(f"/dicomweb{path}")
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def first(item: dict[str, Any], *tags: str) -> list[Any]:
    return [item[tag]["Value"][0] for tag in tags]


async def test_patients(web: httpx.AsyncClient, archive: dict[str, Sample], owner: Owner):
    one, two = await search(web, "/patients")
    assert first(one, "00100020", "00201200", "00201202", "00201204") == ["P-1", 2, 3, 3]
    assert first(two, "00100020", "00201200", "00201202", "00201204") == ["P-2", 1, 1, 1]
    assert one["00100010"]["Value"] == [{"Alphabetic": "Moor^Ada"}]
    assert first(one, "00100030", "00100040") == ["19800229", "F"]
    assert "00101030" not in one
    at_root = await web.get(f"{owner.root}/patients")
    assert at_root.json() == [one, two]


async def test_patients_with_a_study_that_matches(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """What is counted is all that is in reach of the patient, not what matched."""
    (one,) = await search(web, "/patients?ModalitiesInStudy=CT")
    assert first(one, "00201200", "00201204") == [2, 3]
    assert len(await search(web, "/patients?PatientID=P-2")) == 1
    assert len(await search(web, "/patients?PatientName=adah&fuzzymatching=true")) == 1
    assert await search(web, "/patients?PatientID=P-3") == []
    (found,) = await search(web, "/patients?PatientID=P-1&includefield=PatientWeight")
    assert first(found, "00101030") == [70]


async def test_pages_of_patients(web: httpx.AsyncClient, archive: dict[str, Sample]):
    answer = await web.get("/dicomweb/patients?limit=1")
    assert len(answer.json()) == 1
    assert "There are 1 additional results" in answer.headers["warning"]
    (second,) = await search(web, "/patients?limit=1&offset=1")
    assert first(second, "00100020") == ["P-2"]
    xml = await web.get(
        "/dicomweb/patients", headers={"Accept": 'multipart/related; type="application/dicom+xml"'}
    )
    assert len(parts(xml)) == 2
    table = await web.get("/dicomweb/patients", headers={"Accept": "text/csv"})
    assert len(table.text.splitlines()) == 3


async def test_counts(web: httpx.AsyncClient, archive: dict[str, Sample]):
    study, series = archive["ct"].study, archive["ct"].series
    for path, count in (
        ("/patients", 2),
        ("/studies", 3),
        ("/series", 4),
        ("/instances", 4),
        (f"/studies/{study}/series", 2),
        (f"/studies/{study}/instances", 2),
        (f"/studies/{study}/series/{series}/instances", 1),
    ):
        assert (await web.get(f"/dicomweb{path}/count")).json() == {"count": count}, path
    assert (await web.get("/dicomweb/series/count?Modality=MR")).json() == {"count": 1}
    assert (await web.get("/dicomweb/patients/count?PatientID=P-2")).json() == {"count": 1}


async def test_a_stranger_counts_nothing(web: httpx.AsyncClient, archive: dict[str, Sample], people: People):
    headers = bearer(await people.token(await people.patient()))
    for level in ("patients", "studies", "series", "instances"):
        assert (await web.get(f"/dicomweb/{level}/count", headers=headers)).json() == {"count": 0}
        assert (await web.get(f"/dicomweb/{level}", headers=headers)).json() == []


@pytest.mark.parametrize(
    ("query", "found"),
    [
        ("/studies?BodyPartExamined=CHEST", ["ct"]),
        ("/studies?BodyPartExamined=H*", ["ct", "cr"]),
        ("/studies?SeriesDescription=lung", ["ct", "mr", "cr"]),
        ("/studies?ImageComments=the first", ["ct"]),
        ("/studies?Manufacturer=Make*", ["ct"]),
        ("/studies?Rows=16&SeriesNumber=2", ["ct"]),
        ("/studies?Rows=17", []),
        ("/studies?PatientWeight=70", ["mr"]),
        ('/studies?AccessionNumber=""&emptyvaluematching=true', ["mr"]),
        ("/studies?ModalitiesInStudy=CT\\SR&multiplevaluematching=true", ["ct"]),
        ("/studies?ModalitiesInStudy=CT\\MR&multiplevaluematching=true", []),
        ("/studies?ModalitiesInStudy=CT\\MR", ["ct", "mr"]),
    ],
)
async def test_keys_of_the_levels_below(
    web: httpx.AsyncClient, archive: dict[str, Sample], query: str, found: list[str]
):
    """A study is found by what any of its series or instances has."""
    uids = {first(each, "0020000D")[0] for each in await search(web, query)}
    assert uids == {archive[name].study for name in found}


async def test_series_by_their_instances(web: httpx.AsyncClient, archive: dict[str, Sample]):
    (found,) = await search(web, "/series?ImageComments=the*")
    assert first(found, "0020000E") == [archive["ct"].series]
    (by_uid,) = await search(web, f"/series?SOPInstanceUID={archive['mr'].sop}")
    assert first(by_uid, "0020000E") == [archive["mr"].series]


async def test_what_was_deleted_is_not_found_by(web: httpx.AsyncClient, archive: dict[str, Sample]):
    await web.delete(f"/dicomweb/studies/{archive['other'].study}/series/{archive['other'].series}")
    assert await search(web, "/studies?BodyPartExamined=HEAD") == []
