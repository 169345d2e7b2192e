"""What the audit log is told of FHIR interactions.

Decision 25: writes and the first look of a caller at a resource within the hour are durable before the answer;
searches are committed in groups, within a second; a repeat within a minute that shows the same is told once. The
register of doctors and organizations is nobody's health data: reading it is not logged, writing it is.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Hashable, Iterable, Sequence
from typing import Any
from urllib.parse import urlencode

from server.audit.events import Event
from server.core import clock
from server.records.store import Stored
from server.sharing import share

from .call import Call

Pairs = Sequence[tuple[str, str]]

# Seconds within which a search by the same caller, with the same found, is told once.
WINDOW = 60.0
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


async def searched(
    call: Call, type: str, used: Pairs, patients: Iterable[str], shown: Iterable[Hashable]
) -> None:
    """A search is about to be answered, about these patients; about one alone, somebody looked at them.

    `shown` says what the answer holds, for a repeat that shows something else is no repeat.
    """
    concerned = [patient for patient in dict.fromkeys(patients) if patient]
    asked = hash((call.actor.who(), type, tuple(used), tuple(shown)))
    if len(concerned) > MOST_PATIENTS:
        _later(call, [None], asked, {"type": type, "patients": len(concerned)})
    elif len(concerned) == 1:  # what was typed may name one patient, and is not for another one's log
        await share.note_look(call.services, concerned[0], call.actor.practitioner_id)
        _later(call, concerned, asked, {"type": type}, used)
    else:
        _later(call, concerned, asked, {"type": type})


def _later(
    call: Call,
    patients: Sequence[str | None],
    asked: int,
    detail: dict[str, Any],
    used: Pairs | None = None,
) -> None:
    """An event for each of these patients whose log was not told of the same within the window."""
    moment, seen = asyncio.get_running_loop().time(), _recent(call)
    new = [each for each in patients if moment - seen.get((each, asked), -WINDOW) >= WINDOW]
    if new and used is not None:
        detail["query"] = urlencode(used)
    for patient in new:
        seen[patient, asked] = moment
        seen.move_to_end((patient, asked))
        call.services.audit.record_later(
            Event.RECORD_SEARCHED, who=call.actor.who(), patient_id=patient, detail=detail
        )
    while len(seen) > REMEMBERED:
        seen.popitem(last=False)


def _recent(call: Call) -> OrderedDict[tuple[str | None, int], float]:
    """When this process was last told of a search."""
    state = call.request.app.state
    if not hasattr(state, "fhir_searches"):
        state.fhir_searches = OrderedDict()
    found: OrderedDict[tuple[str | None, int], float] = state.fhir_searches
    return found
