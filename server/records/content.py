"""Content of a Binary, kept beside its row: sealed with the patient's key in a pack of the object store.

FHIR R4, Binary. A row holds a resource whole and is read whole; a film of two hundred megabytes belongs into the object
store, written while it arrives. Up to `IN_ROW` it stays where it is: a file and an fsync of its own would cost more
than they save, and a row is sealed with the same key in every backup of ours. In the place of `data` the row then has
a mark: an extension with the size and the SHA-256, so that a resource is still valid FHIR without its content.

    async with content.opened(db, objects, keyring) as intake:   # outside of any transaction
        resource = await intake.take(resource)                   # data -> object, mark
        async with db.transaction():
            await store.create(db, resource, ..., contents=intake)

Two steps, as for images (storage/packs.py): the pack is noted as pending before its file exists, and made ready in the
transaction of the version that names it.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode, b64encode
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Protocol

from server.core.errors import StorageUnavailable, TooLarge, Unprocessable
from server.storage import packs
from server.storage.crypto import Stored as Object
from server.storage.db import Database
from server.storage.keyring import KeyRing
from server.storage.objects import ObjectStore
from server.storage.sql import load
from server.storage.writer import Pack

from .document import Json

QUERIES = load(__package__, "content.sql")
IN_ROW = 32 * 1024  # bytes that stay in the row
APART = "urn:lightbox:content"
_NO_PACK: Json = {"pack_id": None, "object_id": None, "pack_offset": None, "wrapped_key": None}


@dataclass(frozen=True)
class Mark:
    """What a row says of content that lies beside it."""

    size: int
    sha256: str = ""  # hexadecimal; empty of what lies in a DICOM object


@dataclass(frozen=True)
class Place:
    """The version of a resource that some content belongs to."""

    patient_id: str
    type: str
    id: str
    version: int

    def values(self) -> Json:
        return {
            "patient_id": self.patient_id,
            "type": self.type,
            "id": self.id,
            "version": self.version,
        }


class Contents(Protocol):
    """Content that is there already, to be named by the row that is about to be written."""

    def has(self, mark: Mark) -> bool:
        """Whether this is the content that the mark means."""
        ...

    async def note(self, db: Database, place: Place, mark: Mark) -> None:
        """Bind it to a version, in the transaction that writes it."""
        ...

    def given_back(self, resource: Json) -> Json:
        """The resource with its content in it again. Raises Unprocessable where that is too large."""
        ...


def mark_of(resource: Json) -> Mark | None:
    """The mark in the place of a Binary's data."""
    if resource.get("resourceType") != "Binary" or "data" in resource:
        return None
    for each in _extensions(resource):
        if isinstance(each, dict) and each.get("url") == APART:
            return _read(each)
    return None


def _extensions(resource: Json) -> list[Any]:
    beside = resource.get("_data")
    found = beside.get("extension") if isinstance(beside, dict) else None
    return found if isinstance(found, list) else []


def _read(extension: Json) -> Mark | None:
    parts = extension.get("extension")
    said = (
        {each.get("url"): each for each in parts if isinstance(each, dict)} if isinstance(parts, list) else {}
    )
    size, sha256 = said.get("size", {}).get("valueDecimal"), said.get("sha256", {}).get("valueString", "")
    if isinstance(size, bool) or not isinstance(size, int | float) or not isinstance(sha256, str):
        return None
    return Mark(int(size), sha256) if 0 <= size < 2**53 else None


def marked(resource: Json, mark: Mark) -> Json:
    """The resource with the mark instead of its data."""
    rest = {name: value for name, value in unmarked(resource).items() if name != "data"}
    parts: list[Json] = [{"url": "size", "valueDecimal": mark.size}]
    if mark.sha256:
        parts.append({"url": "sha256", "valueString": mark.sha256})
    beside = rest.get("_data")
    beside = beside if isinstance(beside, dict) else {}
    return {
        **rest,
        "_data": {**beside, "extension": [*_extensions(rest), {"url": APART, "extension": parts}]},
    }


def unmarked(resource: Json) -> Json:
    """The resource without any mark: what a client says of content is not believed."""
    if resource.get("resourceType") != "Binary":
        return resource
    found = _extensions(resource)
    others = [each for each in found if not (isinstance(each, dict) and each.get("url") == APART)]
    if len(others) == len(found):
        return resource
    beside = {name: value for name, value in resource["_data"].items() if name != "extension"}
    if others:
        beside["extension"] = others
    rest = {name: value for name, value in resource.items() if name != "_data"}
    return {**rest, "_data": beside} if beside else rest


@dataclass(frozen=True)
class _Kept:
    """An object of the pack; `data` as it came in base64, where it did."""

    object: Object
    data: str | None = None


class Intake:
    """What one request brings: written into a pack of its own, which is opened with the first of it."""

    def __init__(self, db: Database, objects: ObjectStore, keyring: KeyRing, stack: AsyncExitStack) -> None:
        self._db = db
        self._objects = objects
        self._keyring = keyring
        self._stack = stack
        self._pack: Pack | None = None
        self._kept: dict[Mark, _Kept] = {}

    async def take(self, resource: Json) -> Json:
        """A Binary with its data beside it, where they are large; everything else as it is."""
        data = resource.get("data")
        if (
            resource.get("resourceType") != "Binary"
            or not isinstance(data, str)
            or len(data) <= IN_ROW * 4 // 3
        ):
            return resource
        content = await asyncio.to_thread(_decoded, data)
        if content is None:  # spelled in a way of its own, or wrong: as it was sent, or for validation to say
            return resource
        return marked(resource, await self._keep(_once(content), data))

    async def receive(self, chunks: AsyncIterator[bytes], *, most: int) -> bytes | Mark:
        """Content as it arrives: its bytes when they are few, else what it was kept as. Raises TooLarge."""
        head = bytearray()
        async for chunk in chunks:
            head += chunk
            if len(head) > IN_ROW:
                return await self._keep(_bounded(bytes(head), chunks, most))
        return bytes(head)

    async def _keep(self, chunks: AsyncIterator[bytes], data: str | None = None) -> Mark:
        if self._pack is None:
            self._pack = await self._stack.enter_async_context(packs.opened(self._db, self._objects))
        writer = await self._pack.begin()
        async for chunk in chunks:
            await writer.write(chunk)
        found = await writer.finish()
        mark = Mark(found.address.size, found.sha256.hex())
        self._kept[mark] = _Kept(found, data)
        return mark

    def has(self, mark: Mark) -> bool:
        return mark in self._kept

    def given_back(self, resource: Json) -> Json:
        mark, plain = mark_of(resource), unmarked(resource)
        if mark not in self._kept:
            return plain
        if self._kept[mark].data is None:
            raise Unprocessable("Content of this size must say whose it is.")
        return {**plain, "data": self._kept[mark].data}

    async def note(self, db: Database, place: Place, mark: Mark) -> None:
        kept = self._kept[mark].object
        wrapped = await db.fetch_val(QUERIES["patient_key"], {"patient_id": place.patient_id})
        if wrapped is None or self._pack is None:  # being erased
            raise StorageUnavailable()
        at = kept.address
        values = {
            "size": at.size,
            "sha256": kept.sha256,
            "sop_uid": None,
            "pack_id": at.pack_id,
            "object_id": at.object_id,
            "pack_offset": at.offset,
            "wrapped_key": self._keyring.wrap(wrapped, at.key),
        }
        await db.execute(QUERIES["add_content"], {**place.values(), **values})
        if await db.fetch_val(QUERIES["pack_state"], {"id": self._pack.id}) != "ready":
            await packs.ready(db, self._pack)


@asynccontextmanager
async def opened(db: Database, objects: ObjectStore, keyring: KeyRing) -> AsyncIterator[Intake]:
    """Room for what a request brings; nothing remains of what no version came to name. Outside of transactions."""
    async with AsyncExitStack() as stack:
        yield Intake(db, objects, keyring, stack)


@dataclass(frozen=True)
class InInstance:
    """Content that a DICOM object holds: read from there, and gone with it."""

    sop_uid: str
    size: int

    @property
    def mark(self) -> Mark:
        return Mark(self.size)

    def has(self, mark: Mark) -> bool:
        return mark == self.mark

    def given_back(self, resource: Json) -> Json:
        return unmarked(resource)

    async def note(self, db: Database, place: Place, mark: Mark) -> None:
        values = {**_NO_PACK, "size": self.size, "sha256": b"", "sop_uid": self.sop_uid}
        await db.execute(QUERIES["add_content"], {**place.values(), **values})


async def settled(db: Database, resource: Json, contents: Contents | None, before: Place | None) -> Json:
    """The resource as it may be stored: with a mark only where there is such content, given now or kept from before."""
    mark = mark_of(resource)
    if mark is None or (contents is not None and contents.has(mark)):
        return resource if mark is not None else unmarked(resource)
    if before is not None and await _has(db, before, mark):
        return resource
    return unmarked(resource)


async def noted(
    db: Database, resource: Json, contents: Contents | None, place: Place, before: int | None = None
) -> None:
    """Bind the content of a version that was just written: what came with it, or what the version before had."""
    mark = mark_of(resource)
    if mark is None:
        return
    if contents is not None and contents.has(mark):
        await contents.note(db, place, mark)
    elif before is not None:
        values = place.values() | {"version": before, "to": place.version}
        await db.execute(QUERIES["carry_content"], values)


async def _has(db: Database, place: Place, mark: Mark) -> bool:
    values = {**place.values(), "sha256": mark.sha256, "size": mark.size}
    return bool(await db.fetch_val(QUERIES["has_content"], values))


def _decoded(data: str) -> bytes | None:
    """The bytes, if they are written as we would write them: else what is served would not be what was sent."""
    try:
        content = b64decode(data, validate=True)
    except ValueError:
        return None
    return content if b64encode(content).decode("ascii") == data else None


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


async def _bounded(head: bytes, rest: AsyncIterator[bytes], most: int) -> AsyncIterator[bytes]:
    size, chunk = 0, head
    while chunk:
        size += len(chunk)
        if size > most:
            raise TooLarge(f"The content is larger than {most} bytes.")
        yield chunk
        chunk = await _next(rest)


async def _next(chunks: AsyncIterator[bytes]) -> bytes:
    """The next bytes that are any; none at the end."""
    async for chunk in chunks:
        if chunk:
            return chunk
    return b""
