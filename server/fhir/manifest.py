"""The manifest of a study: a document at [base]/Bundle/[id of the ImagingStudy], in DICOM's form at Binary/kos-[id].

IHE RAD MADO; FHIR R4, 3.3 (documents). Made when it is read and kept nowhere. It shows what its reader may see: the
ImagingStudy decides, and the Patient and the orders come along where the token reaches them.
"""

from __future__ import annotations

import asyncio
from base64 import b64encode
from dataclasses import replace
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Verb
from server.core.errors import Gone, InsufficientScope, NotFound
from server.imaging import derived
from server.imaging.to_fhir.key_objects import key_objects
from server.imaging.to_fhir.manifest import KEY_OBJECTS_ID, Manifest, document
from server.records import store
from server.records.document import Json, dump, instant, load
from server.records.references import here
from server.records.store import Stored

from .binary import as_content
from .call import Call
from .format import Answer, resource_answer, respond
from .read import read


async def read_manifest(request: Request) -> Response:
    """GET [base]/Bundle/[id]: 404 where the ImagingStudy may not be seen."""
    call = await Call.of(request)
    manifest, _ = await _manifest(call, request.path_params["id"])
    return await respond(request, Answer(200, dump(document(manifest))))


async def read_key_objects(request: Request) -> Response:
    """GET [base]/Binary/kos-[id]: the same as a DICOM file, for who may also read Binaries; or wrapped as FHIR."""
    call = await Call.of(request)
    await call.reach("Binary", Verb.READ)
    manifest, study = await _manifest(call, request.path_params["id"])
    file = await asyncio.to_thread(key_objects, manifest)
    binary: Json = {
        "resourceType": "Binary",
        "id": f"{KEY_OBJECTS_ID}{study.id}",
        "meta": {"versionId": str(study.version), "lastUpdated": instant(study.last_updated)},
        "contentType": "application/dicom",
        "data": b64encode(file).decode("ascii"),
    }
    stored = replace(study, type="Binary", json=dump(binary))
    return await as_content(call, stored) or await respond(request, resource_answer(stored))


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
