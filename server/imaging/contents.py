"""The content of a Binary, wherever it lies: in its row, in a pack, or inside of the DICOM object it came in.

FHIR R4, Binary. In parts, so that no more than a part is in memory.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from dataclasses import dataclass

from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import NotFound
from server.records.content import APART, QUERIES, mark_of, unmarked
from server.records.document import Json, dump, load_exact
from server.storage.crypto import Address
from server.storage.db import Record

from . import bulk, catalogue

ENCAPSULATED = "00420011"  # the file in an encapsulated document (PS3.3, C.24.2)
INLINE = 16 * 2**20  # bytes of content that an answer made in memory has room for
_PART = 3 << 18  # bytes, a multiple of three: base64 of the parts is base64 of the whole
_HERE = "3f1d0a5e-content-comes-here"
_APART = APART.encode()
_SUBSETTED = {"system": "http://terminology.hl7.org/CodeSystem/v3-ObservationValue", "code": "SUBSETTED"}


@dataclass(frozen=True)
class Content:
    """Some bytes, and how to have them."""

    services: Services
    size: int
    row: Record | None = None
    inline: bytes = b""

    async def chunks(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes start..stop. Raises NotFound when the DICOM object that held them is gone."""
        stop = self.size if stop is None else stop
        if self.row is None:
            yield self.inline[start:stop]
        elif self.row["sop_uid"] is not None:
            instance = await catalogue.held_instance(
                self.services.db, self.row["patient_id"], self.row["sop_uid"]
            )
            found = await bulk.find(self.services, instance, (ENCAPSULATED,))
            async for chunk in found.chunks(start, stop):
                yield chunk
        else:
            async for chunk in self.services.objects.stream(self._address(self.row), start, stop):
                yield chunk

    def _address(self, row: Record) -> Address:
        key = self.services.keyring.unwrap(row["patient_key"], row["wrapped_key"])
        return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)

    async def read(self) -> bytes:
        """All of it."""
        return b"".join([chunk async for chunk in self.chunks()])


def is_apart(json: bytes) -> bool:
    """Whether content may lie beside this resource: cheap, and to be asked of every resource that goes out."""
    return _APART in json


async def content_of(services: Services, binary: Json, *, reach: Reach) -> Content:
    """The content of a Binary as it is stored. Raises NotFound when it is not there for the caller."""
    if mark_of(binary) is None:
        return _inline(services, binary)
    values = {"type": "Binary", "id": binary["id"], "version": int(binary["meta"]["versionId"])}
    row = await services.db.fetch_one(QUERIES["content_of"], values, reach=reach.versions())
    if row is None:
        raise NotFound()
    return Content(services, row["size"], row)


def _inline(services: Services, binary: Json) -> Content:
    try:
        data = b64decode(str(binary.get("data", "")))
    except ValueError:
        data = b""
    return Content(services, len(data), inline=data)


async def filled(services: Services, json: bytes, *, reach: Reach, most: int = INLINE) -> bytes:
    """A resource with its content in it; without it, and tagged SUBSETTED, where that has more than `most` bytes."""
    if not is_apart(json):
        return json
    binary = load_exact(json)
    mark = mark_of(binary)
    if binary.get("resourceType") != "Binary" or mark is None:
        return json
    if mark.size > most:
        return _without(binary)
    try:
        content = await content_of(services, binary, reach=reach)
        return dump({**unmarked(binary), "data": b64encode(await content.read()).decode("ascii")})
    except NotFound:
        return _without(binary)


def _without(binary: Json) -> bytes:
    meta = binary.get("meta", {})
    return dump({**binary, "meta": {**meta, "tag": [*meta.get("tag", []), _SUBSETTED]}})


def around(binary: Json) -> Json:
    """The Binary with a word where its content goes, for `poured`."""
    return {**unmarked(binary), "data": _HERE}


async def poured(whole: bytes, content: Content) -> AsyncIterator[bytes]:
    """The text of a Binary (JSON or XML) made of `around`, with its content in base64, in parts."""
    before, _, after = whole.rpartition(_HERE.encode())
    yield before
    rest = b""
    async for chunk in content.chunks():
        rest += chunk
        while len(rest) >= _PART:
            yield b64encode(rest[:_PART])
            rest = rest[_PART:]
    yield b64encode(rest) + after
