"""The patient profiles a signed-in person may let an app see: their own, and those shared with them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
from starlette.requests import Request

from server.access.action import STUDY_READ, STUDY_SEARCH, Action, Verb
from server.access.reach import Reach
from server.access.services import Services
from server.access.sign_in import SignedIn, address_of
from server.core.texts import N_
from server.records.fold import fold
from server.records.names import spoken
from server.storage.db import Record

from . import sentences
from .clients import QUERIES

NAMELESS = N_("A record without a name")


@dataclass(frozen=True)
class Profile:
    """A patient, as a person tells them apart."""

    id: str
    name: str
    birth_date: str
    own: bool  # the person's own
    guardian: bool = False  # held for somebody else: a child

    def your(self, language: str) -> str:
        """How a sentence to the person speaks of what is in it."""
        return sentences.whose(self.name, own=self.own, language=language)


@dataclass(frozen=True)
class Study:
    """An imaging study, as a person tells them apart."""

    id: str  # of its ImagingStudy
    patient_id: str
    day: date | None
    what: str


async def in_reach(request: Request, services: Services, signed_in: SignedIn) -> list[Profile]:
    """All of them, the person's own first, then those held for others, then the last changed."""
    reach = await _reach(request, services, signed_in)
    values = {"account": signed_in.account_id}
    rows = await services.db.fetch_all(QUERIES["patients_in_reach"], values, reach=reach.resources())
    return [_profile(row) for row in rows]


def found(profiles: list[Profile], words: str) -> list[Profile]:
    """Those whose name or birth date has every word in it."""
    wanted = fold(words).split()
    return [
        each for each in profiles if all(word in fold(f"{each.name} {each.birth_date}") for word in wanted)
    ]


async def reaches(request: Request, services: Services, signed_in: SignedIn, patient_id: str) -> bool:
    """Whether this one is among them."""
    reach = await _reach(request, services, signed_in)
    values = {"patient": patient_id}
    return bool(await services.db.fetch_val(QUERIES["patient_in_reach"], values, reach=reach.patients()))


async def studies(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str | None = None
) -> list[Study]:
    """The newest studies the person may open, of a patient or of everyone."""
    actor = signed_in.whole(address_of(request))
    reach = await services.gate.reach_for_actor(actor, STUDY_SEARCH, patient_id=patient_id)
    rows = await services.db.fetch_all(QUERIES["studies_in_reach"], {}, reach=reach.studies())
    return [Study(row["fhir_id"], row["patient_id"], row["study_date"], _what(row)) for row in rows]


async def reaches_study(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str, study_id: str
) -> bool:
    """Whether this person may open the study, and it is this patient's."""
    actor = signed_in.whole(address_of(request))
    reach = await services.gate.reach_for_actor(actor, STUDY_READ, patient_id=patient_id)
    return bool(
        await services.db.fetch_val(QUERIES["study_in_reach"], {"id": study_id}, reach=reach.studies())
    )


async def visits(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str
) -> list[tuple[str, str]]:
    """The Encounters this person may see of a patient, the newest first: id, and what tells them apart."""
    reach = await _visits_in_reach(request, services, signed_in, patient_id)
    rows = await services.db.fetch_all(QUERIES["visits_in_reach"], {}, reach=reach.resources())
    return [(row["id"], _visit_label(orjson.loads(row["json"]))) for row in rows]


async def reaches_visit(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str, encounter_id: str
) -> bool:
    """Whether this person may see the Encounter, and it is this patient's."""
    reach = await _visits_in_reach(request, services, signed_in, patient_id)
    values = {"id": encounter_id}
    return bool(await services.db.fetch_val(QUERIES["visit_in_reach"], values, reach=reach.resources()))


async def kinds_of_images(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str | None
) -> list[str]:
    """The modalities of the studies this person may see of a patient, or of everyone."""
    actor = signed_in.whole(address_of(request))
    reach = await services.gate.reach_for_actor(actor, STUDY_SEARCH, patient_id=patient_id)
    rows = await services.db.fetch_all(QUERIES["modalities_in_reach"], {}, reach=reach.studies())
    return [row["modality"] for row in rows]


async def _visits_in_reach(
    request: Request, services: Services, signed_in: SignedIn, patient_id: str
) -> Reach:
    actor = signed_in.whole(address_of(request))
    return await services.gate.reach_for_actor(actor, Action("Encounter", Verb.READ), patient_id=patient_id)


async def _reach(request: Request, services: Services, signed_in: SignedIn) -> Reach:
    actor = signed_in.whole(address_of(request))
    return await services.gate.reach_for_actor(actor, Action("Patient", Verb.SEARCH))


def _profile(row: Record) -> Profile:
    resource: dict[str, Any] = orjson.loads(row["json"])
    name = (resource.get("name") or [{}])[0]
    born = resource.get("birthDate", "")
    return Profile(row["id"], spoken(name) or NAMELESS, born, own=row["own"], guardian=row["guardian"])


def _what(row: Record) -> str:
    return " ".join(part for part in (", ".join(row["modalities"]), row["title_folded"]) if part)


def _visit_label(encounter: dict[str, Any]) -> str:
    began = (encounter.get("period") or {}).get("start", "")[:10]
    kind = (encounter.get("type") or [{}])[0]
    text = kind.get("text") or next((each.get("display", "") for each in kind.get("coding", [])), "")
    return " ".join(part for part in (began, text) if part) or encounter["id"]
