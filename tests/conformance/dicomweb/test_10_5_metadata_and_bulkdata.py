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
    ("content", "status"),
    [
        (b"{", 400),
        (b"[1]", 400),
        (b"[]", 400),
        (b'[{"00080018": 5}]', 409),
        (b'[{"00080018": {"vr": "UI"}}]', 409),
    ],
)
async def test_metadata_that_cannot_be(web: httpx.AsyncClient, content: bytes, status: int):
    kind = "application/dicom+json"
    assert (await post(web, kind, (kind, "", content))).status_code == status


async def test_bulk_data_that_are_missing(web: httpx.AsyncClient):
    kind = "application/dicom+json"
    described = json.dumps([model(**{"00420011": {"vr": "OB", "BulkDataURI": "elsewhere"}})]).encode()
    answer = await post(web, kind, (kind, "", described))
    assert answer.status_code == 409


async def test_entities_are_refused(web: httpx.AsyncClient):
    kind = "application/dicom+xml"
    bomb = b'<!DOCTYPE x [<!ENTITY a "aaaa">]><NativeDicomModel>&a;</NativeDicomModel>'
    assert (await post(web, kind, (kind, "", bomb))).status_code == 400
