"""The care team: a doctor passes on what a patient shares with them, where the patient allows it (product row 46).

What is passed on is a share of its own under its parent: never more than the parent gives, visible to the patient,
and over when the parent is.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from server.access.action import Right
from server.access.actor import Actor
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Forbidden, NotFound, Unprocessable
from server.core.ids import new_id, new_secret
from server.core.texts import N_
from server.storage.where import TRUE

from . import notify
from .acts import QUERIES, living, record, require_patience, values_of
from .model import MOST_MESSAGE, WAITS, Share, State, right_set, share_of, taken_back
from .share import require_another

USUAL_RIGHTS = (Right.IMAGES, Right.REPORTS)


async def pass_on(
    services: Services,
    share_id: str,
    *,
    name: str,
    email: str,
    rights: Iterable[str] = USUAL_RIGHTS,
    message: str = "",
    actor: Actor,
) -> Share:
    """Invite a colleague to what is shared with the doctor who acts; again while it waits: a new link.

    Raises NotFound (nothing of this id is shared with the actor now), Forbidden (the patient has not allowed it),
    AlreadyStored, Unprocessable.
    """
    address = people.normal_email(email)
    given = frozenset(Right(right) for right in right_set(rights))
    await require_patience(services, actor)
    async with services.db.transaction():
        parent = await _own_share(services, share_id, actor)
        if Right.PASS_ON not in parent.rights:
            raise Forbidden(N_("The patient has not allowed this to be passed on."))
        if not given <= parent.rights:
            raise Unprocessable(N_("Nothing can be passed on that was not shared with you."))
        if people.fold_email(parent.email) == people.fold_email(address):
            raise Unprocessable(N_("This is your own address; you can see the record already."))
        await services.db.fetch_val(QUERIES["lock_patient"], {"patient": parent.patient_id}, reach=TRUE)
        await require_another(services, parent.patient_id, email=address)
        return await _invite(services, parent, _offer(parent, name, address, given, message), actor)


async def passed_on(services: Services, share_id: str, *, actor: Actor) -> list[Share]:
    """What the doctor who acts has passed on of this share of theirs."""
    values = {"id": share_id, "account": actor.account_id}
    rows = await services.db.fetch_all(QUERIES["passed_on"], values, alive=living(actor))
    return [share_of(row) for row in rows]


async def take_back(services: Services, share_id: str, *, actor: Actor) -> Share:
    """End what the doctor who acts has passed on. Raises NotFound, Conflict when it is over already."""
    values = {"id": share_id, "account": actor.account_id}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["lock_passed_on"], values, alive=living(actor))
        if row is None:
            raise NotFound()
        after, event = taken_back(share_of(row), clock.now())
        if event is None:
            raise Conflict(N_("This is over already."))
        saved = await services.db.fetch_one(QUERIES["save_share"], values_of(after))
        assert saved is not None  # locked above
        ended = await record(services, saved, event, who=actor.who(), author=actor.author)
        await notify.over(services, ended)
    return ended


async def _own_share(services: Services, share_id: str, actor: Actor) -> Share:
    values = {"id": share_id, "account": actor.account_id, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["lock_own_share"], values, alive=living(actor))
    if row is None:
        raise NotFound()
    return share_of(row)


def _offer(parent: Share, name: str, address: str, rights: frozenset[Right], message: str) -> Share:
    shown, now = " ".join(name.split()), clock.now()
    if not shown or len(shown) > people.MOST_NAME:
        raise Unprocessable(N_("The colleague's name is needed."))
    if len(message) > MOST_MESSAGE:
        raise Unprocessable(f"A message can have at most {MOST_MESSAGE} characters.")
    return replace(
        parent,
        id=new_id(),
        parent_id=parent.id,
        practitioner_id=None,
        name=shown,
        email=address,
        rights=rights,
        message=message.strip(),
        stored_state=State.INVITED,
        created_at=now,
        waits_until=now + WAITS,
        accepted_at=None,
        last_looked_at=None,
    )


async def _invite(services: Services, parent: Share, offer: Share, actor: Actor) -> Share:
    secret, event = new_secret(), Event.SHARE_INVITED
    known = {"patient": parent.patient_id, "parent": parent.id, "folded": people.fold_email(offer.email)}
    before = await services.db.fetch_one(QUERIES["child_of"], known)
    if before is not None and before["state"] == "active":
        raise AlreadyStored(N_("You have passed this on to them already."))
    if before is not None:
        offer, event = replace(offer, id=before["id"], created_at=before["created_at"]), Event.SHARE_RESENT
    statement = QUERIES["add_share" if before is None else "save_share"]
    row = await services.db.fetch_one(statement, values_of(offer, secret))
    assert row is not None
    made = await record(
        services, row, event, who=actor.who(), author=actor.author, detail={"passed_on_from": parent.id}
    )
    await notify.passed_on(services, made, secret)
    return made
