"""The manifest of a study as a document: GET [base]/Bundle/[id of the ImagingStudy].

IHE RAD MADO; FHIR R4, 3.3 (documents). It shows what its reader may see: the ImagingStudy decides, and the Patient
and the orders come along where the token reaches them.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Action, Verb
from server.core.errors import Gone, InsufficientScope, NotFound
from server.imaging import derived
from server.imaging.to_fhir.manifest import Manifest, document
from server.records import store
from server.records.document import Json, dump, load
from server.records.references import here

from .call import Call
from .format import Answer, respond
from .read import read


async def read_manifest(request: Request) -> Response:
    """GET [base]/Bundle/[id]: 404 where the ImagingStudy may not be seen."""
    call = await Call.of(request)
    stored = await read(call, "ImagingStudy", request.path_params["id"])
    study = load(stored.json)
    place = await _seen(call, study.get("endpoint", [{}])[0])
    if place is None or stored.study_uid is None:
        raise NotFound()  # an ImagingStudy that stands for no images of ours
    reach = await call.reach("ImagingStudy", Verb.READ)
    manifest = Manifest(
        base=call.base,
        study=study,
        frames=await derived.frames_of(call.services, stored.patient_id, stored.study_uid, reach=reach),
        endpoint=place,
        patient=await _seen(call, study["subject"]),
        orders=[found for each in study.get("basedOn", []) if (found := await _seen(call, each))],
        operator="Lightbox",
    )
    return await respond(request, Answer(200, dump(document(manifest))))


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
