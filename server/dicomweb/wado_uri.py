"""WADO-URI: one object, named in the query string.

DICOM PS3.18, 9 (URI Service): `/wado?requestType=WADO&studyUID=…&seriesUID=…&objectUID=…`. The same objects, rights
and pictures as WADO-RS; only the way of asking is older.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Right
from server.core.errors import InvalidInput, NotAcceptable
from server.core.media import best, not_acceptable
from server.imaging import render
from server.imaging.catalogue import InstanceRow
from server.imaging.frames import has_frames
from server.imaging.render import Look
from server.imaging.sr_text import is_report

from . import trail
from .conditional import content_answer, etag, last_modified, not_modified
from .objects import sendings
from .rendered_blends import Picture
from .rendered_params import MAX_SIDE, annotation, window
from .rendered_params import quality as quality_of
from .rendered_reports import words_as, writers_of
from .rendered_states import look_by_state, seen, tag_of, whole
from .representations import DICOM
from .urls import is_identifier, services_of
from .wado import rows_of, single_part
from .wado_rendered import FORMATS

_STATE = ("presentationSeriesUID", "presentationUID")


async def retrieve(request: Request) -> Response:
    """`GET /wado`"""
    # Who asks comes before what is asked: without a credential the answer is 401, whatever the query says.
    await services_of(request).gate.reach_for(request, STUDY_READ, right=Right.IMAGES, lazily=True)
    asked = request.query_params
    uids = _uids(asked)
    # The right to look is asked first; files need the right to download besides (decision 4).
    (row,) = await rows_of(request, Right.IMAGES, of=uids)
    words = () if has_frames(row) else tuple(writers_of(row))
    others = [*words, DICOM] if is_report(row.sop_class) else [DICOM, *words]
    offers = [*FORMATS, DICOM] if has_frames(row) else others
    name = _chosen(asked.get("contentType"), request.headers.get("accept"), offers)
    if name == DICOM:
        return await _file(request, uids, asked.get("transferSyntax"))
    if name in words:
        (row,) = await rows_of(request, Right.IMAGES, of=uids, metadata=True)
        return await words_as(request, row, name)
    return await _picture(request, uids, name, asked)


def _uids(asked: Mapping[str, str]) -> tuple[str, str, str]:
    """Raises InvalidInput for what 9.1.2.1 demands and is not there."""
    if asked.get("requestType", "").upper() != "WADO":
        raise InvalidInput("requestType wants the value WADO.")
    if asked.get("anonymize", "no") not in ("", "no"):
        raise InvalidInput("anonymize is not supported.")
    uids = [asked.get(name, "") for name in ("studyUID", "seriesUID", "objectUID")]
    if not all(map(is_identifier, uids)):
        raise InvalidInput("studyUID, seriesUID and objectUID are needed.")
    return uids[0], uids[1], uids[2]


def _chosen(wanted: str | None, accept: str | None, offers: list[str]) -> str:
    """contentType, else what the header takes; the first of the offers is the default, and the first among equals.

    Raises NotAcceptable for a contentType that cannot be had. A header alone does not: what a page's image asks for
    names types of its browser, and gets the default (RFC 9110, 12.5.1 leaves that to us).
    """
    if wanted:
        return best(wanted, offers)
    try:
        return best(accept, offers)
    except NotAcceptable:
        return offers[0]


async def _file(request: Request, uids: tuple[str, str, str], transfer_syntax: str | None) -> Response:
    """9.1.2.2.2: in the transfer syntax that is named, or in Explicit VR Little Endian where that cannot be made."""
    rows = await rows_of(request, Right.DOWNLOAD, of=uids)
    sending = await sendings(services_of(request), rows, [transfer_syntax or None, None])
    if sending is None:
        raise not_acceptable([f"{DICOM}; transfer-syntax={rows[0].transfer_syntax}"])
    tag = etag(*(each.etag for each in sending), "uri")
    await trail.taken(request, rows[0].patient_id, rows[0].study_uid)
    return not_modified(request, tag, rows[0].created_at) or await single_part(request, sending[0], tag)


async def _picture(
    request: Request, uids: tuple[str, str, str], name: str, asked: Mapping[str, str]
) -> Response:
    number = _whole(asked, "frameNumber", 1, 2**31 - 1) or 1
    look = _look(asked, FORMATS[name])
    (row,) = await rows_of(request, Right.IMAGES, of=uids, frames=(number, number), metadata=True)
    if number > row.frame_count:  # 9.5.2.1
        raise InvalidInput(f"frameNumber names none of the {row.frame_count} frames of this instance.")
    await trail.viewed(request, row.patient_id, row.study_uid)
    look = _with_region(look, asked, row)
    picture = Picture(row, number, look)
    tag = etag(row.sha256, number, look)
    stored: datetime | None = row.created_at
    if any(asked.get(name) for name in _STATE):
        picture, state = await _by_state(request, uids[0], asked, picture)
        await seen(request, [picture])
        tag, stored = tag_of([picture], state), None
    if (answer := not_modified(request, tag, stored)) is not None:
        return answer
    image = await render.rendered(services_of(request), *await whole(request, picture))
    return content_answer(request, image, name, tag, last_modified(stored) if stored else None)


async def _by_state(
    request: Request, study_uid: str, asked: Mapping[str, str], picture: Picture
) -> tuple[Picture, bytes]:
    """9.1.2.2.3: both UIDs name the state; the window and the region are its own then."""
    series_uid, state_uid = (asked.get(name, "") for name in _STATE)
    if not (is_identifier(series_uid) and is_identifier(state_uid)):
        raise InvalidInput("presentationSeriesUID and presentationUID come together.")
    if picture.look.center is not None or picture.look.region is not None:
        raise InvalidInput("A presentation state says itself how it is windowed and what part is seen.")
    return await look_by_state(request, study_uid, series_uid, state_uid, picture)


def _look(asked: Mapping[str, str], format: str) -> Look:
    """9.1.2.2.3: rows and columns bound the picture; center and width of the window come together."""
    rows, columns = _whole(asked, "rows", 1, MAX_SIDE), _whole(asked, "columns", 1, MAX_SIDE)
    look = Look(format=format)
    if rows or columns:
        look = Look(format=format, width=columns or MAX_SIDE, height=rows or MAX_SIDE)
    if asked.get("windowCenter") or asked.get("windowWidth"):
        wanted = "windowCenter and windowWidth want two numbers, the width 1 or more."
        found = window(asked.get("windowCenter", ""), asked.get("windowWidth", ""), "linear", wanted)
        look = replace(look, center=found.center, window=found.width)
    if asked.get("imageQuality"):
        look = replace(look, quality=quality_of(asked["imageQuality"]))
    return replace(look, annotation=tuple(sorted(annotation(asked.get("annotation", "")))))


def _with_region(look: Look, asked: Mapping[str, str], row: InstanceRow) -> Look:
    """9.1.2.2.3.5: xmin,ymin,xmax,ymax as parts of the image's width and height."""
    text = asked.get("region")
    if not text:
        return look
    wanted = "region wants xmin,ymin,xmax,ymax from 0.0 to 1.0."
    try:
        left, top, right, bottom = (float(part) for part in text.split(","))
    except ValueError as error:
        raise InvalidInput(wanted) from error
    if not (0 <= left < right <= 1 and 0 <= top < bottom <= 1):
        raise InvalidInput(wanted)
    width, height = float(row.pixel_columns or 0), float(row.pixel_rows or 0)
    return replace(look, region=(left * width, top * height, (right - left) * width, (bottom - top) * height))


def _whole(asked: Mapping[str, str], name: str, least: int, most: int) -> int | None:
    text = asked.get(name, "")
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 10 and least <= int(text) <= most):
        raise InvalidInput(f"{name} wants a whole number from {least} to {most}.")
    return int(text)
