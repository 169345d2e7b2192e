"""STOW-RS with metadata and bulk data apart: instances are composed here, and stored like any other.

DICOM PS3.18, 10.5.2 (request payload), 8.7.3.4 (DICOM JSON and XML), F.2.6 (BulkDataURI). The metadata come first;
the parts after them are named by their Content-Location. To compose, the parts are held in memory, so the request
is bounded: `MAX_BYTES`.
"""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import AsyncIterator, Mapping
from typing import Any

import orjson
from pydicom import Dataset
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from server.core.errors import InvalidInput, TooLarge
from server.core.media import MediaType

from .dicom_xml import from_xml
from .multipart import Part
from .representations import DICOM, OCTETS

MAX_METADATA = 64 * 2**20
MAX_BYTES = 512 * 2**20

# The transfer syntax of pixels that come as such a part, when the part does not name it (PS3.18, Table 8.7.3-5).
_SYNTAX_OF = {
    "image/jpeg": "1.2.840.10008.1.2.4.50",
    "image/jls": "1.2.840.10008.1.2.4.80",
    "image/jp2": "1.2.840.10008.1.2.4.90",
    "image/jphc": "1.2.840.10008.1.2.4.201",
    "image/dicom-rle": "1.2.840.10008.1.2.5",
    "video/mpeg": "1.2.840.10008.1.2.4.100",
    "video/mp4": "1.2.840.10008.1.2.4.102",
}
_PIXELS = "7FE00010"
_NATIVE = frozenset({str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)})

Json = Mapping[str, Any]


async def composed(parts: AsyncIterator[Part]) -> AsyncIterator[Part]:
    """The instances that the metadata describe; raises InvalidInput, TooLarge."""
    datasets: list[Json] = []
    bulk: dict[str, tuple[MediaType, bytes]] = {}
    total = 0
    async for part in parts:
        kind = part.media_type or MediaType(OCTETS)
        is_metadata = kind.name.endswith(("json", "xml"))
        content = await _read(part, (MAX_METADATA if is_metadata else MAX_BYTES) - total)
        total += len(content)
        if is_metadata:
            datasets += _datasets(kind, content)
        else:
            bulk[part.headers.get("content-location", "")] = (kind, content)
    for each in datasets:
        yield Part({"content-type": DICOM}, _once(await asyncio.to_thread(compose, each, bulk)))


async def _read(part: Part, most: int) -> bytes:
    content = bytearray()
    async for chunk in part:
        content += chunk
        if len(content) > most:
            raise TooLarge(
                "Metadata with bulk data may have 512 MiB in one request; send instances as files instead."
            )
    return bytes(content)


def _datasets(kind: MediaType, content: bytes) -> list[Json]:
    try:
        found = from_xml(content) if kind.name.endswith("xml") else orjson.loads(content)
    except (ValueError, RecursionError) as exc:
        raise InvalidInput("The metadata cannot be parsed.") from exc
    items: list[Any] = found if isinstance(found, list) else [found]
    if not all(isinstance(each, dict) for each in items):
        raise InvalidInput("The metadata are not DICOM JSON objects.")
    return items


def compose(model: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> bytes:
    """One instance as a file. What cannot be composed comes out as bytes that the store refuses with a reason."""
    try:
        syntax, pixels = _pixels(model, bulk)
        whole = {
            tag: _filled(element, bulk) for tag, element in model.items() if tag not in (_PIXELS, "00083002")
        }
        made = Dataset.from_json({tag: each for tag, each in whole.items() if not tag.startswith("0002")})
        if pixels is not None:
            native = syntax in _NATIVE
            made.add_new(0x7FE00010, "OW" if native else "OB", pixels if native else encapsulate([pixels]))
        made.file_meta = FileMetaDataset()
        made.file_meta.TransferSyntaxUID = syntax
        made.file_meta.MediaStorageSOPClassUID = made.get("SOPClassUID", "")
        made.file_meta.MediaStorageSOPInstanceUID = made.get("SOPInstanceUID", "")
        out = io.BytesIO()
        made.save_as(out, enforce_file_format=True)
        return out.getvalue()
    except Exception:  # pydicom raises what it likes on values of the wrong kind
        return b""


def _pixels(model: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> tuple[str, bytes | None]:
    """The transfer syntax of the composed object, and its pixels."""
    said = (model.get("00020010") or model.get("00083002") or {}).get("Value", [str(ExplicitVRLittleEndian)])[
        0
    ]
    element = model.get(_PIXELS)
    if element is None:
        return str(ExplicitVRLittleEndian), None
    if "InlineBinary" in element:
        return str(ExplicitVRLittleEndian), base64.b64decode(element["InlineBinary"])
    kind, content = bulk[element["BulkDataURI"]]
    default = _SYNTAX_OF.get(kind.name, str(said) if str(said) in _NATIVE else str(ExplicitVRLittleEndian))
    return kind.parameters.get("transfer-syntax", default), content


def _filled(element: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> Json:
    """The element with its bulk data inside."""
    if "BulkDataURI" in element:
        content = bulk[element["BulkDataURI"]][1]
        return {"vr": element["vr"], "InlineBinary": base64.b64encode(content).decode("ascii")}
    if element.get("vr") == "SQ":
        items = [
            {tag: _filled(each, bulk) for tag, each in item.items()} for item in element.get("Value", [])
        ]
        return {"vr": "SQ", "Value": items}
    return element


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
