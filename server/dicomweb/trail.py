"""What the audit log is told of a request, and when.

Decision 25: the first look at a study (per caller, study and hour) and every download of a study or series are
durable before the answer; searches and repeats are committed in groups, soon. Instances taken one by one are one
download of their study within the hour: a viewer takes hundreds.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable
from typing import Any

from starlette.requests import Request

from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.sharing import share

from .urls import services_of

_Search = tuple[Who, str | None, str, int, int]  # caller, patient, path, query, what was shown

# Seconds within which a search by the same caller, with the same found, is told once.
_WINDOW = 60.0
_REMEMBERED = 10_000
_MOST_PATIENTS = 200  # of one search; beyond, the system's chain keeps how many


async def viewed(request: Request, patient_id: str, study_uid: str) -> None:
    """Images or metadata of the study are about to be shown."""
    await _once_an_hour(request, Event.STUDY_VIEWED, patient_id, study_uid)


async def taken(request: Request, patient_id: str, study_uid: str) -> None:
    """An instance of the study is about to be handed over as a file."""
    await _once_an_hour(request, Event.STUDY_DOWNLOADED, patient_id, study_uid)


async def downloaded(request: Request, patient_id: str, study_uid: str, instances: int) -> None:
    """The study, or a series of it, is about to be handed over as files."""
    services = services_of(request)
    actor = await services.gate.actor(request)
    await services.audit.record(
        Event.STUDY_DOWNLOADED,
        who=actor.who(),
        patient_id=patient_id,
        detail={"study": study_uid, "instances": instances},
    )
    await share.note_look(services, patient_id, actor.practitioner_id)


async def searched(request: Request, patients: Iterable[str], shown: Iterable[Hashable]) -> None:
    """Rows of these patients are about to be listed; a repeat that shows something else is no repeat.

    Of a list of several patients, each one's log tells that it was among them, and not what was asked: that may
    name another one.
    """
    services = services_of(request)
    actor = await services.gate.actor(request)
    found = list(dict.fromkeys(patients))
    if len(found) == 1:  # a list of many is not a look at each of them
        await share.note_look(services, found[0], actor.practitioner_id)
    concerned: list[str | None] = [*found]
    path: str = request.scope["path"]
    detail: dict[str, Any] = {"path": path}
    if len(concerned) == 1:
        detail["query"] = request.scope["query_string"].decode("latin-1")
    elif len(concerned) > _MOST_PATIENTS:
        concerned, detail["patients"] = [None], len(concerned)
    who, asked = actor.who(), (hash(request.scope["query_string"]), hash(tuple(shown)))
    for patient_id in concerned:
        if _is_new(request, (who, patient_id, path, *asked)):
            services.audit.record_later(Event.STUDY_SEARCHED, who=who, patient_id=patient_id, detail=detail)


async def _once_an_hour(request: Request, event: Event, patient_id: str, study_uid: str) -> None:
    services = services_of(request)
    actor = await services.gate.actor(request)
    fold = f"{event} {actor.key} {patient_id} {study_uid} {clock.now():%Y-%m-%dT%H}"
    if not services.audit.knows(fold):
        await services.audit.record(
            event, who=actor.who(), patient_id=patient_id, detail={"study": study_uid}, fold=fold
        )
    await share.note_look(services, patient_id, actor.practitioner_id)


def _is_new(request: Request, search: _Search) -> bool:
    """Whether this was not told within the window; remembered by this process."""
    state = request.app.state
    if not hasattr(state, "dicomweb_searches"):
        state.dicomweb_searches = OrderedDict()
    seen: OrderedDict[_Search, float] = state.dicomweb_searches
    moment = asyncio.get_running_loop().time()
    if moment - seen.get(search, -_WINDOW) < _WINDOW:
        return False
    seen[search] = moment
    seen.move_to_end(search)
    if len(seen) > _REMEMBERED:
        seen.popitem(last=False)
    return True
