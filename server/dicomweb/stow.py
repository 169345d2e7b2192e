"""STOW-RS: store instances.

DICOM PS3.18, 10.5 (Store Transaction). The body streams through: the parts are read as they arrive and handed on
to `imaging.store`, which answers for each of them; one bad part never spoils the others.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_STORE, Right
from server.access.actor import Actor
from server.accounts import sessions
from server.core import clock
from server.core.errors import InvalidInput, UnsupportedMediaType
from server.core.media import parse_media_type
from server.imaging.store import StoredInstance, receive

from .multipart import Part, read_parts
from .representations import DICOM
from .stow_metadata import Remarks, composed
from .stow_response import chosen_format, store_response
from .urls import accept_of, patient_of, root_of, services_of, uids_of

_ACCEPTED = (
    'multipart/related with type="application/dicom", "application/dicom+json" or "application/dicom+xml",'
    " and application/dicom for one instance"
)
KEEP_ALIVE_EVERY = timedelta(minutes=2)
_METADATA = ("application/dicom+json", "application/dicom+xml")


async def store(request: Request) -> Response:
    """`POST /studies` and `POST /studies/{study}` (PS3.18, 10.5.1)."""
    services, patient = services_of(request), patient_of(request)
    reach = await services.gate.reach_for(request, STUDY_STORE, patient_id=patient, right=Right.ADD)
    answer_in = chosen_format(accept_of(request))
    actor = await services.gate.actor(request)
    remarks = Remarks()
    report = await receive(
        services,
        parts_of(request, _kept_alive(request, actor), remarks),
        reach=reach,
        actor=actor,
        patient_id=patient,
        study_uid=uids_of(request)[0] or None,
        mine=request.query_params.get("mine") == "true",
    )
    report.failed += remarks.failed
    if not (report.stored or report.failed):
        raise InvalidInput("The body holds no instances.")
    report.stored = [_noted(each, remarks) for each in report.stored]
    return store_response(report, answer_in, root_of(request))


def _noted(stored: StoredInstance, remarks: Remarks) -> StoredInstance:
    """With what was done to it while it was composed, where that is all there is to be said."""
    note = remarks.notes.get(stored.sop_instance_uid)
    if note is None or stored.warning is not None:
        return stored
    comment = "; ".join(filter(None, (note.comment, stored.comment)))[:1024]
    return replace(stored, warning=note.reason, comment=comment)


async def _kept_alive(request: Request, actor: Actor) -> AsyncIterator[bytes]:
    """The body; a session does not run out while it is still arriving (decision 27)."""
    session, said = actor.credential.session_id, clock.now()
    async for chunk in request.stream():
        if session is not None and clock.now() - said >= KEEP_ALIVE_EVERY:
            said = clock.now()
            await sessions.keep_alive(services_of(request).db, session)
        yield chunk


def parts_of(request: Request, body: AsyncIterator[bytes], remarks: Remarks) -> AsyncIterator[Part]:
    """The instances of the body, as they arrive; what is changed in composed ones is noted.

    Raises UnsupportedMediaType, InvalidInput.
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedMediaType("Content-Encoding is not supported for a store.")
    header = request.headers.get("content-type", "")
    media_type = parse_media_type(header)
    if media_type is None:
        raise UnsupportedMediaType(f"A store needs a Content-Type: {_ACCEPTED}.")
    if media_type.name == DICOM:
        return _single(body)
    # RFC 2387 demands `type`; senders forget it.
    parts_type = media_type.parameters.get("type", DICOM).lower()
    if media_type.name != "multipart/related" or parts_type not in (DICOM, *_METADATA):
        raise UnsupportedMediaType(f"A store takes {_ACCEPTED}.")
    parts = read_parts(body, header)
    return parts if parts_type == DICOM else composed(parts, remarks)


async def _single(body: AsyncIterator[bytes]) -> AsyncIterator[Part]:
    """The whole body as one part."""
    yield Part({"content-type": DICOM}, body)
