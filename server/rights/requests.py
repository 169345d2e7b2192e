"""The queue of what people write to us: kinds of rights requests, the clock of each, identity, notes, closure.

One month (GDPR, art. 12(3)) and 30 days (HIPAA, 45 CFR 164.524(b)): the shorter one counts. What people wrote is
sealed; the list shows numbers and dates, and opening one is in the log.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.actor import Actor
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.core.texts import N_
from server.storage.db import Record
from server.storage.sql import load

from .operators import require_operator, said

QUERIES = load(__package__, "operating.sql")
MOST = 500
EXTENSION = timedelta(days=60)  # two further months (GDPR, art. 12(3))

# Whose duty a subject of the contact form is.
SUBJECTS = {
    "privacy": ("rights",),
    "support": ("question", "upload", "sharing", "problem"),
}
KINDS = {
    "": N_("Not sorted yet"),
    "access": N_("Access (a copy)"),
    "portability": N_("Portability"),
    "rectification": N_("Rectification"),
    "erasure": N_("Erasure"),
    "restriction": N_("Restriction"),
    "objection": N_("Objection"),
    "consent": N_("Withdrawal of a consent"),
    "accounting": N_("Accounting of disclosures"),
    "complaint": N_("Complaint"),
    "other": N_("Something else"),
}
OUTCOMES = {
    "done": N_("Done as asked"),
    "partly": N_("Done in part"),
    "refused": N_("Refused, with reasons"),
    "no-identity": N_("Could not tell who it is"),
    "withdrawn": N_("Taken back by the person"),
    "answered": N_("Answered"),
}


@dataclass(frozen=True)
class Asked:
    """One request, as the queue shows it: no name."""

    id: UUID
    number: int
    account_id: UUID | None
    subject: str
    kind: str
    created_at: datetime
    answer_by: datetime
    closed_at: datetime | None
    identity_at: datetime | None
    identity_how: str
    extended_why: str
    outcome: str

    @property
    def days_left(self) -> int:
        """Whole days until it is late; below zero it is."""
        return (self.answer_by - clock.now()) // timedelta(days=1)


@dataclass(frozen=True)
class Note:
    """What an operator did or wrote down."""

    at: datetime
    act: str
    by: str
    text: str


def subjects_of(duties: tuple[str, ...]) -> list[str]:
    """The subjects that operators with these duties see."""
    return [subject for duty in duties for subject in SUBJECTS.get(duty, ())]


async def listed(
    services: Services, subjects: list[str], *, actor: Actor, closed: bool = False
) -> list[Asked]:
    """Requests, those due first; or the last that were closed. Raises Forbidden."""
    await require_operator(services, actor)
    values = {"subjects": subjects, "open": not closed, "id": None, "limit": MOST}
    return [_asked(row) for row in await services.db.fetch_all(QUERIES["requests"], values)]


async def read(
    services: Services, request_id: UUID, subjects: list[str], *, actor: Actor
) -> tuple[Asked, dict[str, Any], list[Note]]:
    """A request with what was written, and its notes; that it was read is in the log. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    row = await _row(services, request_id, subjects)
    content = orjson.loads(services.keyring.open(None, row["sealed"], request_id.bytes))
    rows = await services.db.fetch_all(QUERIES["notes"], {"id": request_id})
    notes = [
        Note(
            each["at"],
            each["act"],
            each["name"] or "",
            services.keyring.open(None, each["sealed"], each["id"].bytes).decode(),
        )
        for each in rows
    ]
    await services.audit.record(
        Event.REQUEST_ACTED,
        who=actor.who(),
        patient_id=None,
        detail={"request": row["number"], "act": "read"},
        fold=f"request {request_id} read by {actor.account_id} {clock.now():%Y-%m-%dT%H}",
    )
    return _asked(row), content, notes


async def act(
    services: Services,
    request_id: UUID,
    subjects: list[str],
    *,
    what: str,
    text: str,
    choice: str,
    actor: Actor,
) -> None:
    """Classify, identify, extend, note or close. Raises Forbidden, NotFound, Unprocessable, Conflict (closed)."""
    await require_operator(services, actor)
    row = await _row(services, request_id, subjects)
    statement, values, text = _statement(what, text, choice)
    async with services.db.transaction():
        if (
            statement
            and await services.db.fetch_val(QUERIES[statement], {"id": request_id, **values}) is None
        ):
            raise Conflict("This request is closed already, or was extended before.")
        note = uuid4()
        kept = {"note": note, "id": request_id, "now": clock.now(), "by": actor.account_id, "act": what}
        sealed = services.keyring.seal(None, text.encode(), note.bytes)
        await services.db.execute(QUERIES["add_note"], kept | {"sealed": sealed})
        detail = {"request": row["number"], "act": what, "choice": choice}
        await services.audit.record(Event.REQUEST_ACTED, who=actor.who(), patient_id=None, detail=detail)


def _statement(what: str, text: str, choice: str) -> tuple[str, dict[str, Any], str]:
    match what:
        case "classify" if choice in KINDS and choice:
            return "classify_request", {"kind": choice}, choice
        case "identify":
            how = said(text, "How the person was recognised")
            return "identify_request", {"how": how[:200], "now": clock.now()}, how
        case "extend":
            why = said(text, "The reason")
            return "extend_request", {"why": why[:500], "by": EXTENSION}, why
        case "close" if choice in OUTCOMES:
            return "close_request", {"outcome": choice, "now": clock.now()}, text.strip() or choice
        case "note":
            return "", {}, said(text, "The note")
    raise Unprocessable("Choose one of the answers.")


async def _row(services: Services, request_id: UUID, subjects: list[str]) -> Record:
    row = await services.db.fetch_one(QUERIES["request"], {"id": request_id, "subjects": subjects})
    if row is None:
        raise NotFound()
    return row


def _asked(row: Record) -> Asked:
    return Asked(**{name: row[name] for name in Asked.__dataclass_fields__})
