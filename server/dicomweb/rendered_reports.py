"""What has no pixels, rendered: reports and all others as words, waveforms as traces on paper.

DICOM PS3.18, 10.4.1.1.3 and Table 8.7.4-1 (rendered media types: text/html, text/plain of SR; others of the server's
choice).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import NotAcceptable
from server.core.media import not_acceptable
from server.imaging import drawing, sr_text, summary
from server.imaging.catalogue import InstanceRow
from server.imaging.presentation import is_unapplied_state
from server.imaging.tracings import tracing

from . import trail
from .conditional import content_answer, etag, last_modified, not_modified
from .rendered_params import RenderedQuery
from .representations import wishes
from .urls import accept_of, services_of

Writers = Mapping[str, Callable[[bytes], str]]

TYPES: Writers = {"text/html": sr_text.html, "text/plain": sr_text.plain}


def writers_of(row: InstanceRow) -> Writers:
    """How the object is put into words: a report by its tree, all else by what it says of itself."""
    return TYPES if sr_text.is_report(row.sop_class) else summary.TYPES


async def words_answer(request: Request, row: InstanceRow) -> Response:
    """The object as a page or as text. Raises NotAcceptable."""
    writers = writers_of(row)
    name = next((name for wish in wishes(accept_of(request)) for name in writers if wish.covers(name)), None)
    if name is None and is_unapplied_state(row.sop_class):
        raise NotAcceptable(
            "Images are not shown here by presentation states of this kind (planes and volumes that are computed);"
            f" render the images themselves, or ask for what the state says: {', '.join(writers)}."
        )
    if name is None:
        raise not_acceptable(list(writers))
    return await words_as(request, row, name)


async def words_as(request: Request, row: InstanceRow, name: str) -> Response:
    """The object as `text/html` or `text/plain`; the row was read with its metadata."""
    await trail.viewed(request, row.patient_id, row.study_uid)
    tag = etag(row.sha256, name)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    text = await asyncio.to_thread(writers_of(row)[name], row.metadata)
    headers = {**last_modified(row.created_at), "Content-Security-Policy": sr_text.POLICY}
    return content_answer(request, text.encode(), f"{name}; charset=utf-8", tag, headers)


async def tracing_answer(request: Request, row: InstanceRow, query: RenderedQuery) -> Response:
    """The waveforms as a picture, or what is said of them as words. Raises NotAcceptable, NotDrawn."""
    offers = (*drawing.TYPES, *summary.TYPES)
    name = next((name for wish in wishes(accept_of(request)) for name in offers if wish.covers(name)), None)
    if name is None:
        raise not_acceptable(list(offers))
    if name in summary.TYPES:
        return await words_as(request, row, name)
    await trail.viewed(request, row.patient_id, row.study_uid)
    tag = etag(row.sha256, name, query)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    image = await tracing(
        services_of(request),
        row,
        name,
        width=query.viewport.width if query.viewport else None,
        height=query.viewport.height if query.viewport else None,
        quality=query.quality or 90,
        annotation=sorted(query.annotation),
    )
    headers = {**last_modified(row.created_at), "Content-Security-Policy": sr_text.POLICY}
    return content_answer(request, image, name, tag, headers)
