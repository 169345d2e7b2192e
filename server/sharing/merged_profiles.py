"""The Patient resources of two records that are one: each names the other (FHIR R4, Patient.link)."""

from __future__ import annotations

from typing import Any

from server.access.services import Services
from server.records import document, store

from .merged import QUERIES, author_of

Json = dict[str, Any]


async def link(services: Services, source: str, target: str) -> Json:
    """FHIR R4, Patient.link: the one is replaced by the other, which takes over its identifiers."""
    old, new = await _profile(services, source), await _profile(services, target)
    added = [each for each in old.get("identifier", []) if each not in new.get("identifier", [])]
    if added:
        new["identifier"] = [*new.get("identifier", []), *added]
    new["link"] = [*new.get("link", []), _link_to(source, "replaces")]
    before = {name: old.get(name) for name in ("active", "link")}
    old |= {"active": False, "link": [*old.get("link", []), _link_to(target, "replaced-by")]}
    for resource in (old, new):
        await _put(services, resource, target)
    return {"identifiers": added, "before": before}


def _link_to(patient_id: str, kind: str) -> Json:
    return {"other": {"reference": f"Patient/{patient_id}"}, "type": kind}


async def _profile(services: Services, patient_id: str) -> Json:
    found = await services.db.fetch_val(QUERIES["profile"], {"id": patient_id})
    return document.load_exact(found) if found else {"resourceType": "Patient", "id": patient_id}


async def _put(services: Services, resource: Json, patient_id: str) -> None:
    author = await author_of(services, resource["resourceType"], resource["id"])
    await store.put(services.db, resource, patient_id=patient_id, author=author)


async def unlink(services: Services, what: Json, source: str, target: str) -> None:
    """Undo what `link` did; `what` is what it answered."""
    old, new = await _profile(services, source), await _profile(services, target)
    for name, value in what["before"].items():
        old[name] = value
    links = [each for each in new.get("link", []) if each != _link_to(source, "replaces")]
    left = [each for each in new.get("identifier", []) if each not in what["identifiers"]]
    new |= {"link": links, "identifier": left}
    for resource, patient_id in ((old, source), (new, target)):
        whole = {name: value for name, value in resource.items() if value not in (None, [])}
        await _put(services, whole, patient_id)
