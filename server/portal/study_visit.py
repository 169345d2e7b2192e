"""A visit to one study: found within reach, written into the log, with an address that says whose it is."""

from __future__ import annotations

from server.access.action import STUDY_READ
from server.access.actor import Actor
from server.access.reach import Reach
from server.audit.events import Event
from server.core import clock
from server.sharing import share

from . import studies
from .pages import language_of
from .profile import own_id
from .studies import Study
from .visit import Visit


async def study_in_reach(visit: Visit) -> tuple[Study, Reach]:
    reach = await visit.reach(STUDY_READ)
    if patient_id := visit.query("patient"):
        reach = reach.at(patient_id)
    language = language_of(visit.request, visit.me)
    found = await studies.one(visit.services.db, visit.place("uid"), reach=reach, language=language)
    await note_look(visit, found, visit.actor)
    return found, reach


async def note_look(visit: Visit, found: Study, actor: Actor) -> None:
    """Written down before the page is shown, once an hour for a person and a study, as DICOMweb does."""
    event = Event.STUDY_VIEWED
    hour = f"{clock.now():%Y-%m-%dT%H}"
    await visit.services.audit.record(
        event,
        who=actor.who(),
        patient_id=found.patient_id,
        detail={"study": found.uid},
        fold=f"{event} {actor.key} {found.patient_id} {found.uid} {hour}",
    )
    if actor.practitioner_id is not None:
        await share.note_look(visit.services, found.patient_id, actor.practitioner_id)


async def own_study(visit: Visit, found: Study) -> bool:
    return visit.signed_in.role == "patient" and await own_id(visit) == found.patient_id


def study_address(found: Study, mine: bool, below: str = "") -> str:
    """The page of a study; others' carry whose it is, for two patients may have the same UID."""
    return f"/studies/{found.uid}{below}" + ("" if mine else f"?patient={found.patient_id}")
