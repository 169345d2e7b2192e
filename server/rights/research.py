"""Projects of research and teaching: who may take part, who does, and how somebody stops (rows 48, 57, 61-62).

A project gets images without names of whoever gave the permission for its kind and then said yes to this project.
One operator makes a project, another one approves it. What a project may read is a lane of the policy
(`Ground.RESEARCH`), asked of living rows: leaving, taking back the permission, a restriction and an erasure close it
at once, and what was handed over before is on the project's list of what to delete.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from server.access.action import Action, Verb
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts.people import normal_email
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound, Unprocessable
from server.core.texts import N_
from server.imaging.deidentify import Options, Subject, subject_key
from server.storage.db import Record
from server.storage.sql import load

from . import letters
from .operators import require_operator, said

QUERIES = load(__package__, "research.sql")
CONSENT_UPDATE = Action("Consent", Verb.UPDATE)
LONGEST = timedelta(days=5 * 366)
TEXT_VERSION = 1  # raised with any change of the sentence
ASK = N_(
    "Yes: my images, those I add later too, may be given to this project without my name. I can stop at any time."
)
PURPOSES = {
    "research-nonprofit": N_("Non-profit research"),
    "research-commercial": N_("Commercial research"),
    "education": N_("Education"),
}


@dataclass(frozen=True)
class Project:
    """A project as operators see it: numbers, nobody's name."""

    id: UUID
    name: str
    organization: str
    description: str
    purpose: str
    contact: str
    options: Options
    modalities: tuple[str, ...]
    created_at: datetime
    created_by: UUID | None
    approved_at: datetime | None
    until: datetime
    ended_at: datetime | None
    members: int
    withdrawn: int

    @property
    def state(self) -> str:
        """proposed | open | ended"""
        if self.ended_at is not None or self.until <= clock.now():
            return "ended"
        return "open" if self.approved_at is not None else "proposed"


@dataclass(frozen=True)
class Offer:
    """A project as a person sees it who may take part."""

    id: UUID
    name: str
    organization: str
    description: str
    purpose: str
    options: Options
    modalities: tuple[str, ...]
    until: datetime
    joined_at: datetime | None
    given_at: datetime | None
    allowed: bool  # the permission for projects of this kind is given


async def propose(
    services: Services,
    *,
    name: str,
    organization: str,
    description: str,
    purpose: str,
    contact: str,
    options: Options,
    modalities: Sequence[str],
    until: datetime,
    actor: Actor,
) -> UUID:
    """Make a project, which another operator approves. Raises Forbidden, Unprocessable."""
    await require_operator(services, actor)
    if purpose not in PURPOSES:
        raise Unprocessable("Say whether it is non-profit research, commercial research, or education.")
    if not clock.now() < until <= clock.now() + LONGEST:
        raise Unprocessable("A project ends on a date in the future, within five years.")
    project_id, title = uuid4(), said(name, "A name")
    key = services.keyring.seal(None, secrets.token_bytes(32), _context(project_id))
    values = {
        "id": project_id,
        "name": title,
        "organization": said(organization, "Who does it"),
        "description": said(description, "What it is for"),
        "purpose": purpose,
        "contact": normal_email(contact),
        "modalities": sorted({_modality(each) for each in modalities}),
        "sealed_key": key,
        "now": clock.now(),
        "by": actor.account_id,
        "until": until,
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_project"], values | vars(options))
        await note(services, actor, project_id, "proposed", title)
    return project_id


def _modality(value: str) -> str:
    code = value.strip().upper()
    if not (code.isascii() and code.isalnum() and len(code) <= 16):
        raise Unprocessable("A kind of imaging is a short code, such as CT or MR.")
    return code


async def approve(services: Services, project_id: UUID, *, actor: Actor) -> None:
    """Offer it to patients. Raises Forbidden, Conflict when one made it oneself, or it is not waiting."""
    await require_operator(services, actor)
    values = {"id": project_id, "now": clock.now(), "by": actor.account_id}
    async with services.db.transaction():
        name = await services.db.fetch_val(QUERIES["approve_project"], values)
        if name is None:
            raise Conflict("Another operator has to approve this, while it waits.")
        await note(services, actor, project_id, "approved", name)


async def end(services: Services, project_id: UUID, *, actor: Actor) -> None:
    """From now on it gets nothing more. Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    async with services.db.transaction():
        name = await services.db.fetch_val(QUERIES["end_project"], {"id": project_id, "now": clock.now()})
        if name is None:
            raise NotFound()
        await note(services, actor, project_id, "ended", name)


async def listed(services: Services, *, actor: Actor) -> list[Project]:
    """Every project, the newest first. Raises Forbidden."""
    await require_operator(services, actor)
    return [_project(row) for row in await services.db.fetch_all(QUERIES["projects"], {"id": None})]


async def one(services: Services, project_id: UUID, *, actor: Actor) -> Project:
    """Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    row = await services.db.fetch_one(QUERIES["projects"], {"id": project_id})
    if row is None:
        raise NotFound()
    return _project(row)


async def to_delete(services: Services, project_id: UUID, *, actor: Actor) -> tuple[list[str], list[str]]:
    """Pseudonyms that the project has to delete, and those it must not use for now. Raises Forbidden."""
    await require_operator(services, actor)
    gone = await services.db.fetch_all(QUERIES["withdrawals"], {"project": project_id})
    aside = await services.db.fetch_all(QUERIES["set_aside"], {"project": project_id})
    return [row["pseudonym"] for row in gone], [row["pseudonym"] for row in aside]


async def offers(services: Services, patient_id: str, *, actor: Actor) -> list[Offer]:
    """What this person takes part in, and may."""
    values = {"account": actor.account_id, "patient": patient_id, "now": clock.now()}
    found = []
    for row in await services.db.fetch_all(QUERIES["projects_of_person"], values):
        facts = {name: row[name] for name in Offer.__annotations__ if name not in ("options", "modalities")}
        found.append(Offer(**facts, options=options_of(row), modalities=tuple(row["modalities"])))
    return found


async def history(services: Services, patient_id: str, *, reach: Reach) -> list[Record]:
    """Every time this person joined, and stopped."""
    return await services.db.fetch_all(
        QUERIES["history_of_person"], {"patient": patient_id}, reach=reach.of_holder().patients()
    )


async def join(
    services: Services, project_id: UUID, patient_id: str, *, language: str, actor: Actor, reach: Reach
) -> None:
    """Take part. Raises NotFound, Conflict without the permission for projects of this kind."""
    project = await services.db.fetch_one(
        QUERIES["project_for_person"], {"id": project_id, "now": clock.now()}
    )
    if project is None or actor.account_id is None:
        raise NotFound()
    member_id = uuid4()
    subject = Subject(subject_key(await key_of(services, project_id), member_id.bytes))
    shown = "\n".join([ASK, *(project[each] for each in ("name", "organization", "purpose", "description"))])
    values = {
        "id": member_id,
        "project": project_id,
        "patient": patient_id,
        "account": actor.account_id,
        "pseudonym": subject.pseudonym,
        "now": clock.now(),
        "text_hash": hashlib.sha256(shown.encode()).digest(),
        "text_version": TEXT_VERSION,
        "language": language,
    }
    async with services.db.transaction():
        own = reach.of_holder().patients()
        if not await services.db.execute(QUERIES["join"], values, reach=own):
            if await services.db.fetch_val(
                QUERIES["is_member"], {"patient": patient_id, "project": project_id}
            ):
                return
            raise Conflict("This project needs the permission for research of its kind first.")
        await services.audit.record(
            Event.RESEARCH_JOINED, who=actor.who(), patient_id=patient_id, detail={"project": project["name"]}
        )


async def leave(services: Services, project_id: UUID, patient_id: str, *, actor: Actor, reach: Reach) -> None:
    """Stop: nothing more is given, what was is to be deleted. Nothing happens when they do not take part."""
    values = {"patient": patient_id, "project": project_id, "now": clock.now()}
    async with services.db.transaction():
        name = await services.db.fetch_val(QUERIES["leave"], values, reach=reach.of_holder().patients())
        if name is not None:
            await services.audit.record(
                Event.RESEARCH_LEFT, who=actor.who(), patient_id=patient_id, detail={"project": name}
            )


async def tell(services: Services) -> None:
    """Tell projects what to delete: by mail, pseudonyms only."""
    async with services.db.transaction():
        await services.db.execute(QUERIES["note_withdrawals"], {"now": clock.now()})
        waiting: dict[UUID, list[Record]] = {}
        for row in await services.db.fetch_all(QUERIES["withdrawals_to_tell"]):
            waiting.setdefault(row["id"], []).append(row)
        for project_id, rows in waiting.items():
            ids = [row["pseudonym"] for row in rows]
            await letters.post(
                services, "research_delete", rows[0]["contact"], name=rows[0]["name"], ids="\n".join(ids)
            )
            values = {"now": clock.now(), "project": project_id, "pseudonyms": ids}
            await services.db.execute(QUERIES["told"], values)


async def key_of(services: Services, project_id: UUID) -> bytes:
    """The key that pseudonyms, UIDs and dates of a project are made with. Raises NotFound."""
    sealed = await services.db.fetch_val(QUERIES["project_key"], {"id": project_id})
    if sealed is None:
        raise NotFound()
    return services.keyring.open(None, sealed, _context(project_id))


async def note(services: Services, actor: Actor, project_id: UUID, act: str, name: str) -> None:
    """What an operator did to a project, in the system's log."""
    if actor.kind.value != "operator":
        raise Forbidden()
    detail = {"project": name, "id": str(project_id), "act": act}
    await services.audit.record(Event.RESEARCH_ACTED, who=actor.who(), patient_id=None, detail=detail)


def options_of(row: Record) -> Options:
    """The options of a project; what a person is not shown of them is off."""
    values = dict(row)
    return Options(**{name: values.get(name, False) for name in Options.__annotations__})


def _project(row: Record) -> Project:
    names = [name for name in Project.__annotations__ if name not in ("options", "modalities")]
    facts = {name: row[name] for name in names}
    return Project(**facts, options=options_of(row), modalities=tuple(row["modalities"]))


def _context(project_id: UUID) -> bytes:
    return b"research:" + project_id.bytes
