"""STOW-RS with metadata and bulk data apart: instances are composed here, and stored like any other.

DICOM PS3.18, 10.5.2 (request payload), 8.7.3.4 (DICOM JSON and XML), F.2.6 (BulkDataURI). The metadata come first;
the parts after them are named by their Content-Location. To compose, the parts are held in memory, so the request
is bounded: `MAX_BYTES`.
"""

from __future__ import annotations

import asyncio
import base64
import io
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson
from PIL import Image
from pydicom import Dataset
from pydicom.datadict import keyword_for_tag
from pydicom.dataset import FileMetaDataset
from pydicom.encaps import encapsulate
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from server.core.errors import InvalidInput, TooLarge
from server.core.media import MediaType
from server.imaging.report import Failure, FailureReason, WarningReason
from server.imaging.transfer_syntax import media_type

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
# Of the process that a JPEG stream is of: baseline, extended, lossless.
_JPEG_OF = {0xC0: "1.2.840.10008.1.2.4.50", 0xC1: "1.2.840.10008.1.2.4.51", 0xC3: "1.2.840.10008.1.2.4.70"}
_PIXELS = "7FE00010"
_NATIVE = frozenset({str(ExplicitVRLittleEndian), str(ImplicitVRLittleEndian)})

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Note:
    """What was done to an instance while it was composed (PS3.18, I.2.2)."""

    reason: WarningReason
    comment: str


@dataclass
class Remarks:
    """What is to be said of instances that were composed, or could not be."""

    notes: dict[str, Note] = field(default_factory=dict)  # by SOP Instance UID
    failed: list[Failure] = field(default_factory=list)


class NotComposed(InvalidInput):
    """These metadata do not make an instance."""


async def composed(parts: AsyncIterator[Part], remarks: Remarks) -> AsyncIterator[Part]:
    """The instances that the metadata describe; what was changed, and what cannot be, is remarked.

    Raises InvalidInput, TooLarge.
    """
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
            for name in _names(part):
                bulk[name] = (kind, content)
    for each in datasets:
        try:
            content = await asyncio.to_thread(compose, each, bulk, remarks.notes)
        except NotComposed as error:
            uids = _uid(each, "00080016"), _uid(each, "00080018")
            reason = FailureReason.CANNOT_UNDERSTAND if uids[1] else FailureReason.NO_IDENTIFIER
            remarks.failed.append(Failure(*uids, reason, str(error)))
        else:
            yield Part({"content-type": DICOM}, _once(content))


def _uid(model: Json, tag: str) -> str | None:
    """A UID that the metadata have; None where it is none."""
    try:
        uid = model[tag]["Value"][0]
    except (KeyError, IndexError, TypeError):
        return None
    return uid if isinstance(uid, str) and len(uid) <= 64 and re.fullmatch(r"[0-9.]+", uid) else None


def _names(part: Part) -> list[str]:
    """What a BulkDataURI may call the part: its Content-Location, or `cid:` and its Content-ID (RFC 2392)."""
    names = [part.headers.get("content-location", "")]
    if content_id := part.headers.get("content-id", "").strip("<>"):
        names.append(f"cid:{content_id}")
    return names


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


def compose(
    model: Json, bulk: Mapping[str, tuple[MediaType, bytes]], notes: dict[str, Note] | None = None
) -> bytes:
    """One instance as a file. Raises NotComposed."""
    if _uid(model, "00080016") is None or _uid(model, "00080018") is None:
        raise NotComposed("The metadata have no SOP Class UID, or no SOP Instance UID.")
    try:
        syntax, pixels, derived = _pixels(model, bulk)
        whole = {**derived} | {
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
        if notes is not None and (note := _noted(model, derived)):
            notes[str(made.get("SOPInstanceUID", ""))] = note
        return out.getvalue()
    except NotComposed:
        raise
    except Exception as error:  # pydicom and Pillow raise what they like on values of the wrong kind
        raise NotComposed("A value in these metadata is not one that its attribute can have.") from error


def _noted(model: Json, derived: Json) -> Note | None:
    """Attributes of the file's own header are left out of a data set; those that an image tells itself are put in."""
    if added := [keyword_for_tag(int(tag, 16)) for tag in derived if tag not in model]:
        return Note(WarningReason.COERCED, f"taken from the image itself: {', '.join(added)}")
    if dropped := [tag for tag in model if tag.startswith("0002") and tag != "00020010"]:
        return Note(WarningReason.DISCARDED, f"no part of a data set, and left out: {', '.join(dropped)}")
    return None


def _pixels(model: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> tuple[str, bytes | None, Json]:
    """The transfer syntax of the composed object, its pixels, and what their own header says of them."""
    native = str(ExplicitVRLittleEndian)
    element = model.get(_PIXELS)
    if element is None:
        return native, None, {}
    if "InlineBinary" in element:
        return native, base64.b64decode(element["InlineBinary"]), {}
    kind, content = _part_of(element, bulk)
    derived = _described(content) if kind.name.startswith("image/") else {}
    return _syntax(model, kind, content), content, derived


def _syntax(model: Json, kind: MediaType, content: bytes) -> str:
    """As the part says; else as the metadata say where that is of its kind; else the usual one of its media type."""
    if said := kind.parameters.get("transfer-syntax"):
        return said
    element = model.get("00083002") or model.get("00020010") or {}
    said = str((element.get("Value") or [""])[0])
    if kind.name not in _SYNTAX_OF:
        return said if said in _NATIVE else str(ExplicitVRLittleEndian)
    if media_type(said) == kind.name:
        return said
    return (
        _JPEG_OF.get(_frame_marker(content), _SYNTAX_OF[kind.name])
        if kind.name == "image/jpeg"
        else (_SYNTAX_OF[kind.name])
    )


def _frame_marker(content: bytes) -> int:
    """The start-of-frame marker of a JPEG stream, which tells its process (ISO 10918-1, B.2.2); 0 without one."""
    at = 2
    while at + 4 <= len(content) and content[at] == 0xFF:
        marker = content[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return marker
        at += 2 + int.from_bytes(content[at + 2 : at + 4], "big")
    return 0


def _described(content: bytes) -> Json:
    """The Image Pixel Description that a compressed image tells itself: a sender may leave it out (10.5.2.2)."""
    try:
        with Image.open(io.BytesIO(content)) as picture:
            (columns, rows), mode, is_jpeg = picture.size, picture.mode, picture.format == "JPEG"
    except (OSError, ValueError, Image.DecompressionBombError):
        return {}  # JPEG-LS, RLE: what the metadata say has to do
    colour, bits = mode not in ("L", "I;16", "1"), 16 if mode == "I;16" else 8
    described: dict[str, tuple[str, int | str]] = {
        "00280002": ("US", 3 if colour else 1),
        "00280004": ("CS", ("YBR_FULL_422" if is_jpeg else "RGB") if colour else "MONOCHROME2"),
        "00280010": ("US", rows),
        "00280011": ("US", columns),
        "00280100": ("US", bits),
        "00280101": ("US", bits),
        "00280102": ("US", bits - 1),
        "00280103": ("US", 0),
    }
    if colour:
        described["00280006"] = ("US", 0)
    return {tag: {"vr": vr, "Value": [value]} for tag, (vr, value) in described.items()}


def _filled(element: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> Json:
    """The element with its bulk data inside."""
    if "BulkDataURI" in element:
        content = _part_of(element, bulk)[1]
        return {"vr": element["vr"], "InlineBinary": base64.b64encode(content).decode("ascii")}
    if element.get("vr") == "SQ":
        items = [
            {tag: _filled(each, bulk) for tag, each in item.items()} for item in element.get("Value", [])
        ]
        return {"vr": "SQ", "Value": items}
    return element


def _part_of(element: Json, bulk: Mapping[str, tuple[MediaType, bytes]]) -> tuple[MediaType, bytes]:
    try:
        return bulk[element["BulkDataURI"]]
    except KeyError as error:
        raise NotComposed("A BulkDataURI in these metadata is the Content-Location of no part.") from error


async def _once(content: bytes) -> AsyncIterator[bytes]:
    if content:
        yield content
