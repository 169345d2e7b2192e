"""The doctor's side of an invitation: what the link leads to, accept, decline, give back.

Opening the link changes nothing (mail scanners open links). A link that is withdrawn, spent, late or made up leads
to one and the same answer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from server.access.actor import Actor
from server.access.services import Services
from server.accounts import verification
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import Forbidden, Gone, NotFound
from server.core.ids import digest
from server.core.texts import N_
from server.jobs import queue
from server.storage.db import Record
from server.storage.where import Where

from . import notify
from .acts import QUERIES, by_id, by_secret, living, record
from .model import Share, share_of

PATH = "/invitation/{secret}"
DEAD = N_("This invitation does not work any more. Ask whoever invited you for a new one.")
WRONG_ACCOUNT = (
    "This invitation is for a registered doctor who signs in with the address it was sent to, "
    "and who has confirmed that address."
)


@dataclass(frozen=True)
class Invitation:
    """What a stranger with the link may know, until they sign in as the one it was sent to."""

    share_id: str
    waits_until: datetime


@dataclass(frozen=True)
class Offer:
    """What the invited doctor is offered, and by whom."""

    share: Share
    inviter: str


async def look(services: Services, secret: str) -> Invitation | None:
    """The invitation behind a link, while it waits; None for every other link alike."""
    row = await _open(services, by_secret(secret))
    return Invitation(row["id"], row["waits_until"]) if row is not None else None


async def offer(services: Services, secret: str, *, actor: Actor) -> Offer | None:
    """The same for the invited doctor, who is signed in with the address it was sent to; None for anybody else."""
    invitation = await look(services, secret)
    if invitation is None:
        return None
    return next(
        (each for each in await waiting(services, actor=actor) if each.share.id == invitation.share_id), None
    )


async def waiting(services: Services, *, actor: Actor) -> list[Offer]:
    """The invitations that wait for the confirmed address of this account."""
    if actor.account_id is None:
        return []
    values = {"account": actor.account_id, "now": clock.now()}
    rows = await services.db.fetch_all(QUERIES["invitations_for"], values)
    return [Offer(share_of(row), row["inviter"] or "") for row in rows]


async def prove_address(services: Services, secret: str, *, actor: Actor) -> bool:
    """Confirm the address of an account that came with the link mailed to it; False when it is another address."""
    values = {"account": actor.account_id, "secret_hash": digest(secret), "now": clock.now()}
    async with services.db.transaction():
        proved = await services.db.fetch_val(QUERIES["prove_address"], values) is not None
        if proved:
            await queue.enqueue(services.db, verification.CONFIRMED, {"account": str(actor.account_id)})
            await services.audit.record(Event.EMAIL_VERIFIED, who=actor.who(), patient_id=None)
    return proved


async def accept(services: Services, secret: str, *, actor: Actor) -> Share:
    """Accept by the link; access starts now. Raises Gone for a dead link, Forbidden for another account."""
    return await _accept(services, by_secret(secret), actor)


async def accept_waiting(services: Services, share_id: str, *, actor: Actor) -> Share:
    """Accept one of `waiting`. Raises NotFound for what does not wait for this account, as for what is not there."""
    try:
        return await _accept(services, by_id(share_id), actor)
    except (Gone, Forbidden) as exc:
        raise NotFound() from exc


async def decline(services: Services, secret: str, *, actor: Actor | None = None) -> Share:
    """Decline by the link; whoever holds it may. Raises Gone."""
    return await _decline(services, by_secret(secret), actor)


async def decline_waiting(services: Services, share_id: str, *, actor: Actor) -> Share:
    """Decline one of `waiting`. Raises NotFound."""
    if share_id not in {each.share.id for each in await waiting(services, actor=actor)}:
        raise NotFound()
    return await _decline(services, by_id(share_id), actor)


async def give_back(services: Services, share_id: str, *, actor: Actor) -> Share:
    """The doctor ends what was shared with them; the patient is told. Raises NotFound."""
    values = {"id": share_id, "account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["leave"], values, alive=living(actor))
        if row is None:
            raise NotFound()
        share = await record(services, row, Event.SHARE_ENDED, who=actor.who(), author=actor.author)
        await notify.given_back(services, share)
    return share


async def _accept(services: Services, which: Where, actor: Actor) -> Share:
    values = {"account": actor.account_id, "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["accept"], values, which=which, alive=living(actor))
        if row is not None:
            share = await record(services, row, Event.SHARE_ACCEPTED, who=actor.who(), author=actor.author)
            await notify.accepted(services, share)
            return share
    if await _open(services, which) is None:
        raise Gone(DEAD)
    raise Forbidden(WRONG_ACCOUNT)


async def _decline(services: Services, which: Where, actor: Actor | None) -> Share:
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["decline"], {"now": clock.now()}, which=which)
        if row is None:
            raise Gone(DEAD)
        # Without an account: known only as whoever read the mail.
        who = actor.who() if actor is not None and actor.account_id else Who(name=row["name"], role="invited")
        author = actor.author if actor is not None and actor.account_id else "server"
        share = await record(services, row, Event.SHARE_DECLINED, who=who, author=author)
        await notify.declined(services, share)
    return share


async def _open(services: Services, which: Where) -> Record | None:
    return await services.db.fetch_one(QUERIES["open_invitation"], {"now": clock.now()}, which=which)
