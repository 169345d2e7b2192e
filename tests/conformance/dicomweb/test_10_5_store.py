"""DICOM PS3.18, 10.5: Store Transaction (STOW-RS)."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree

import httpx
import pytest
from pydicom import dcmread

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import (
    BOUNDARY,
    MULTIPART,
    Sample,
    body,
    file,
    instance,
    store,
    written,
)
from tests.factories import People, bearer

pytestmark = pytest.mark.usefixtures("web")


def failed(answer: httpx.Response) -> list[tuple[str, int, str]]:
    """SOP Instance UID, reason and comment of each failure."""
    items = answer.json().get("00081198", {}).get("Value", [])
    return [
        (
            item["00081155"]["Value"][0],
            item["00081197"]["Value"][0],
            item.get("00000902", {}).get("Value", [""])[0],
        )
        for item in items
    ]


def references(answer: httpx.Response) -> list[str]:
    return [item["00081155"]["Value"][0] for item in answer.json().get("00081199", {}).get("Value", [])]


async def test_all_stored_is_200(web: httpx.AsyncClient, owner: Owner):
    """10.5.3.1 and I.2: ReferencedSOPSequence with RetrieveURLs under the patient's own root."""
    one = instance()
    two = instance(study=one.study, series=one.series)
    answer = await store(web, one, two)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/dicom+json"
    assert set(references(answer)) == {one.sop, two.sop}
    item = answer.json()["00081199"]["Value"][0]
    assert item["00081150"]["Value"] == ["1.2.840.10008.5.1.4.1.1.2"]
    assert item["00081190"]["Value"][0].endswith(f"{owner.root}{one.path}")
    assert answer.json()["00081190"]["Value"][0].endswith(f"{owner.root}/studies/{one.study}")
    assert "00081198" not in answer.json()


async def test_what_is_stored_comes_back_byte_for_byte(web: httpx.AsyncClient, stored: Sample):
    answer = await web.get(
        f"/dicomweb{stored.path}", headers={"Accept": "application/dicom; transfer-syntax=*"}
    )
    assert answer.status_code == 200
    assert answer.content == stored.data


async def test_the_same_again_is_success(web: httpx.AsyncClient, stored: Sample):
    answer = await store(web, stored)
    assert answer.status_code == 200
    assert references(answer) == [stored.sop]


async def test_other_bytes_under_a_held_uid(web: httpx.AsyncClient, stored: Sample):
    """Decision 15: 0x0111 within one patient; the first is kept."""
    other = instance(stored.study, stored.series, SOPInstanceUID=stored.sop, StudyDescription="Other")
    answer = await store(web, other)
    assert answer.status_code == 409
    ((sop, reason, comment),) = failed(answer)
    assert (sop, reason) == (stored.sop, 0x0111)
    assert comment
    kept = await web.get(
        f"/dicomweb{stored.path}", headers={"Accept": "application/dicom; transfer-syntax=*"}
    )
    assert kept.content == stored.data


async def test_one_bad_part_never_spoils_the_others(web: httpx.AsyncClient):
    """10.5.3: 202 when some are stored; what has no UIDs is in OtherFailuresSequence."""
    one, two = instance(), instance()
    answer = await store(web, one, b"this is no DICOM", two)
    assert answer.status_code == 202
    assert set(references(answer)) == {one.sop, two.sop}
    (other,) = answer.json()["0008119A"]["Value"]
    assert other["00081197"]["Value"][0] >= 0x0110
    assert other["00000902"]["Value"][0]


async def test_nothing_stored_is_409(web: httpx.AsyncClient):
    answer = await store(web, b"no", b"neither")
    assert answer.status_code == 409
    assert answer.headers["content-type"] == "application/dicom+json"
    assert len(answer.json()["0008119A"]["Value"]) == 2


async def test_store_to_a_study(web: httpx.AsyncClient):
    """10.5.1: instances of another study than the one in the URL fail (0xA901)."""
    right, wrong = instance(), instance()
    answer = await store(web, right, wrong, study=right.study)
    assert answer.status_code == 202
    assert references(answer) == [right.sop]
    ((sop, reason, _),) = failed(answer)
    assert (sop, reason) == (wrong.sop, 0xA901)


@pytest.mark.parametrize(
    "content_type",
    [
        MULTIPART,
        f"multipart/related; type=application/dicom; boundary={BOUNDARY}",
        f'MULTIPART/RELATED; Type="application/dicom"; BOUNDARY="{BOUNDARY}"',
        f"multipart/related; boundary={BOUNDARY}",
    ],
)
async def test_content_types_that_clients_send(web: httpx.AsyncClient, content_type: str):
    answer = await web.post(
        "/dicomweb/studies", content=body([instance().data]), headers={"Content-Type": content_type}
    )
    assert answer.status_code == 200, answer.text


async def test_a_single_part(web: httpx.AsyncClient):
    """10.5.2: application/dicom without multipart."""
    sample = instance()
    answer = await web.post(
        "/dicomweb/studies", content=sample.data, headers={"Content-Type": "application/dicom"}
    )
    assert answer.status_code == 200
    assert references(answer) == [sample.sop]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Content-Type": "text/plain"}, 415),
        ({"Content-Type": ""}, 415),
        ({"Content-Type": 'multipart/related; type="image/jpeg"; boundary=x'}, 415),
        ({"Content-Type": MULTIPART, "Content-Encoding": "gzip"}, 415),
        ({"Content-Type": MULTIPART.replace(BOUNDARY, "other")}, 400),
        ({"Content-Type": 'multipart/related; type="application/dicom"'}, 400),
        ({"Content-Type": MULTIPART, "Accept": "text/html"}, 406),
    ],
)
async def test_requests_that_cannot_be_understood(
    web: httpx.AsyncClient, headers: dict[str, str], status: int
):
    answer = await web.post("/dicomweb/studies", content=body([instance().data]), headers=headers)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/json"
    assert answer.json()["error"]


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"--samples--",
        body([b"x" * 100])[:-20],
        b"--samples\r\nContent-Type application/dicom\r\n\r\nx\r\n--samples--",
    ],
)
async def test_bodies_that_are_malformed(web: httpx.AsyncClient, data: bytes):
    answer = await web.post("/dicomweb/studies", content=data, headers={"Content-Type": MULTIPART})
    assert answer.status_code == 400
    assert answer.json()["error"]


async def test_a_body_that_breaks_off(web: httpx.AsyncClient):
    """What arrived whole is held and said to be; what broke off is a failure, never half stored."""
    one, two = instance(), instance()
    data = body([one.data, two.data])[: len(one.data) + 500]
    answer = await web.post("/dicomweb/studies", content=data, headers={"Content-Type": MULTIPART})
    assert answer.status_code == 202
    assert references(answer) == [one.sop]
    assert len(answer.json()["0008119A"]["Value"]) == 1
    assert (await web.get(f"/dicomweb/studies/{two.study}/metadata")).status_code == 404


async def test_xml_when_it_is_asked_for(web: httpx.AsyncClient):
    """10.5.3.3: the payload in the media type of Accept."""
    sample = instance()
    answer = await store(web, sample, b"garbage", Accept="application/dicom+xml")
    assert answer.headers["content-type"] == "application/dicom+xml"
    root = ElementTree.fromstring(answer.content)  # noqa: S314 - our own
    assert {each.get("keyword") for each in root} >= {"ReferencedSOPSequence", "OtherFailuresSequence"}


async def test_big_endian_and_deflated_are_kept_as_they_are(web: httpx.AsyncClient):
    """Only UIDs, SOP class and a readable data set are needed; any transfer syntax."""
    for name in ("ExplVR_BigEnd.dcm", "image_dfl.dcm", "no_meta.dcm", "ExplVR_LitEndNoMeta.dcm"):
        data = file(name)
        answer = await store(web, data)
        if answer.status_code == 409:
            assert answer.json()  # refused with a reason
            continue
        assert answer.status_code in (200, 202), name
        url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
        back = await web.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"})
        assert back.content == data


async def test_warnings(web: httpx.AsyncClient):
    """I.2.2 and Table 10.5.3-1: stored with a Warning Reason is 202; beside it ErrorComment says what is odd."""
    short = instance(Rows=32)  # more pixels than there are
    bare = dcmread(BytesIO(instance().data))
    del bare.Rows
    answer = await store(web, short, written(bare), instance())
    assert answer.status_code == 202
    assert "00081198" not in answer.json()
    warned = [item for item in answer.json()["00081199"]["Value"] if "00081196" in item]
    assert [item["00081196"] for item in warned] == [{"vr": "US", "Value": [0xB007]}] * 2
    assert all(item["00000902"]["Value"][0] for item in warned)
    again = await store(web, short)
    assert again.status_code == 202  # it is as short as before


async def test_services_are_no_objects(web: httpx.AsyncClient):
    """I.2.2: 0x0122 for what DICOM knows and nobody stores; a class that nobody knows is kept."""
    known, unknown = instance(SOPClassUID="1.2.840.10008.1.1"), instance(SOPClassUID="1.2.3.4.5")
    answer = await store(web, known, unknown)
    assert answer.status_code == 202
    assert references(answer) == [unknown.sop]
    assert [(sop, reason) for sop, reason, _ in failed(answer)] == [(known.sop, 0x0122)]


async def test_an_app_without_the_scope(web: httpx.AsyncClient, owner: Owner, people: People):
    """Decision 1: a living token without the scope is 403 insufficient_scope."""
    token = await people.token(owner.person, "patient/ImagingStudy.rs")
    answer = await store(web, instance(), **bearer(token))
    assert answer.status_code == 403
    assert "insufficient_scope" in answer.headers["www-authenticate"]


async def test_no_token(web: httpx.AsyncClient):
    answer = await store(web, instance(), Authorization="Bearer nonsense")
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_another_patients_root(web: httpx.AsyncClient, people: People):
    stranger = await people.patient("Some One")
    answer = await store(web, instance(), root=f"/patients/{stranger.fhir_id}/dicomweb")
    assert answer.status_code in (403, 404)


async def test_uids_with_path_characters(web: httpx.AsyncClient):
    sample = instance()
    evil = b"../../etc/passwd".ljust(len(sample.study), b"/")
    answer = await store(web, sample.data.replace(sample.study.encode(), evil))
    assert answer.status_code == 409
