"""A guest link as FHIR Consent: what the portal does, FHIR shows, with its end; and FHIR ends it.

The guest has no account and is nobody in the register: a contained RelatedPerson with the name and address that the
patient typed. A link is made on the portal alone (its codes are mailed from there), so a Consent of FHIR makes none.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.access.action import Right
from server.access.services import Services
from server.core.errors import Unprocessable
from server.core.texts import N_
from server.records import document, store
from server.storage.sql import load

from .acts import QUERIES as SHARES
from .consent_json import RIGHT, Json, frame_of, instant, with_state
from .guest_link import Link, LinkState
from .model import State

QUERIES = load(__package__, "guest.sql")
GUEST = "guest"
ROLE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
PURPOSE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "PATRQT"}
LINK = "urn:lightbox:fhir:extension:guest-link"  # the address that the guest opens
UNCHANGED = N_("What a guest link gives does not change; end it and make a new one.")
OVER = N_("This link is over; a new one is made on the portal.")


def consent_of(link: Link, study_ids: Mapping[str, str], address: str, before: Json | None = None) -> Json:
    """The Consent of a link; what a client added to `before` stays."""
    living = link.state is LinkState.LIVING
    consent = dict(before or frame_of(link.id, link.patient_id, link.created_at))
    others = [each for each in consent.get("extension", []) if each.get("url") != LINK]
    consent["status"] = "active" if living else _over_status(consent.get("status"))
    consent["extension"] = with_state(others, State.ACTIVE if living else State.ENDED)
    consent["extension"].append({"url": LINK, "valueUri": address})
    consent["provision"] = _provision(link, study_ids)
    consent["contained"] = [
        *(each for each in consent.get("contained", []) if each.get("id") != GUEST),
        _guest(link),
    ]
    return consent


def _over_status(said: str | None) -> str:
    return said if said in ("rejected", "inactive", "entered-in-error") else "inactive"


def _provision(link: Link, study_ids: Mapping[str, str]) -> Json:
    begin = link.created_at
    end = max(link.over_since or link.until, begin)
    provision: Json = {
        "extension": [{"url": RIGHT, "valueCode": str(right)} for right in Right if link.gives(right)],
        "type": "permit",
        "period": {"start": instant(begin), "end": instant(end)},
        "actor": [
            {"role": {"coding": [ROLE]}, "reference": {"reference": f"#{GUEST}", "display": link.name}}
        ],
        "purpose": [PURPOSE],
    }
    chosen = [f"ImagingStudy/{study_ids[uid]}" for uid in link.studies or () if uid in study_ids]
    data = [{"meaning": "instance", "reference": {"reference": each}} for each in chosen]
    return provision | {"data": data} if data else provision


def _guest(link: Link) -> Json:
    return {
        "resourceType": "RelatedPerson",
        "id": GUEST,
        "patient": {"reference": f"Patient/{link.patient_id}"},
        "name": [{"text": link.name}],
        "telecom": [{"system": "email", "value": link.email}],
    }


async def write(services: Services, link: Link, *, author: str) -> None:
    """The Consent of the link as it stands now, as a new version where it changed."""
    key = {"patient": link.patient_id, "id": link.id}
    before = await services.db.fetch_val(SHARES["consent_of_share"], key)
    body = await body_of(services, link, document.load_exact(before) if before else None)
    await store.put(services.db, body, patient_id=link.patient_id, author=author)


async def body_of(services: Services, link: Link, before: Json | None) -> Json:
    """The same as JSON."""
    study_ids: dict[str, Any] = {}
    if link.studies:
        values = {"patient": link.patient_id, "uids": list(link.studies)}
        rows = await services.db.fetch_all(SHARES["study_ids"], values)
        study_ids = {row["study_uid"]: row["fhir_id"] for row in rows}
    return consent_of(link, study_ids, f"{services.settings.base_url}/link/{link.id}", before)


def require_unchanged(wanted: Json, now: Json) -> None:
    """Raises Unprocessable for a Consent that says other than the link gives."""
    for element in ("provision", "scope", "patient"):
        if element in wanted and wanted[element] != now.get(element):
            raise Unprocessable(UNCHANGED, expression=f"Consent.{element}")
