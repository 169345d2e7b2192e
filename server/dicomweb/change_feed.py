"""The change feed: `GET /changefeed` and `/changefeed/latest`, in the form of Microsoft's DICOM service.

Not part of PS3.18. A client that keeps the last Sequence it has read and asks for what follows gets every change of
what it may see, once and in order. What a caller may see is decided now: a share that begins opens changes before
the client's offset, so that who was given more reads from the start.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_SEARCH
from server.access.reach import Reach
from server.core.errors import InvalidInput, UnknownParameter
from server.imaging import changes
from server.imaging.changes import Event
from server.imaging.dicom_json import ROOT

from . import trail
from .json_answer import json_answer
from .urls import Root, patient_of, root_of, services_of

DEFAULT_LIMIT, MAX_LIMIT = 100, 200
_ABSURD = 2**63 - 1
_JSON = "application/json"


@dataclass(frozen=True)
class FeedQuery:
    """What is asked of the feed."""

    offset: int = 0
    limit: int = DEFAULT_LIMIT
    since: datetime | None = None
    before: datetime | None = None
    metadata: bool = True


async def read_feed(request: Request) -> Response:
    """`GET /changefeed`: the changes after the one that `offset` names, the oldest first."""
    query, reach = parse(request), await _reach(request)
    found = await changes.after(
        services_of(request).db,
        query.offset,
        reach=reach,
        limit=query.limit,
        since=query.since,
        before=query.before,
        metadata=query.metadata,
    )
    await _told(request, found)
    root = root_of(request)
    body = b"[" + b",".join(_entry(each, root) for each in found) + b"]"
    return await json_answer(request, body, media_type=_JSON)


async def read_latest(request: Request) -> Response:
    """`GET /changefeed/latest`: the last change; 204 when there is none."""
    query, reach = parse(request), await _reach(request)
    found = await changes.latest(services_of(request).db, reach=reach, metadata=query.metadata)
    await _told(request, [found] if found else [])
    if found is None:
        return Response(status_code=204)
    return await json_answer(request, _entry(found, root_of(request)), media_type=_JSON)


async def _reach(request: Request) -> Reach:
    return await services_of(request).gate.reach_for(request, STUDY_SEARCH, patient_id=patient_of(request))


async def _told(request: Request, found: list[Event]) -> None:
    await trail.searched(request, (each.patient_id for each in found), found)


def _entry(event: Event, root: Root) -> bytes:
    """Names as Microsoft's service spells them."""
    entry: dict[str, object] = {
        "Sequence": event.sequence,
        "StudyInstanceUid": event.study_uid,
        "SeriesInstanceUid": event.series_uid,
        "SopInstanceUid": event.sop_uid,
        "Action": event.action,
        "Timestamp": event.changed_at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "State": event.state,
    }
    if event.metadata:
        entry["Metadata"] = orjson.Fragment(event.metadata.replace(ROOT, root.bytes_of(event.patient_id)))
    return orjson.dumps(entry)


def parse(request: Request) -> FeedQuery:
    """The parameters, whose names may be written in any case; raises InvalidInput, UnknownParameter."""
    given: dict[str, object] = {}
    for name, value in request.query_params.multi_items():
        match name.lower():
            case "offset":
                given["offset"] = _number(name, value, 0, _ABSURD)
            case "limit":
                given["limit"] = min(_number(name, value, 1, _ABSURD), MAX_LIMIT)
            case "starttime":
                given["since"] = _moment(name, value)
            case "endtime":
                given["before"] = _moment(name, value)
            case "includemetadata":
                given["metadata"] = _truth(name, value)
            case "accept":
                continue
            case _:
                raise UnknownParameter(
                    "The change feed takes offset, limit, startTime, endTime and includeMetadata."
                )
    return FeedQuery(**given)  # type: ignore[arg-type]


def _number(name: str, value: str, least: int, most: int) -> int:
    if not (value.isascii() and value.isdigit()) or len(value) > 19 or not least <= int(value) <= most:
        raise InvalidInput(f"{name} wants a whole number from {least} to {most}.")
    return int(value)


def _moment(name: str, value: str) -> datetime:
    try:
        found = datetime.fromisoformat(value.replace(" ", "+"))  # a plus sign that was not encoded
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError) as exc:
        raise InvalidInput(f"{name} wants a moment such as 2024-01-31T10:15:00Z.") from exc


def _truth(name: str, value: str) -> bool:
    if value.lower() not in ("true", "false"):
        raise InvalidInput(f"{name} wants true or false.")
    return value.lower() == "true"
