"""What the audit log is told of FHIR interactions.

Decision 25: writes and the first look of a caller at a resource within the hour are durable before the answer;
searches are committed in groups, within a second. The register of doctors and organizations is nobody's health
data: reading it is not logged, writing it is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from server.audit.events import Event
from server.core import clock
from server.records.store import Stored
from server.sharing import share

from .call import Call

Pairs = Sequence[tuple[str, str]]

WINDOW = 60.0  # seconds within which the same search is told once
REMEMBERED = 10_000
MOST_PATIENTS = 200  # of one search; beyond, the system's chain keeps how many


async def read(call: Call, stored: Stored, *, old: bool = False) -> None:
    """A resource is about to be shown, as it is or as it was."""
    if not stored.patient_id:
        return
    caller = call.actor.account_id or call.actor.client_id
    through = call.actor.client_id or "session"
    seen = f"{stored.type}/{stored.id}" + (f"/{stored.version}" if old else "")
    fold = f"fhir {caller} {through} {seen} {clock.now():%Y-%m-%dT%H}"
    if not call.services.audit.knows(fold):
        await call.services.audit.record(
            Event.RECORD_READ,
            who=call.actor.who(),
            patient_id=stored.patient_id,
            detail={"type": stored.type, "id": stored.id, "version": stored.version}
            | ({"old": True} if old else {}),
            fold=fold,
        )
    await share.note_look(call.services, stored.patient_id, call.actor.practitioner_id)


async def wrote(call: Call, event: Event, stored: Stored) -> None:
    """A resource was created, updated or deleted; inside the transaction that does it."""
    await call.services.audit.record(
        event,
        who=call.actor.who(),
        patient_id=stored.patient_id or None,
        detail={"type": stored.type, "id": stored.id, "version": stored.version},
    )


async def searched(call: Call, type: str, used: Pairs, patients: Iterable[str]) -> None:
    """A search is about to be answered, about these patients; about one alone, somebody looked at them."""
    concerned = [patient for patient in dict.fromkeys(patients) if patient]
    if len(concerned) > MOST_PATIENTS:
        _later(call, [None], type, {"patients": len(concerned)})
    elif len(concerned) == 1:  # what was typed may name one patient, and is not for another one's log
        await share.note_look(call.services, concerned[0], call.actor.practitioner_id)
        _later(call, concerned, type, {"query": tuple(used)})
    else:
        _later(call, concerned, type, {})


def _later(call: Call, patients: Sequence[str | None], type: str, more: dict[str, Any]) -> None:
    """An event for each of these patients whose log was not told of the same within the window."""
    actor, moment, seen = call.actor, asyncio.get_running_loop().time(), _recent(call)
    about = (actor.account_id, actor.client_id, type, *more.values())
    new = [each for each in patients if moment - seen.get((each, about), -WINDOW) >= WINDOW]
    if new and "query" in more:
        more = {"query": urlencode(more["query"])}
    for patient in new:
        seen[patient, about] = moment
        seen.move_to_end((patient, about))
        call.services.audit.record_later(
            Event.RECORD_SEARCHED, who=actor.who(), patient_id=patient, detail={"type": type, **more}
        )
    while len(seen) > REMEMBERED:
        seen.popitem(last=False)


def _recent(call: Call) -> OrderedDict[tuple[object, ...], float]:
    """When this process was last told of a search."""
    state = call.request.app.state
    if not hasattr(state, "fhir_searches"):
        state.fhir_searches = OrderedDict()
    found: OrderedDict[tuple[object, ...], float] = state.fhir_searches
    return found
