"""Files beside images: taken from a form, kept byte for byte as FHIR Binaries, given back so that nothing in them runs.

FHIR R4, Attachment and Binary. What a file is, is told by its content, never by its name.
"""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from binascii import Error as NotBase64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import PurePath
from typing import Any
from urllib.parse import quote

import orjson
from starlette.responses import Response, StreamingResponse

from server.access.action import Action, Verb
from server.core.errors import Gone, NotFound
from server.core.texts import N_, translations
from server.imaging.contents import Content, content_of
from server.records import content, store
from server.records.references import target

from .forms import Form, Upload
from .pages import HEADERS, language_of
from .visit import Visit

Json = dict[str, Any]

BINARY_READ = Action("Binary", Verb.READ)
BINARY_CREATE = Action("Binary", Verb.CREATE)
BINARY_DELETE = Action("Binary", Verb.DELETE)

MOST_FILES = 10
MOST_TEXT = 100_000
TEXT = "text/plain; charset=utf-8"
SIGNATURES = (
    (b"%PDF-", "application/pdf"),
    (b"\xff\xd8\xff", "image/jpeg"),
    (b"\x89PNG\r\n\x1a\n", "image/png"),
    (b"II*\0", "image/tiff"),
    (b"MM\0*", "image/tiff"),
)
PICTURES = frozenset({"image/jpeg", "image/png", "image/tiff"})
NOT_A_REPORT = N_("Reports are PDF or text files. A photo of a paper belongs to a hard copy record.")
NOT_A_DOCUMENT = N_("This can be a PDF, a text, or a picture (JPEG, PNG, TIFF).")


@dataclass(frozen=True)
class Part:
    """One file to keep."""

    name: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class Attachment:
    """One part of a report: text to read here, or a file to take along."""

    number: int
    title: str
    content_type: str
    size: int | None
    text: str | None = None


def part_of(form: Form, upload: Upload, *, pictures: bool = False) -> Part:
    """A file of a form; marks the field `files` when it is of another kind than the page takes."""
    name = PurePath(upload.name.replace("\\", "/")).name[:200] or "file"
    kind = kind_of(upload.content)
    if kind is None or (kind in PICTURES and not pictures):
        form.wrong("files", NOT_A_DOCUMENT if pictures else NOT_A_REPORT)
    return Part(name, kind or "application/octet-stream", upload.content)


def kind_of(content: bytes) -> str | None:
    """The media type of what is taken here; None for anything else."""
    for start, kind in SIGNATURES:
        if content.startswith(start):
            return kind
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError:
        return None
    return TEXT if text and all(ord(each) >= 32 or each in "\t\n\r\f" for each in text) else None


@dataclass(frozen=True)
class Taken:
    """Files of a form as Binaries that are about to be stored, the large ones kept beside their rows already."""

    parts: list[tuple[Part, Json]]
    intake: content.Intake


@asynccontextmanager
async def taken(visit: Visit, parts: list[Part], *, patient_id: str) -> AsyncIterator[Taken]:
    """Room for the files, before the transaction that keeps them; nothing remains unless that is committed."""
    services = visit.services
    async with content.opened(services.db, services.objects, services.keyring) as intake:
        found = []
        for part in parts:
            binary: Json = {"resourceType": "Binary", "contentType": part.content_type}
            binary["securityContext"] = {"reference": f"Patient/{patient_id}"}
            binary["data"] = b64encode(part.content).decode()
            found.append((part, await intake.take(binary)))
        yield Taken(found, intake)


async def keep(visit: Visit, taken: Taken, *, patient_id: str, study_uid: str | None) -> list[Json]:
    """Each part as a Binary of its own; the attachments that lead to them. Inside the caller's transaction."""
    reach, db = await visit.reach(BINARY_CREATE), visit.services.db
    attachments: list[Json] = []
    for part, binary in taken.parts:
        kept = await store.create(
            db,
            binary,
            reach=reach,
            patient_id=patient_id,
            study_uid=study_uid,
            author=visit.actor.author,
            contents=taken.intake,
        )
        facts = {"contentType": part.content_type, "url": f"Binary/{kept.id}", "title": part.name}
        attachments.append(facts | {"size": len(part.content)})
    return attachments


async def drop(visit: Visit, attachments: list[Json]) -> None:
    """End the Binaries that these attachments lead to; one that is gone already is no obstacle."""
    reach = await visit.reach(BINARY_DELETE)
    for each in attachments:
        if (binary := _binary_of(each)) is None:
            continue
        with suppress(NotFound, Gone):
            await store.delete(visit.services.db, "Binary", binary, reach=reach, author=visit.actor.author)


async def attachment(visit: Visit, number: int, part: Json) -> Attachment:
    """An attachment for a page; a text is shown there and then."""
    gettext = translations(language_of(visit.request, visit.me)).gettext
    kind = str(part.get("contentType", "")).partition(";")[0]
    text = None
    if kind == "text/plain" and (found := await _content(visit, part)) is not None:
        head = b"".join([chunk async for chunk in found.chunks(0, min(found.size, 4 * MOST_TEXT))])
        text = head.decode("utf-8", "replace")[:MOST_TEXT]
    return Attachment(number, str(part.get("title") or gettext(N_("Document"))), kind, part.get("size"), text)


async def answer(visit: Visit, attachments: list[Json], number: int) -> Response:
    """One file as it was sent, to be saved and not to be run. Raises NotFound."""
    if number >= len(attachments):
        raise NotFound()
    part = attachments[number]
    found = await _content(visit, part)
    if found is None:
        raise NotFound()
    name = str(part.get("title") or f"file-{number + 1}")
    kind = str(part.get("contentType", "")).partition(";")[0]
    headers = {
        **HEADERS,
        "content-disposition": f"attachment; filename*=UTF-8''{quote(name, safe='')}",
        "content-security-policy": "sandbox; default-src 'none'",
    }
    known = kind if re.fullmatch(r"[\w.+-]+/[\w.+-]+", kind) else "application/octet-stream"
    headers["content-length"] = str(found.size)
    return StreamingResponse(found.chunks(), headers=headers, media_type=known)


async def _content(visit: Visit, part: Json) -> Content | None:
    """The content of an attachment: inside of it, or in a Binary of this server that is in reach."""
    services, data = visit.services, part.get("data")
    if isinstance(data, str):
        try:
            inline = b64decode(data)
        except (NotBase64, ValueError):
            return None
        return Content(services, len(inline), inline=inline)
    if (binary := _binary_of(part)) is None:
        return None
    reach = await visit.reach(BINARY_READ)
    stored = await store.read(services.db, "Binary", binary, reach=reach)
    return await content_of(services, orjson.loads(stored.json), reach=reach)


def _binary_of(part: Json) -> str | None:
    found = target(str(part.get("url", "")))
    return found.id if found is not None and found.type == "Binary" else None
