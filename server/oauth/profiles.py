"""The patient profiles a signed-in person may let an app see: their own, and those shared with them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson
from starlette.requests import Request

from server.access.action import STUDY_READ, STUDY_SEARCH, Action, Verb
from server.access.reach import Reach
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of
from server.storage.db import Record

from .clients import QUERIES


@dataclass(frozen=True)
class Profile:
    """A patient, as a person tells them apart."""

    id: str
    name: str
    birth_date: str
    own: bool  # the person's own

    @property
    def your(self) -> str:
        """How a sentence to the person speaks of what is in it."""
        return "your" if self.own else f"{self.name}'s"


@dataclass(frozen=True)
class Study:
    """An imaging study, as a person tells them apart."""

    id: str  # of its ImagingStudy
    patient_id: str
    label: str


async def in_reach(request: Request, services: Services, signed_in: SignedIn) -> list[Profile]:
    """All of them, the person's own first, then the last changed."""
    reach = await _reach(request, services, signed_in)
    values = {"account": signed_in.account_id}
    rows = await services.db.fetch_all(QUERIES["patients_in_reach"], values, reach=reach.resources())
    return [_profile(row["id"], orjson.loads(row["json"]), own=row["own"]) for row in rows]


async def reaches(request: Request, services: Services, signed_in: SignedIn, patient_id: str) -> bool:
    """Whether this one is among them."""
    reach = await _reach(request, services, signed_in)
    values = {"patient": patient_id}
    return bool(await services.db.fetch_val(QUERIES["patient_in_reach"], values, reach=reach.patients()))


async def studies(request: Request, services: Services, signed_in: SignedIn) -> list[Study]:
    """The newest studies the person may open, of everyone."""
    reach = await services.gate.reach_for_actor(signed_in.actor(address_of(request)), STUDY_SEARCH)
    rows = await services.db.fetch_all(QUERIES["studies_in_reach"], {}, reach=reach.studies())
    return [Study(row["fhir_id"], row["patient_id"], _label(row)) for row in rows]


async def reaches_study(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str, study_id: str
) -> bool:
    """Whether this person may open the study, and it is this patient's."""
    actor = signed_in.actor(address_of(request))
    reach = await services.gate.reach_for_actor(actor, STUDY_READ, patient_id=patient_id)
    return bool(
        await services.db.fetch_val(QUERIES["study_in_reach"], {"id": study_id}, reach=reach.studies())
    )


async def kinds_of_images(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str
) -> list[str]:
    """The modalities of the studies this person may see of a patient."""
    actor = signed_in.actor(address_of(request))
    reach = await services.gate.reach_for_actor(actor, STUDY_SEARCH, patient_id=patient_id)
    rows = await services.db.fetch_all(QUERIES["modalities_in_reach"], {}, reach=reach.studies())
    return [row["modality"] for row in rows]


async def _reach(request: Request, services: Services, signed_in: SignedIn) -> Reach:
    actor = signed_in.actor(address_of(request))
    return await services.gate.reach_for_actor(actor, Action("Patient", Verb.SEARCH))


def _profile(patient_id: str, resource: dict[str, Any], *, own: bool) -> Profile:
    name = (resource.get("name") or [{}])[0]
    text = name.get("text") or " ".join([*name.get("given", []), name.get("family", "")])
    return Profile(patient_id, text.strip() or "A record without a name", resource.get("birthDate", ""), own)


def _label(row: Record) -> str:
    when = row["study_date"].strftime("%-d %B %Y") if row["study_date"] else "without a date"
    return f"{when}: {', '.join(row['modalities'])} {row['title_folded']}".strip()
