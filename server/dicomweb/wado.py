"""WADO-RS: retrieve studies, series and instances.

DICOM PS3.18, 10.4 (Retrieve Transaction). Nobody gets a part for the whole: all rows are found before the first
byte goes, and an object that cannot be read cuts the answer off.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Right
from server.core.errors import Conflict, InvalidInput, NotAcceptable, NotFound
from server.core.media import not_acceptable
from server.core.ranges import byte_range, range_headers
from server.imaging import catalogue
from server.imaging.catalogue import InstanceRow, address_of
from server.imaging.transcode import COMPRESSED, TARGETS
from server.storage.where import TRUE, Where

from . import multipart, trail
from .archive import Member, members_with_directory, zipped
from .conditional import CACHING, etag, last_modified, not_modified
from .metadata import TWICE, retrieve_metadata
from .multipart import OutPart
from .objects import Sending, sendings
from .representations import AS_STORED, DICOM, Wish, refused, wishes
from .streamed import streamed
from .urls import accept_of, patient_of, root_of, services_of, uids_of

ZIP = "application/zip"
_JSON = ("application/dicom+json", "application/json", "application/dicom+xml")
SMALL = 4 * 2**20  # bytes: an answer of so much is made whole


class Form(Enum):
    """What the answer is."""

    PARTS = auto()  # multipart/related
    SINGLE = auto()  # application/dicom
    ARCHIVE = auto()  # application/zip
    METADATA = auto()


@dataclass(frozen=True)
class Chosen:
    """A form that is acceptable, and the transfer syntax in it (None: the default, "*": as stored)."""

    form: Form
    transfer_syntax: str | None


@lru_cache(maxsize=512)
def forms(accept: str | None, *, one: bool) -> tuple[Chosen, ...]:
    """What could be answered, the most wanted first; `one`: the address is that of an instance."""
    never = refused(accept)
    chosen = [_form(wish, one=one) for wish in wishes(accept)]
    return tuple(
        each for each in chosen if each and not (each.form in (Form.PARTS, Form.SINGLE) and DICOM in never)
    )


def _form(wish: Wish, *, one: bool) -> Chosen | None:
    if wish.type.name in _JSON:
        return Chosen(Form.METADATA, None)
    if wish.multipart:
        return Chosen(Form.PARTS, wish.transfer_syntax) if wish.covers(DICOM) else None
    if one and wish.covers(DICOM):
        return Chosen(Form.SINGLE, wish.transfer_syntax)
    return Chosen(Form.ARCHIVE, wish.transfer_syntax or AS_STORED) if wish.covers(ZIP) else None


async def retrieve(request: Request) -> Response:
    """`GET` of a study, a series or an instance (PS3.18, 10.4.1.1.1)."""
    one = "instance" in request.path_params
    acceptable = forms(accept_of(request), one=one)
    if acceptable and acceptable[0].form is Form.METADATA:
        return await retrieve_metadata(request)
    rows = await rows_of(request, Right.DOWNLOAD)
    if not acceptable:
        raise not_acceptable(_offers(one=one))
    chosen, sending = await _first_that_can_be_made(acceptable, rows, request)
    directory = chosen.form is Form.ARCHIVE and _wants_directory(request)
    tag = etag(*(each.etag for each in sending), chosen.form, directory)
    await _noted(request, rows, one=one)
    if (answer := not_modified(request, tag, rows[0].created_at if one else None)) is not None:
        return answer
    match chosen.form:
        case Form.SINGLE:
            return await single_part(request, sending[0], tag)
        case Form.ARCHIVE:
            return await _archive(request, sending, tag, directory=directory)
        case _:
            return await _parts(request, sending, tag)


async def rows_of(
    request: Request,
    right: Right,
    *,
    of: tuple[str, str | None, str | None] | None = None,
    frames: tuple[int, int] | None = None,
    metadata: bool = False,
    match: Where = TRUE,
    limit: int = catalogue.ALL,
) -> list[InstanceRow]:
    """The instances that the address (or `of`) names, of one patient; those of them that `match`.

    Raises NotFound when none is in reach, Conflict when they are of two patients.
    """
    services = services_of(request)
    reach = await services.gate.reach_for(
        request, STUDY_READ, patient_id=patient_of(request), right=right, lazily=True
    )
    uids = of or uids_of(request)
    rows = await catalogue.instances_of(
        services.db, *uids, reach=reach, frames=frames, metadata=metadata, match=match, limit=limit
    )
    if not rows:
        await services.gate.confirm(request)
        raise NotFound()
    if rows[0].patient_id != rows[-1].patient_id:  # ordered by patient
        raise Conflict(TWICE)
    return rows


async def _first_that_can_be_made(
    acceptable: Sequence[Chosen], rows: Sequence[InstanceRow], request: Request
) -> tuple[Chosen, list[Sending]]:
    """The most wanted form that every instance can be sent in (decision 15: a named syntax, or 406)."""
    services = services_of(request)
    for chosen in acceptable:
        if chosen.form is Form.METADATA:
            continue
        # What is wanted most first; each instance may go out in another of those that the caller takes.
        same = [each.transfer_syntax for each in acceptable if each.form is chosen.form]
        sending = await sendings(services, rows, [chosen.transfer_syntax, *same])
        if sending is not None:
            return chosen, sending
    held = ", ".join(sorted({row.transfer_syntax for row in rows}))
    others = ""
    if len(rows) == 1:
        made = [each for each in (*TARGETS, *sorted(COMPRESSED)) if await sendings(services, rows, [each])]
        others = f" These can: {', '.join(made)}." if made else ""
    raise NotAcceptable(f"The transfer syntax asked for cannot be made of what is held here: {held}.{others}")


def _offers(*, one: bool) -> list[str]:
    offers = [f'multipart/related; type="{DICOM}"', ZIP, *_JSON[:2]]
    return [*offers, DICOM] if one else offers


async def _noted(request: Request, rows: Sequence[InstanceRow], *, one: bool) -> None:
    patient_id, study_uid = rows[0].patient_id, rows[0].study_uid
    if one:
        await trail.taken(request, patient_id, study_uid)
    else:
        await trail.downloaded(request, patient_id, study_uid, len(rows))


async def single_part(request: Request, sending: Sending, tag: str) -> Response:
    """One instance without multipart; a stretch of it when it is sent as it is stored."""
    headers = {
        "ETag": tag,
        **last_modified(sending.row.created_at),
        "Content-Disposition": f'attachment; filename="{sending.row.sop_uid}.dcm"',
    }
    sending, chunks = await sending.begun()
    if sending.size is None:
        return streamed(request, chunks, sending.media_type, headers=headers)
    part = byte_range(request, sending.size, tag)
    start, stop = part or (0, sending.size)
    headers |= range_headers(part, sending.size)
    if part is not None:
        services = services_of(request)
        chunks = services.objects.stream(address_of(services, sending.row), start, stop)
    status = 200 if part is None else 206
    if stop - start > SMALL or request.method == "HEAD":
        return streamed(
            request, chunks, sending.media_type, size=stop - start, status=status, headers=headers
        )
    body = b"".join([chunk async for chunk in chunks])
    return Response(body, status, headers={**CACHING, **headers, "Content-Type": sending.media_type})


async def _parts(request: Request, sending: Sequence[Sending], tag: str) -> Response:
    """multipart/related, with a Content-Length where nothing is made on the way."""
    boundary, root = multipart.new_boundary(), root_of(request)
    content_type = multipart.content_type(DICOM, boundary)

    def part(each: Sending, chunks: AsyncIterator[bytes]) -> OutPart:
        location = root.of_patient(each.row.patient_id, *each.uids)
        return OutPart(each.media_type, each.size, chunks, location)

    if len(sending) > 1 and not all(each.is_as_stored for each in sending):
        first = part(*await sending[0].begun())

        async def made() -> AsyncIterator[OutPart]:
            yield first
            for each in sending[1:]:
                yield part(*await each.begun())

        return streamed(request, multipart.write_parts(made(), boundary), content_type, headers={"ETag": tag})
    if len(sending) == 1:
        parts = [part(*await sending[0].begun())]
    else:
        parts = [part(each, each.chunks()) for each in sending]
    size = multipart.total_size(parts, boundary)
    chunks = multipart.write_parts(parts, boundary)
    if size is None or size > SMALL or request.method == "HEAD":
        return streamed(request, chunks, content_type, size=size, headers={"ETag": tag})
    body = b"".join([chunk async for chunk in chunks])
    return Response(body, headers={**CACHING, "ETag": tag, "Content-Type": content_type})


def _wants_directory(request: Request) -> bool:
    """Whether the archive is to be a file-set with DICOMDIR: `dicomdir=true`, a parameter of ours and of others."""
    asked = request.query_params.get("dicomdir", "false").lower()
    if asked not in ("true", "false"):
        raise InvalidInput("dicomdir wants true or false.")
    return asked == "true"


async def _archive(request: Request, sending: Sequence[Sending], tag: str, *, directory: bool) -> Response:
    """application/zip (PS3.18, 8.7.3.3.2)."""
    row = sending[0].row

    def members() -> list[Member]:
        return [("/".join(each.uids[1:]) + ".dcm", each.chunks()) for each in sending]

    headers = {"ETag": tag, "Content-Disposition": f'attachment; filename="{row.study_uid}.zip"'}
    if request.method != "HEAD":
        for each in sending:  # a file that breaks off half-way is none: 406 comes before the first byte
            await each.tried()
    if not directory:
        return streamed(request, zipped(members()), ZIP, headers=headers)
    services = services_of(request)
    reach = await services.gate.reach_for(
        request, STUDY_READ, patient_id=row.patient_id, right=Right.DOWNLOAD, lazily=True
    )
    files = members_with_directory(services, sending, reach=reach)
    return streamed(request, zipped(files), ZIP, headers=headers)
