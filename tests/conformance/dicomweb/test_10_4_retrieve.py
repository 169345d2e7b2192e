"""DICOM PS3.18, 10.4: Retrieve Transaction (WADO-RS), instances and metadata."""

from __future__ import annotations

import gzip
import io
import zipfile
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydicom import dcmread
from pydicom.encaps import encapsulate
from pydicom.fileset import FileSet

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, file, instance, parts, store, written
from tests.factories import People, bearer

EXPLICIT = "1.2.840.10008.1.2.1"


@pytest.fixture
async def two(web: httpx.AsyncClient) -> list[Sample]:
    """Two instances of one series."""
    one = instance()
    other = instance(study=one.study, series=one.series, InstanceNumber=2)
    assert (await store(web, one, other)).status_code == 200
    return [one, other]


@pytest.mark.parametrize(
    "accept",
    [
        None,
        "*/*",
        "multipart/*",
        "multipart/related",
        'multipart/related; type="application/dicom"',
        "multipart/related; type=application/dicom",
        'multipart/related; type="application/dicom"; transfer-syntax=*',
        f'multipart/related; type="application/dicom"; transfer-syntax={EXPLICIT}',
        'multipart/related; type="*/*"',
        'image/png, multipart/related; type="application/dicom";q=0.5',
    ],
)
async def test_a_study_as_parts(web: httpx.AsyncClient, two: list[Sample], accept: str | None):
    """8.7.3: the default is multipart/related of application/dicom."""
    headers = {"Accept": accept} if accept else {}
    request = web.build_request("GET", f"/dicomweb/studies/{two[0].study}", headers=headers)
    if accept is None:
        del request.headers["accept"]
    answer = await web.send(request)
    assert answer.status_code == 200
    found = parts(answer)
    assert [content for _, content in found] == [each.data for each in two]
    assert found[0][0]["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert found[0][0]["content-location"].endswith(two[0].path)
    assert int(answer.headers["content-length"]) == len(answer.content)


async def test_series_and_instance(web: httpx.AsyncClient, two: list[Sample]):
    series = await web.get(f"/dicomweb/studies/{two[0].study}/series/{two[0].series}")
    assert len(parts(series)) == 2
    one = await web.get(f"/dicomweb{two[0].path}")
    assert [content for _, content in parts(one)] == [two[0].data]


@pytest.mark.parametrize(
    "accept", ["application/dicom", "application/*", "application/dicom; transfer-syntax=*"]
)
async def test_one_instance_as_a_single_part(web: httpx.AsyncClient, stored: Sample, accept: str):
    answer = await web.get(f"/dicomweb{stored.path}", headers={"Accept": accept})
    assert answer.headers["content-type"] == f"application/dicom; transfer-syntax={EXPLICIT}"
    assert answer.content == stored.data


async def test_the_accept_parameter_comes_first(web: httpx.AsyncClient, stored: Sample):
    """8.3.3.1."""
    answer = await web.get(
        f"/dicomweb{stored.path}?accept=application/dicom", headers={"Accept": "image/png"}
    )
    assert answer.content == stored.data


async def test_a_zip(web: httpx.AsyncClient, two: list[Sample]):
    answer = await web.get(f"/dicomweb/studies/{two[0].study}", headers={"Accept": "application/zip"})
    assert answer.headers["content-type"] == "application/zip"
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert {archive.read(name) for name in archive.namelist()} == {each.data for each in two}


@pytest.mark.parametrize(
    "accept",
    ["image/png", "text/html", 'multipart/related; type="image/jpeg"', "application/dicom;q=0", "garbage"],
)
async def test_nothing_acceptable(web: httpx.AsyncClient, stored: Sample, accept: str):
    """8.7.5: 406 says what would be."""
    answer = await web.get(f"/dicomweb{stored.path}", headers={"Accept": accept})
    assert answer.status_code == 406
    assert "application/dicom" in answer.json()["error"]


async def test_a_transfer_syntax_that_cannot_be_made(web: httpx.AsyncClient, stored: Sample):
    """Decision 15."""
    accept = 'multipart/related; type="application/dicom"; transfer-syntax=1.2.840.10008.1.2.4.102'
    assert (await web.get(f"/dicomweb{stored.path}", headers={"Accept": accept})).status_code == 406


async def test_the_first_that_can_be_made(web: httpx.AsyncClient, stored: Sample):
    accept = "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.102, application/dicom; transfer-syntax=*; q=0.9"
    assert (await web.get(f"/dicomweb{stored.path}", headers={"Accept": accept})).content == stored.data


async def test_caching(web: httpx.AsyncClient, stored: Sample):
    """RFC 9110, 13.1.2: an entity tag, and 304 for whoever holds it."""
    for path in (stored.path, f"{stored.path}/metadata", f"/studies/{stored.study}"):
        first = await web.get(f"/dicomweb{path}")
        again = await web.get(f"/dicomweb{path}", headers={"If-None-Match": first.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        assert "private" in first.headers["cache-control"]


async def test_a_tag_changes_with_the_study(web: httpx.AsyncClient, stored: Sample):
    path = f"/dicomweb/studies/{stored.study}/metadata"
    first = await web.get(path)
    await store(web, instance(study=stored.study))
    second = await web.get(path, headers={"If-None-Match": first.headers["etag"]})
    assert second.status_code == 200
    assert len(second.json()) == 2


async def test_head(web: httpx.AsyncClient, stored: Sample):
    """RFC 9110, 9.3.2."""
    for path in (stored.path, f"{stored.path}/metadata", f"/studies/{stored.study}"):
        whole = await web.get(f"/dicomweb{path}")
        answer = await web.head(f"/dicomweb{path}")
        assert (answer.status_code, answer.content) == (200, b"")
        assert answer.headers["etag"] == whole.headers["etag"]
        assert answer.headers.get("content-length") == str(len(whole.content))


async def test_ranges_of_an_instance(web: httpx.AsyncClient, stored: Sample):
    """RFC 9110, 14."""
    headers = {"Accept": "application/dicom; transfer-syntax=*", "Range": "bytes=128-131"}
    answer = await web.get(f"/dicomweb{stored.path}", headers=headers)
    assert (answer.status_code, answer.content) == (206, b"DICM")
    assert answer.headers["content-range"] == f"bytes 128-131/{len(stored.data)}"
    outside = await web.get(f"/dicomweb{stored.path}", headers={**headers, "Range": "bytes=9999999-"})
    assert outside.status_code == 416


async def test_metadata_at_three_levels(web: httpx.AsyncClient, two: list[Sample], owner: Owner):
    """10.4.1.1.2: everything but bulk data, which a URI names."""
    one = two[0]
    study = await web.get(f"/dicomweb/studies/{one.study}/metadata")
    assert study.headers["content-type"] == "application/dicom+json"
    series = await web.get(f"/dicomweb/studies/{one.study}/series/{one.series}/metadata")
    first = await web.get(f"/dicomweb{one.path}/metadata")
    assert study.json() == series.json()
    assert study.json()[0] == first.json()[0]
    model = first.json()[0]
    assert model["00100010"]["Value"] == [{"Alphabetic": "Moor^Ada"}]
    assert model["7FE00010"]["BulkDataURI"].endswith(f"{owner.root}{one.path}/bulkdata/7FE00010")
    assert model["00083002"]["Value"] == [EXPLICIT]
    assert not any(tag.startswith("0002") for tag in model)


async def test_metadata_by_gzip(web: httpx.AsyncClient, stored: Sample):
    path = f"/dicomweb{stored.path}/metadata"
    plain = await web.get(path)
    async with web.stream("GET", path, headers={"Accept-Encoding": "gzip"}) as answer:
        raw = b"".join([chunk async for chunk in answer.aiter_raw()])
    assert answer.headers["content-encoding"] == "gzip"
    assert gzip.decompress(raw) == plain.content
    assert len(raw) < len(plain.content)


@pytest.mark.parametrize(
    "accept",
    ["*/*", "application/json", "application/dicom+json, multipart/related; type=application/octet-stream"],
)
async def test_metadata_for_whoever_takes_json(web: httpx.AsyncClient, stored: Sample, accept: str):
    answer = await web.get(f"/dicomweb{stored.path}/metadata", headers={"Accept": accept})
    assert answer.json()[0]["00080018"]["Value"] == [stored.sop]


async def test_metadata_as_xml(web: httpx.AsyncClient, two: list[Sample]):
    accept = 'multipart/related; type="application/dicom+xml"'
    answer = await web.get(f"/dicomweb/studies/{two[0].study}/metadata", headers={"Accept": accept})
    assert len(parts(answer)) == 2
    assert b"NativeDicomModel" in answer.content


async def test_metadata_of_some_fields(web: httpx.AsyncClient, stored: Sample):
    answer = await web.get(f"/dicomweb{stored.path}/metadata?includefield=PatientName,00080018")
    assert set(answer.json()[0]) == {"00100010", "00080018"}


async def test_json_of_an_instance_is_its_metadata(web: httpx.AsyncClient, stored: Sample):
    answer = await web.get(f"/dicomweb{stored.path}", headers={"Accept": "application/dicom+json"})
    assert answer.json()[0]["00080018"]["Value"] == [stored.sop]


@pytest.mark.parametrize("suffix", ["", "/metadata"])
async def test_hidden_and_unknown_answer_the_same(
    web: httpx.AsyncClient, stored: Sample, people: People, suffix: str
):
    """Decision 1: 404, the same body."""
    stranger = bearer(await people.token(await people.patient("Some One")))
    hidden = await web.get(f"/dicomweb{stored.path}{suffix}", headers=stranger)
    unknown = await web.get(f"/dicomweb/studies/1.2/series/1.3/instances/1.4{suffix}", headers=stranger)
    assert (hidden.status_code, hidden.content) == (unknown.status_code, unknown.content)
    assert hidden.status_code == 404


async def test_without_the_right_to_download(
    web: httpx.AsyncClient, stored: Sample, owner: Owner, people: People
):
    """Decision 4: metadata yes; application/dicom and ZIP no."""
    doctor = await people.doctor()
    await people.share(owner.person, doctor, rights=("images",))
    headers = bearer(await people.token(doctor, "user/*.rs"))
    assert (await web.get(f"/dicomweb{stored.path}/metadata", headers=headers)).status_code == 200
    assert (await web.get(f"/dicomweb{stored.path}", headers=headers)).status_code == 404
    zipped = await web.get(f"/dicomweb{stored.path}", headers={**headers, "Accept": "application/zip"})
    assert zipped.status_code == 404


async def test_a_dead_token_where_nothing_is(web: httpx.AsyncClient):
    answer = await web.get("/dicomweb/studies/1.2.3", headers={"Authorization": "Bearer x"})
    assert answer.status_code == 401


async def test_another_transfer_syntax_as_stored(web: httpx.AsyncClient):
    """`*` is byte for byte what was sent."""
    data = file("MR_small_implicit.dcm")
    made = dcmread(io.BytesIO(data))
    await store(web, data)
    path = f"/studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
    answer = await web.get(f"/dicomweb{path}", headers={"Accept": "application/dicom; transfer-syntax=*"})
    assert answer.content == data
    assert answer.headers["content-type"].endswith("=1.2.840.10008.1.2")


async def test_an_object_without_a_head_gets_one(web: httpx.AsyncClient):
    """PS3.10, 7.1: application/dicom has file meta information; `*` is what was sent."""
    sample = instance()
    bare = sample.data[132 + 12 + int.from_bytes(sample.data[140:144], "little") :]
    assert (await store(web, bare)).status_code in (200, 202)
    answer = await web.get(f"/dicomweb{sample.path}", headers={"Accept": "application/dicom"})
    assert dcmread(io.BytesIO(answer.content)).SOPInstanceUID == sample.sop
    ((_, content),) = parts(await web.get(f"/dicomweb{sample.path}"))
    assert dcmread(io.BytesIO(content)).SOPInstanceUID == sample.sop
    stored = await web.get(
        f"/dicomweb{sample.path}", headers={"Accept": "application/dicom; transfer-syntax=*"}
    )
    assert stored.content == bare


@pytest.mark.parametrize(
    "name",
    [
        "MR_small_implicit.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_RLE.dcm",
        "JPEG2000.dcm",
        "image_dfl.dcm",
        "emri_small_jpeg_ls_lossless.dcm",
        "examples_jpeg2k.dcm",
        "rtplan.dcm",
        "reportsi.dcm",
    ],
)
async def test_explicit_little_endian_by_default(web: httpx.AsyncClient, name: str):
    """8.7.3.2: the default transfer syntax; compressed pixels are decompressed."""
    made = dcmread(io.BytesIO(file(name)))
    assert (await store(web, file(name))).status_code in (200, 202)
    path = f"/studies/{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
    for accept in ("application/dicom", "*/*"):
        answer = await web.get(f"/dicomweb{path}", headers={"Accept": accept})
        assert answer.status_code == 200
        content = answer.content if accept != "*/*" else parts(answer)[0][1]
        back = dcmread(io.BytesIO(content))
        assert back.file_meta.TransferSyntaxUID == EXPLICIT
        assert back.SOPInstanceUID == made.SOPInstanceUID
        assert back.get("PatientName") == made.get("PatientName")
        if "PixelData" in made:
            assert np.array_equal(back.pixel_array, made.pixel_array)


@pytest.mark.filterwarnings("ignore:Implicitly cleaning up:ResourceWarning")  # pydicom's FileSet
async def test_an_archive_with_a_directory(web: httpx.AsyncClient, two: list[Sample], tmp_path: Path):
    """PS3.12, V.1 and PS3.10, 8: `dicomdir=true` gives a file-set that other software takes for a disc."""
    bare = instance(study=two[0].study, StudyID="", SeriesNumber=None, InstanceNumber=None, PatientID="")
    assert (await store(web, bare)).status_code == 200
    address = f"/dicomweb/studies/{two[0].study}?accept=application/zip"
    plain, answer = await web.get(address), await web.get(f"{address}&dicomdir=true")
    assert plain.headers["etag"] != answer.headers["etag"]
    zipfile.ZipFile(io.BytesIO(answer.content)).extractall(tmp_path)
    found = FileSet(tmp_path / "DICOMDIR")
    found._stage["t"].cleanup()
    assert {each.SOPInstanceUID for each in found} == {each.sop for each in (*two, bare)}
    held = {each.sop: each.data for each in (*two, bare)}
    assert all(Path(each.path).read_bytes() == held[each.SOPInstanceUID] for each in found)
    assert (await web.get(f"{address}&dicomdir=perhaps")).status_code == 400


async def test_a_zip_that_cannot_be_made_does_not_begin(web: httpx.AsyncClient):
    """8.7.8, 8.5: 406 before the first byte where one frame cannot be put into the syntax named; as stored, all go."""
    whole = instance()
    broken = dcmread(io.BytesIO(instance(study=whole.study, InstanceNumber=2).data))
    broken.PixelData = encapsulate([b"\xff\x4f\xff\x51 is no more"])
    broken["PixelData"].VR = "OB"
    assert (await store(web, whole, written(broken, "1.2.840.10008.1.2.4.90"))).status_code in (200, 202)
    address = f"/dicomweb/studies/{whole.study}"
    refused = await web.get(f"{address}?accept=application/zip;transfer-syntax=1.2.840.10008.1.2.1")
    assert refused.status_code == 406
    assert refused.json()["error"]
    answer = await web.get(f"{address}?accept=application/zip")
    assert len(zipfile.ZipFile(io.BytesIO(answer.content)).namelist()) == 2
