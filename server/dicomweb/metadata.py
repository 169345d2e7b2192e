"""Metadata of studies, series and instances.

DICOM PS3.18, 10.4.1.1.2 (metadata resources). The JSON of each instance was prepared when it was stored: here it is
joined, and its compressed form kept. What is kept is sent only after a statement with the caller's reach in it said
which version is to be seen, so that no other process, and no share that ended, can make it untrue.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Right
from server.access.reach import Reach
from server.core.compression import accepts_gzip, gzipped
from server.core.errors import Conflict, NotFound
from server.core.media import best
from server.imaging import catalogue
from server.imaging.catalogue import Version
from server.imaging.dicom_json import ROOT

from . import multipart, trail
from .conditional import CACHING, etag, not_modified
from .dicom_xml import to_xml
from .json_answer import DICOM_JSON, joined
from .kept import kept_of
from .multipart import OutPart
from .qido_params import attribute, is_tag
from .urls import accept_of, patient_of, root_of, services_of, uids_of

XML = 'multipart/related; type="application/dicom+xml"'
OFFERS = (DICOM_JSON, "application/json", XML)
TWICE = "This UID lies under two patients that you reach: use the root of the one that is meant."


async def retrieve_metadata(request: Request) -> Response:
    """`GET …/metadata` of a study, series or instance."""
    services = services_of(request)
    reach = await services.gate.reach_for(
        request, STUDY_READ, patient_id=patient_of(request), right=Right.IMAGES, lazily=True
    )
    media_type = best(accept_of(request), OFFERS)
    of = uids_of(request)
    versions = await catalogue.versions_of(services.db, *of, reach=reach)
    if not versions:
        await services.gate.confirm(request)
        raise NotFound()
    version = only(versions)
    await trail.viewed(request, version.patient_id, of[0])
    zipped = media_type != XML and accepts_gzip(request)
    tag = etag(of, version, media_type, zipped, included(request), services.settings.base_url)
    if (answer := not_modified(request, tag)) is not None:
        return answer
    headers = {"ETag": tag, "Content-Type": media_type, **CACHING}
    if media_type == XML:
        return await _xml(await _objects(request, version, reach), headers)
    if zipped:
        headers["Content-Encoding"] = "gzip"
    return Response(await _body(request, version, reach, tag, zipped), headers=headers)


async def _body(request: Request, version: Version, reach: Reach, tag: str, zipped: bool) -> bytes:
    """The JSON array, as it is to be sent; remembered by its version."""
    kept = kept_of(request)
    body = kept.get((version.patient_id, tag))
    if body is None:
        objects = await _objects(request, version, reach)
        body = await gzipped(joined(objects)) if zipped else joined(objects)
        if len(objects) == version.instances:  # nothing came in between: this body is that version's
            kept.put((version.patient_id, tag), body)
    return body


async def _objects(request: Request, version: Version, reach: Reach) -> list[bytes]:
    """The JSON of each instance, with the root of the patient in it."""
    services = services_of(request)
    rows = await catalogue.metadata_of(services.db, *uids_of(request), reach=reach.at(version.patient_id))
    if not rows:  # it ended between the two statements
        await services.gate.confirm(request)
        raise NotFound()
    address, fields = root_of(request).bytes_of(version.patient_id), included(request)
    objects = [prepared.replace(ROOT, address) for _, prepared in rows]
    return [_only(each, fields) for each in objects] if fields else objects


def only(versions: Sequence[Version]) -> Version:
    """The one version; Conflict when two patients that the caller reaches have this UID (decision 8)."""
    if len(versions) > 1:
        raise Conflict(TWICE)
    return versions[0]


def included(request: Request) -> frozenset[str]:
    """The attributes that `includefield` names; empty: all of them."""
    asked = [
        name for text in request.query_params.getlist("includefield") for name in text.split(",") if name
    ]
    if not asked or any(name.lower() == "all" for name in asked):
        return frozenset()
    return frozenset(name.upper() if is_tag(name) else attribute(name)[0][0] for name in sorted(asked))


def _only(prepared: bytes, fields: frozenset[str]) -> bytes:
    model = orjson.loads(prepared)
    return orjson.dumps({tag: element for tag, element in model.items() if tag in fields})


async def _xml(objects: Sequence[bytes], headers: dict[str, str]) -> Response:
    """One part an instance (PS3.18, 8.7.3.4.2)."""
    boundary = multipart.new_boundary()
    documents = [to_xml(orjson.loads(each)) for each in objects]
    parts = [OutPart("application/dicom+xml", len(each), each) for each in documents]
    body = b"".join([chunk async for chunk in multipart.write_parts(parts, boundary)])
    return Response(
        body, headers={**headers, "Content-Type": multipart.content_type("application/dicom+xml", boundary)}
    )
