"""Structured reports, rendered.

DICOM PS3.18, 10.4.1.1.3 and Table 8.7.4-1 (rendered media types of SR: text/html, text/plain).
"""

from __future__ import annotations

import asyncio

from starlette.requests import Request
from starlette.responses import Response

from server.core.media import not_acceptable
from server.imaging import sr_text
from server.imaging.catalogue import InstanceRow

from . import trail
from .conditional import content_answer, etag, last_modified, not_modified
from .representations import wishes
from .urls import accept_of

TYPES = {"text/html": sr_text.html, "text/plain": sr_text.plain}


async def report_answer(request: Request, row: InstanceRow) -> Response:
    """The report as a page or as text. Raises NotAcceptable."""
    name = next((name for wish in wishes(accept_of(request)) for name in TYPES if wish.covers(name)), None)
    if name is None:
        raise not_acceptable(list(TYPES))
    return await report_as(request, row, name)


async def report_as(request: Request, row: InstanceRow, name: str) -> Response:
    """The report in one of `TYPES`; the row was read with its metadata."""
    await trail.viewed(request, row.patient_id, row.study_uid)
    tag = etag(row.sha256, name)
    if (answer := not_modified(request, tag, row.created_at)) is not None:
        return answer
    text = await asyncio.to_thread(TYPES[name], row.metadata)
    headers = {**last_modified(row.created_at), "Content-Security-Policy": sr_text.POLICY}
    return content_answer(request, text.encode(), f"{name}; charset=utf-8", tag, headers)
