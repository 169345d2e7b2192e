"""The manifest of a study: a document at [base]/Bundle/[id of the ImagingStudy], in DICOM's form at Binary/kos-[id].

IHE RAD MADO; FHIR R4, 3.3 (documents). Made when it is read and kept nowhere. It shows what its reader may see: the
ImagingStudy decides, and the Patient and the orders come along where the token reaches them.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from hashlib import sha256
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_READ, Action, Right, Verb
from server.core.errors import Gone, InsufficientScope, NotFound
from server.imaging import derived
from server.imaging.to_fhir.key_objects import key_objects
from server.imaging.to_fhir.manifest import KEY_OBJECTS_ID, Manifest, document
from server.records import store
from server.records.document import Json, dump, load
from server.records.references import here
from server.records.store import Stored

from .binary import as_content
from .call import Call
from .format import Answer, json_answer, names_tag, respond
from .read import read


async def read_manifest(request: Request) -> Response:
    """GET [base]/Bundle/[id]: 404 where the ImagingStudy may not be seen."""
    call = await Call.of(request)
    return await respond(request, await document_of(call, request.path_params["id"]))


async def document_of(call: Call, id: str) -> Answer:
    """The document, alone or as an entry of a Bundle."""
    manifest, _ = await _manifest(call, id)
    return json_answer(document(manifest))


async def read_key_objects(request: Request) -> Response:
    """GET [base]/Binary/kos-[id]: the same as a DICOM file, for who may also read Binaries and download; or wrapped
    as FHIR. Its tag is of its bytes, and no date is told: what it shows of others changes without the study."""
    call = await Call.of(request)
    stored, tag = await _binary(call, request.path_params["id"])
    if (content := await as_content(call, stored, tag=tag)) is not None:
        return content
    if names_tag(request.headers.get("if-none-match"), tag):
        return await respond(request, Answer(304, headers={"ETag": tag}))
    return await respond(request, Answer(200, stored.json, {"ETag": tag}))


async def key_objects_of(call: Call, id: str) -> Answer:
    """The same as an entry of a Bundle."""
    stored, tag = await _binary(call, id)
    return Answer(200, stored.json, {"ETag": tag})


async def _binary(call: Call, id: str) -> tuple[Stored, str]:
    """The Binary and its tag. Raises NotFound without the right to download (decision 4), as DICOMweb does."""
    await call.reach("Binary", Verb.READ)
    reach = await call.services.gate.reach_for_actor(call.actor, STUDY_READ, right=Right.DOWNLOAD)
    manifest, study = await _manifest(call, id)
    await store.read(call.services.db, "ImagingStudy", id, reach=reach)
    file = await asyncio.to_thread(key_objects, manifest)
    binary: Json = {
        "resourceType": "Binary",
        "id": f"{KEY_OBJECTS_ID}{study.id}",
        "contentType": "application/dicom",
        "data": b64encode(file).decode("ascii"),
    }
    return replace(study, type="Binary", json=dump(binary)), f'W/"{sha256(file).hexdigest()[:32]}"'


async def _manifest(call: Call, id: str) -> tuple[Manifest, Stored]:
    """What the manifest of a study is made of. Raises NotFound where the ImagingStudy may not be seen."""
    stored = await read(call, "ImagingStudy", id)
    study = load(stored.json)
    place = await _seen(call, study.get("endpoint", [{}])[0])
    if place is None or stored.study_uid is None:
        raise NotFound()  # an ImagingStudy that stands for no images of ours
    reach = await call.reach("ImagingStudy", Verb.READ)
    found = Manifest(
        base=call.base,
        study=study,
        frames=await derived.frames_of(call.services, stored.patient_id, stored.study_uid, reach=reach),
        endpoint=place,
        patient=await _seen(call, study["subject"]),
        orders=[found for each in study.get("basedOn", []) if (found := await _seen(call, each))],
        operator="Lightbox",
    )
    return found, stored


async def _seen(call: Call, reference: Any) -> Json | None:
    """The resource that a reference leads to; None where the caller may not see it."""
    target = here(str(reference.get("reference", "")), call.base)
    if target is None:
        return None
    try:
        reach = await call.services.gate.reach_for_actor(call.actor, Action(target.type, Verb.READ))
        return load((await store.read(call.services.db, target.type, target.id, reach=reach)).json)
    except (InsufficientScope, NotFound, Gone):
        return None
