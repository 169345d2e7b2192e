"""DICOM PS3.18, 10.6: Search Transaction (QIDO-RS)."""

from __future__ import annotations

import csv
import io
from dataclasses import replace
from typing import Any

import httpx
import pytest
from pydicom import Dataset, dcmread
from pydicom.sequence import Sequence

from server.audit import reading
from server.audit.events import Event
from server.storage.where import Where
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, instance, parts, store, written
from tests.conftest import RunningServer
from tests.factories import People, bearer


def value(item: dict[str, Any], tag: str) -> Any:
    return item[tag]["Value"][0]


async def search(web: httpx.AsyncClient, path: str, **headers: str) -> list[dict[str, Any]]:
    answer = await web.get(f"/dicomweb{path}", headers=headers)
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/dicom+json"
    return answer.json()


@pytest.fixture
async def archive(web: httpx.AsyncClient) -> dict[str, Sample]:
    """Three studies: a CT of two series, an MR a day earlier, a CR without a date."""
    ct = instance(StudyDate="20240131", StudyTime="101500", AccessionNumber="A1")
    ct_two = instance(study=ct.study, series=ct.series, InstanceNumber=2)
    ct_other = instance(study=ct.study, SeriesNumber=2, SeriesDescription="Bone", Modality="CT")
    mr = instance(
        StudyDate="20240130",
        StudyTime="2300",
        Modality="MR",
        AccessionNumber="A2",
        StudyDescription="MR Brain, contrast",
        InstitutionName="St. Mary",
        ReferringPhysicianName="Reader^Zoë",
        RequestAttributesSequence=Sequence([_request("SPS7", "RP7")]),
    )
    mr = private(mr)
    cr = instance(StudyDate="", StudyTime="", Modality="CR", AccessionNumber="A3", StudyDescription="")
    answer = await store(web, ct, ct_two, ct_other, mr, cr)
    assert answer.status_code == 200, answer.text
    return {"ct": ct, "ct_two": ct_two, "ct_other": ct_other, "mr": mr, "cr": cr}


def _request(step: str, procedure: str) -> Dataset:
    item = Dataset()
    item.ScheduledProcedureStepID, item.RequestedProcedureID = step, procedure
    return item


def private(sample: Sample) -> Sample:
    """The sample with an attribute of somebody's own."""
    data = dcmread(io.BytesIO(sample.data))
    data.private_block(0x0011, "ACME", create=True).add_new(0x01, "LO", "secret")
    return replace(sample, data=written(data))


async def test_required_attributes_of_studies(
    web: httpx.AsyncClient, archive: dict[str, Sample], owner: Owner
):
    """Table 10.6.3-3, and the newest study first."""
    studies = await search(web, "/studies")
    assert [value(each, "0020000D") for each in studies] == [
        archive[name].study for name in ("ct", "mr", "cr")
    ]
    ct = studies[0]
    assert value(ct, "00080020") == "20240131"
    assert value(ct, "00080030") == "101500"
    assert value(ct, "00080050") == "A1"
    assert value(ct, "00080056") == "ONLINE"
    assert ct["00080061"]["Value"] == ["CT"]
    assert value(ct, "00100010") == {"Alphabetic": "Moor^Ada"}
    assert value(ct, "00100020") == "P-1"
    assert value(ct, "00100030") == "19800229"
    assert value(ct, "00100040") == "F"
    assert value(ct, "00200010") == "S1"
    assert (value(ct, "00201206"), value(ct, "00201208")) == (2, 3)
    assert value(ct, "00081190").endswith(f"{owner.root}/studies/{archive['ct'].study}")
    assert ct["00080090"]["vr"] == "PN"


async def test_required_attributes_of_series(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """Table 10.6.3-4; by series number."""
    series = await search(web, f"/studies/{archive['ct'].study}/series")
    assert [value(each, "00200011") for each in series] == [1, 2]
    assert value(series[0], "0020000E") == archive["ct"].series
    assert value(series[0], "00080060") == "CT"
    assert value(series[0], "0008103E") == "Lung"
    assert value(series[0], "00201209") == 2
    assert "00100010" not in series[0]


async def test_required_attributes_of_instances(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """Table 10.6.3-5; by instance number."""
    found = await search(web, f"/studies/{archive['ct'].study}/series/{archive['ct'].series}/instances")
    assert [value(each, "00080018") for each in found] == [archive["ct"].sop, archive["ct_two"].sop]
    assert [value(found[0], tag) for tag in ("00280010", "00280011", "00280100")] == [16, 16, 16]
    assert value(found[0], "00080016") == "1.2.840.10008.5.1.4.1.1.2"
    assert "00080060" not in found[0]
    of_study = await search(web, f"/studies/{archive['ct'].study}/instances")
    # 10.6.3.3.3: of a study's instances, the attributes of their series too, and not those of the study.
    assert [(value(each, "00080060"), value(each, "00200011")) for each in of_study] == [
        ("CT", 1),
        ("CT", 1),
        ("CT", 2),
    ]
    assert [value(each, "00201209") for each in of_study] == [2, 2, 1]
    assert not any("00100010" in each for each in of_study)


async def test_relational_searches_return_the_levels_above(
    web: httpx.AsyncClient, archive: dict[str, Sample]
):
    """10.6.3.3: all series, all instances."""
    (series,) = await search(web, f"/series?SeriesInstanceUID={archive['mr'].series}")
    assert value(series, "00080050") == "A2"
    assert value(series, "00080060") == "MR"
    (found,) = await search(web, f"/instances?SOPInstanceUID={archive['mr'].sop}")
    assert value(found, "00100010") == {"Alphabetic": "Moor^Ada"}
    assert value(found, "00080060") == "MR"
    assert value(found, "00081190").endswith(archive["mr"].path)


STUDIES: list[tuple[str, list[str]]] = [
    ("AccessionNumber=A1", ["ct"]),
    ("00080050=A1", ["ct"]),
    ("AccessionNumber=A?", ["ct", "mr", "cr"]),
    ("AccessionNumber=A1,A3", ["ct", "cr"]),
    ("StudyDate=20240130", ["mr"]),
    ("StudyDate=20240130-20240131", ["ct", "mr"]),
    ("StudyDate=20240131-", ["ct"]),
    ("StudyDate=-20240130", ["mr"]),
    ("StudyDate=20240130-20240131&StudyTime=2200-0900", ["mr"]),
    ("StudyTime=10", ["ct"]),
    ("ModalitiesInStudy=MR", ["mr"]),
    ("ModalitiesInStudy=MR,CR", ["mr", "cr"]),
    ("Modality=MR", ["mr"]),
    ("StudyDescription=mr%20brain*", ["mr"]),
    ("StudyDescription=MR%20Brain,%20contrast", ["mr"]),
    ("PatientName=moor^ada", ["ct", "mr", "cr"]),
    ("PatientName=MOOR*", ["ct", "mr", "cr"]),
    ("PatientName=ada&fuzzymatching=true", ["ct", "mr", "cr"]),
    ("PatientName=ada", []),
    ("ReferringPhysicianName=reader^zoe", ["mr"]),
    ("ReferringPhysicianName=zo&fuzzymatching=true", ["mr"]),
    ("PatientID=P-1&AccessionNumber=A2", ["mr"]),
    ("PatientID=other", []),
    ("PatientBirthDate=19800229", ["ct", "mr", "cr"]),
    ("NumberOfStudyRelatedInstances=3", ["ct"]),
    ("PatientWeight=70", []),
    ("limit=1", ["ct"]),
    ("limit=1&offset=1", ["mr"]),
    ("offset=3", []),
    ("limit=0", []),
    ("InstanceAvailability=ONLINE", ["ct", "mr", "cr"]),
    ("InstanceAvailability=OFFLINE", []),
]


async def test_matching_of_studies(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """PS3.4, C.2.2.2, and PS3.18, 8.3.4."""
    for query, names in STUDIES:
        found = await search(web, f"/studies?{query}")
        assert [value(each, "0020000D") for each in found] == [archive[name].study for name in names], query


async def test_a_list_of_uids(web: httpx.AsyncClient, archive: dict[str, Sample]):
    for separator in (",", "%5C", "&StudyInstanceUID="):
        uids = separator.join((archive["ct"].study, archive["cr"].study))
        assert len(await search(web, f"/studies?StudyInstanceUID={uids}")) == 2


SERIES = [
    ("Modality=MR", 1),
    ("SeriesNumber=2", 1),
    ("SeriesDescription=bone", 1),
    ("RequestAttributesSequence.ScheduledProcedureStepID=SPS7", 1),
    ("00400275.00401001=RP?", 1),
    ("00400275.00401001=X", 0),
    ("InstitutionName=St.*", 1),
    ("PatientName=moor*&Modality=CT", 2),
]
INSTANCES = [("InstanceNumber=2", 1), ("Rows=16", 5), ("Rows=17", 0), ("BitsStored=16", 5)]
REFUSED = (
    "NoSuchKey=1", "foo=bar", "limit=-1", "limit=x", "limit=99999999999", "offset=-1", "StudyDate=x",
    "fuzzymatching=x", "RetrieveURL=x", "NumberOfPatientRelatedStudies=1",
)  # fmt: skip


async def test_matching_of_series_and_instances(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """Any attribute held, by sequence path too."""
    for level, queries in (("series", SERIES), ("instances", INSTANCES)):
        for query, count in queries:
            assert len(await search(web, f"/{level}?{query}")) == count, query


async def test_what_is_not_supported_is_said(web: httpx.AsyncClient):
    """Decision 15: never silently everything; not an empty list either for what is made for the answer."""
    for query in REFUSED:
        answer = await web.get(f"/dicomweb/studies?{query}")
        assert (answer.status_code, bool(answer.json()["error"])) == (400, True), query


async def test_includefield(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """8.3.4.3."""
    mr = archive["mr"].study
    (plain,) = await search(web, f"/series?StudyInstanceUID={mr}")
    assert "00080080" not in plain
    (more,) = await search(web, f"/series?StudyInstanceUID={mr}&includefield=InstitutionName,00400275")
    assert value(more, "00080080") == "St. Mary"
    assert value(value(more, "00400275"), "00400009") == "SPS7"
    (everything,) = await search(web, f"/studies/{mr}/instances?includefield=all")
    assert value(everything, "00280101") == 16
    assert value(everything, "00080080") == "St. Mary"
    # 10.6.3.3.2: of a study's series, attributes of the study where they are named.
    asked = "includefield=PatientName,ModalitiesInStudy"
    (named,) = await search(web, f"/studies/{mr}/series?{asked}")
    assert (value(named, "00100010"), value(named, "00080061")) == ({"Alphabetic": "Moor^Ada"}, "MR")
    assert "00081030" not in named
    assert "00100010" not in (await search(web, f"/studies/{mr}/series?includefield=all"))[0]
    # 10.6.3.3: a private attribute with its creator.
    (private,) = await search(web, f"/studies/{mr}/instances?includefield=00111001")
    assert (value(private, "00111001"), value(private, "00110010")) == ("secret", "ACME")
    (kept,) = (await web.get(f"/dicomweb/studies/{mr}/metadata?includefield=00111001")).json()
    assert list(kept) == ["00111001"]


async def test_a_key_comes_back(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """PS3.4, C.2.2.2.3: an empty value matches all and asks for the attribute."""
    found = await search(web, f"/studies/{archive['mr'].study}/instances?InstitutionName=")
    assert value(found[0], "00080080") == "St. Mary"


async def test_more_than_the_page(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """8.3.4.4: a Warning says how many results remain."""
    answer = await web.get("/dicomweb/studies?limit=1")
    assert "There are 2 additional results" in answer.headers["warning"]
    assert answer.headers["warning"].startswith("299 ")
    assert "warning" not in (await web.get("/dicomweb/studies?limit=3")).headers


async def test_nothing_is_an_empty_list(web: httpx.AsyncClient):
    assert await search(web, "/studies?StudyInstanceUID=1.2.3") == []
    assert await search(web, "/studies/1.2.3/series") == []


async def test_counts(web: httpx.AsyncClient, archive: dict[str, Sample]):
    assert (await web.get("/dicomweb/studies/count")).json() == {"count": 3}
    assert (await web.get("/dicomweb/studies/count?Modality=MR")).json() == {"count": 1}


async def test_xml(web: httpx.AsyncClient, archive: dict[str, Sample]):
    """10.6.3.3: one part a match."""
    answer = await web.get(
        "/dicomweb/studies", headers={"Accept": 'multipart/related; type="application/dicom+xml"'}
    )
    found = parts(answer)
    assert len(found) == 3
    assert found[0][0]["content-type"] == "application/dicom+xml"
    assert b'keyword="PatientName"' in found[0][1]


async def test_csv(web: httpx.AsyncClient, archive: dict[str, Sample]):
    answer = await web.get("/dicomweb/studies", headers={"Accept": "text/csv"})
    lines = list(csv.DictReader(io.StringIO(answer.text)))
    assert [line["AccessionNumber"] for line in lines] == ["A1", "A2", "A3"]


async def test_what_is_acceptable(web: httpx.AsyncClient):
    for accept in (
        "*/*",
        "application/json",
        "application/dicom+json, application/json",
        "text/html, */*;q=0.1",
    ):
        answer = await web.get("/dicomweb/studies", headers={"Accept": accept})
        assert (answer.status_code, answer.json()) == (200, []), accept
    answer = await web.get("/dicomweb/studies", headers={"Accept": "image/png"})
    assert answer.status_code == 406
    assert "application/dicom+json" in answer.json()["error"]


async def test_character_sets_come_out_as_utf_8(web: httpx.AsyncClient):
    sample = instance(SpecificCharacterSet="ISO_IR 100", PatientName="Müller^Zoë", StudyDescription="Schädel")
    assert (await store(web, sample)).status_code in (200, 202)
    (study,) = await search(web, f"/studies?StudyInstanceUID={sample.study}")
    assert value(study, "00100010") == {"Alphabetic": "Müller^Zoë"}
    assert value(study, "00081030") == "Schädel"
    assert len(await search(web, "/studies?PatientName=muller*")) == 1


async def test_at_the_root_of_the_patient(web: httpx.AsyncClient, archive: dict[str, Sample], owner: Owner):
    assert len((await web.get(f"{owner.root}/studies")).json()) == 3


async def test_a_stranger_finds_nothing(
    web: httpx.AsyncClient, archive: dict[str, Sample], owner: Owner, people: People
):
    """Decision 1: a search is filtered."""
    stranger = await people.patient("Some One")
    headers = bearer(await people.token(stranger))
    for path in ("/dicomweb/studies", "/dicomweb/series", "/dicomweb/instances", f"{owner.root}/studies"):
        answer = await web.get(path, headers=headers)
        assert (answer.status_code, answer.json()) == (200, [])


async def test_a_scope_with_a_filter(
    web: httpx.AsyncClient, archive: dict[str, Sample], owner: Owner, people: People
):
    """Decision 3: a granular filter selects whole studies."""
    scope = "patient/ImagingStudy.rs?modality=http://dicom.nema.org/resources/ontology/DCM|MR"
    headers = bearer(await people.token(owner.person, scope))
    answer = await web.get("/dicomweb/studies", headers=headers)
    assert [value(each, "0020000D") for each in answer.json()] == [archive["mr"].study]
    assert (
        await web.get(f"/dicomweb/studies/{archive['ct'].study}/metadata", headers=headers)
    ).status_code == 404


async def test_without_a_token(web: httpx.AsyncClient):
    answer = await web.get("/dicomweb/studies", headers={"Authorization": ""})
    assert answer.status_code == 401


async def test_a_deleted_study_is_gone(web: httpx.AsyncClient, archive: dict[str, Sample]):
    gone = archive["ct"].study
    assert (await web.delete(f"/dicomweb/studies/{gone}")).status_code == 204
    assert await search(web, f"/studies?StudyInstanceUID={gone}") == []
    assert (await web.get(f"/dicomweb/studies/{gone}/metadata")).status_code == 404
    assert (await web.delete(f"/dicomweb/studies/{gone}")).status_code == 404


async def test_a_deleted_series_and_instance(web: httpx.AsyncClient, archive: dict[str, Sample]):
    ct, other = archive["ct"], archive["ct_other"]
    assert (await web.delete(f"/dicomweb/studies/{ct.study}/series/{other.series}")).status_code == 204
    assert (await web.delete(f"/dicomweb{ct.path}")).status_code == 204
    (study,) = await search(web, f"/studies?StudyInstanceUID={ct.study}")
    assert (value(study, "00201206"), value(study, "00201208")) == (1, 1)


async def test_a_repeat_is_in_the_log_when_it_shows_something_else(
    server: RunningServer, web: httpx.AsyncClient, owner: Owner
):
    """The same list twice is one entry of the patient's log; with another study in it, it is a look of its own."""
    services, mine = server.services, Where("patient.id = :patient", {"patient": owner.person.fhir_id})
    for _ in range(2):
        assert (await store(web, instance())).status_code == 200
        for _ in range(2):
            await search(web, "/studies")
    await services.audit.flush()
    events = await reading.events_of(services.db, services.keyring, reach=mine)
    assert len([event for event in events if event.event == Event.STUDY_SEARCHED]) == 2
