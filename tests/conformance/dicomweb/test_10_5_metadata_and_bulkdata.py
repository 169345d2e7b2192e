"""DICOM PS3.18, 10.5.2: stores with metadata and bulk data apart."""

from __future__ import annotations

import io
import json
from typing import Any

import httpx
import pytest
from PIL import Image
from pydicom import dcmread
from pydicom.uid import generate_uid

from server.dicomweb.dicom_xml import to_xml

BOUNDARY = "apart"
PDF = b"%PDF-1.4 small"


def model(**more: Any) -> dict[str, Any]:
    return {
        "00080005": {"vr": "CS", "Value": ["ISO_IR 192"]},
        "00080016": {"vr": "UI", "Value": ["1.2.840.10008.5.1.4.1.1.104.1"]},
        "00080018": {"vr": "UI", "Value": [generate_uid()]},
        "00080060": {"vr": "CS", "Value": ["DOC"]},
        "00100010": {"vr": "PN", "Value": [{"Alphabetic": "Moor^Ada"}]},
        "0020000D": {"vr": "UI", "Value": [generate_uid()]},
        "0020000E": {"vr": "UI", "Value": [generate_uid()]},
        **more,
    }


def body(*parts: tuple[str, str, bytes]) -> bytes:
    pieces = [
        f"--{BOUNDARY}\r\nContent-Type: {kind}\r\nContent-Location: {location}\r\n\r\n".encode()
        + content
        + b"\r\n"
        for kind, location, content in parts
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--".encode()


async def post(web: httpx.AsyncClient, kind: str, *parts: tuple[str, str, bytes]) -> httpx.Response:
    headers = {"Content-Type": f'multipart/related; type="{kind}"; boundary={BOUNDARY}'}
    return await web.post("/dicomweb/studies", content=body(*parts), headers=headers)


async def stored(web: httpx.AsyncClient, answer: httpx.Response) -> Any:
    assert answer.status_code in (200, 202), answer.text
    url = answer.json()["00081199"]["Value"][0]["00081190"]["Value"][0]
    back = await web.get(url, headers={"Accept": "application/dicom; transfer-syntax=*"})
    return dcmread(io.BytesIO(back.content))


@pytest.mark.parametrize("kind", ["application/dicom+json", "application/dicom+xml"])
async def test_a_document(web: httpx.AsyncClient, kind: str):
    described = model(
        **{
            "00420011": {"vr": "OB", "BulkDataURI": "doc"},
            "00420012": {"vr": "LO", "Value": ["application/pdf"]},
        }
    )
    text = json.dumps([described]).encode() if kind.endswith("json") else to_xml(described)
    made = await stored(web, await post(web, kind, (kind, "", text), ("application/pdf", "doc", PDF)))
    assert made.EncapsulatedDocument == PDF
    assert made.PatientName == "Moor^Ada"


async def test_an_image(web: httpx.AsyncClient):
    """The media type of the part gives the transfer syntax."""
    out = io.BytesIO()
    Image.new("L", (8, 8), 128).save(out, "JPEG")
    pixels = {
        "00280002": {"vr": "US", "Value": [1]},
        "00280004": {"vr": "CS", "Value": ["MONOCHROME2"]},
        "00280010": {"vr": "US", "Value": [8]},
        "00280011": {"vr": "US", "Value": [8]},
        "00280100": {"vr": "US", "Value": [8]},
        "00280101": {"vr": "US", "Value": [8]},
        "00280102": {"vr": "US", "Value": [7]},
        "00280103": {"vr": "US", "Value": [0]},
        "7FE00010": {"vr": "OB", "BulkDataURI": "pixels"},
    }
    described = json.dumps([model(**pixels)]).encode()
    kind = "application/dicom+json"
    made = await stored(
        web, await post(web, kind, (kind, "", described), ("image/jpeg", "pixels", out.getvalue()))
    )
    assert made.file_meta.TransferSyntaxUID == "1.2.840.10008.1.2.4.50"
    assert abs(int(made.pixel_array[0, 0]) - 128) < 3


@pytest.mark.parametrize(
    ("mode", "format", "kind"), [("L", "JPEG", "image/jpeg"), ("RGB", "JPEG2000", "image/jp2")]
)
async def test_an_image_that_describes_itself(web: httpx.AsyncClient, mode: str, format: str, kind: str):
    """10.5.2.2: rows, columns and the rest may be left out where the compressed image tells them."""
    out = io.BytesIO()
    Image.new(mode, (12, 8), 128 if mode == "L" else (128, 64, 32)).save(out, format)
    described = model(**{"7FE00010": {"vr": "OB", "BulkDataURI": "cid:pixels"}})
    json_kind = "application/dicom+json"
    headers = {"Content-Type": f'multipart/related; type="{json_kind}"; boundary={BOUNDARY}'}
    pixels = body((kind, "", out.getvalue())).replace(b"Content-Location: ", b"Content-ID: <pixels>", 1)
    content = body((json_kind, "", json.dumps([described]).encode())).removesuffix(b"--apart--") + pixels
    answer = await web.post("/dicomweb/studies", content=content, headers=headers)
    assert answer.status_code == 202
    (reference,) = answer.json()["00081199"]["Value"]
    assert reference["00081196"]["Value"] == [0xB000]  # I.2.2: coercion, for they were put in
    assert "Rows" in reference["00000902"]["Value"][0]
    made = await stored(web, answer)
    assert (made.Rows, made.Columns, made.SamplesPerPixel) == (8, 12, 1 if mode == "L" else 3)
    uids = f"{made.StudyInstanceUID}/series/{made.SeriesInstanceUID}/instances/{made.SOPInstanceUID}"
    drawn = await web.get(f"/dicomweb/studies/{uids}/rendered", headers={"Accept": "image/png"})
    picture = Image.open(io.BytesIO(drawn.content))
    assert picture.size == (12, 8)


async def test_several_instances_and_a_video(web: httpx.AsyncClient):
    """Metadata of several instances first, then the bulk data of each."""
    film = model(**{"7FE00010": {"vr": "OB", "BulkDataURI": "film"}, "00280008": {"vr": "IS", "Value": [1]}})
    paper = model(
        **{
            "00420011": {"vr": "OB", "BulkDataURI": "http://x/doc"},
            "00420012": {"vr": "LO", "Value": ["application/pdf"]},
        }
    )
    kind = "application/dicom+json"
    answer = await post(
        web,
        kind,
        (kind, "", json.dumps([film, paper]).encode()),
        ("video/mp4", "film", b"\0\0\0\x18ftypmp42" + bytes(64)),
        ("application/pdf", "http://x/doc", PDF),
    )
    assert answer.status_code in (200, 202), answer.text
    assert len(answer.json()["00081199"]["Value"]) == 2


async def test_metadata_that_cannot_be(web: httpx.AsyncClient):
    kind = "application/dicom+json"
    for content, status in (
        (b"{", 400),
        (b"[1]", 400),
        (b"[]", 400),
        (b'[{"00080018": 5}]', 409),
        (b'[{"00080018": {"vr": "UI"}}]', 409),
    ):
        assert (await post(web, kind, (kind, "", content))).status_code == status, content


async def test_what_is_left_out_is_said(web: httpx.AsyncClient):
    """I.2.2: 0xB006, elements discarded: the file's own header is no part of a data set."""
    kind = "application/dicom+json"
    described = model(**{"00020016": {"vr": "AE", "Value": ["SCANNER"]}})
    answer = await post(web, kind, (kind, "", json.dumps([described]).encode()))
    assert answer.status_code == 202
    assert answer.json()["00081199"]["Value"][0]["00081196"]["Value"] == [0xB006]


async def test_what_cannot_be_composed_says_which_and_why(web: httpx.AsyncClient):
    """I.2: in FailedSOPSequence by its UIDs, with a sentence; the others are stored (10.5.1)."""
    kind = "application/dicom+json"
    described = [
        model(),
        model(**{"00420011": {"vr": "OB", "BulkDataURI": "elsewhere"}}),
        model(**{"00280010": {"vr": "US", "Value": ["many"]}}),
        {},
    ]
    answer = await post(web, kind, (kind, "", json.dumps(described).encode()))
    assert answer.status_code == 202
    said = answer.json()
    assert len(said["00081199"]["Value"]) == 1
    failed = said["00081198"]["Value"]
    assert [each["00081155"]["Value"] for each in failed] == [
        each["00080018"]["Value"] for each in described[1:3]
    ]
    assert [each["00081197"]["Value"][0] for each in failed] == [0xC000] * 2
    assert "Content-Location" in failed[0]["00000902"]["Value"][0]
    (nameless,) = said["0008119A"]["Value"]
    assert (nameless["00081197"]["Value"][0], "UID" in nameless["00000902"]["Value"][0]) == (0xC001, True)
    assert (await post(web, kind, (kind, "", json.dumps(described[1:2]).encode()))).status_code == 409


async def test_entities_are_refused(web: httpx.AsyncClient):
    kind = "application/dicom+xml"
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><NativeDicomModel>&a;</NativeDicomModel>'
    assert (await post(web, kind, (kind, "", bomb))).status_code == 400
