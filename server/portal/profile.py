"""Whose record a visitor looks at, and the few facts of it that pages name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson

from server.access.action import Action, Verb
from server.core.errors import NotFound
from server.records import store
from server.records.names import givens, spoken
from server.sharing import holding

from .visit import Visit

PATIENT_READ = Action("Patient", Verb.READ)
PATIENT_UPDATE = Action("Patient", Verb.UPDATE)
Json = dict[str, Any]


@dataclass(frozen=True)
class Profile:
    """A patient as the FHIR Patient says."""

    id: str
    resource: Json
    version: int = 0

    @property
    def _name(self) -> Json:
        names: list[Json] = self.resource.get("name") or [{}]
        return next((each for each in names if each.get("use") in (None, "official", "usual")), names[0])

    @property
    def family(self) -> str:
        return str(self._name.get("family", ""))

    @property
    def given(self) -> str:
        return " ".join(givens(self._name))

    @property
    def name(self) -> str:
        return spoken(self._name)

    @property
    def birth_date(self) -> str:
        return str(self.resource.get("birthDate", ""))

    @property
    def birth_day(self) -> date | None:
        """The birth date when it is a whole one (FHIR dates may be partial)."""
        try:
            return date.fromisoformat(self.birth_date)
        except ValueError:
            return None


async def own_id(visit: Visit) -> str:
    """The profile the pages show: the own one, or that of somebody they act for. Raises NotFound without one."""
    me = visit.signed_in
    if me.role != "patient":
        raise NotFound()
    patient_id = await holding.shown(visit.services, me.session_id, me.account_id)
    if patient_id is None:
        raise NotFound()
    return patient_id


async def acting_for(visit: Visit, patient_id: str) -> str:
    """The name of the person whose record this is, where the visitor acts for them; else nothing."""
    held = await holding.held_by(visit.services, actor=visit.actor)
    return next((one.name for one in held if one.patient_id == patient_id and not one.is_own), "")


async def own(visit: Visit) -> Profile:
    """The visitor's own profile."""
    return await of(visit, await own_id(visit))


async def of(visit: Visit, patient_id: str) -> Profile:
    """The profile of a patient in reach; raises NotFound."""
    reach = await visit.reach(PATIENT_READ)
    found = await store.read(visit.services.db, "Patient", patient_id, reach=reach)
    return Profile(patient_id, orjson.loads(found.json), found.version)
