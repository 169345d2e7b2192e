"""Break-glass: a doctor looks in an emergency, where the patient has allowed that beforehand (off by default).

The patient carries a code, on a card. With it, the birth date and a reason a registered doctor sees images and reports
for two hours, as a share that ends by itself. Whoever holds the profile is told at once.
"""

from __future__ import annotations

from datetime import timedelta

from server.access.action import Right
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import Forbidden, NotFound, Unprocessable

from . import notify, profile_code
from .acts import QUERIES, record, values_of
from .model import MOST_MESSAGE, Share, given_now, share_of
from .profile_code import Purpose
from .share import require_another

LASTS = timedelta(hours=2)
LEAST_REASON = 10  # characters
RIGHTS = (Right.IMAGES, Right.REPORTS)


async def allow(services: Services, patient_id: str, *, actor: Actor, reach: Reach) -> str:
    """Allow it, with a new code; the one before opens nothing. Raises NotFound."""
    await _require_holder(services, patient_id, reach)
    async with services.db.transaction():
        code = await profile_code.make(services, patient_id, Purpose.EMERGENCY, actor=actor)
        await services.audit.record(Event.BREAK_GLASS_ALLOWED, who=actor.who(), patient_id=patient_id)
    return code


async def forbid(services: Services, patient_id: str, *, actor: Actor, reach: Reach) -> None:
    """Allow it no more; what is open now ends by ending its share. Raises NotFound."""
    await _require_holder(services, patient_id, reach)
    async with services.db.transaction():
        await profile_code.drop(services, patient_id, Purpose.EMERGENCY)
        await services.audit.record(Event.BREAK_GLASS_FORBIDDEN, who=actor.who(), patient_id=patient_id)


async def is_allowed(services: Services, patient_id: str, *, reach: Reach) -> bool:
    """Whether the patient allows it now. Raises NotFound."""
    await _require_holder(services, patient_id, reach)
    return Purpose.EMERGENCY in await profile_code.living(services, patient_id)


async def open_record(services: Services, code: str, birth_date: str, reason: str, *, actor: Actor) -> Share:
    """See the record for two hours. Raises Forbidden, Unprocessable, TooManyRequests."""
    why = " ".join(reason.split())
    if len(why) < LEAST_REASON or len(why) > MOST_MESSAGE:
        raise Unprocessable("Say in a sentence why: the patient reads it.")
    if actor.practitioner_id is None:
        raise Forbidden("Only a registered doctor opens a record in an emergency.")
    found = await profile_code.opened(services, code, birth_date, Purpose.EMERGENCY, actor=actor)
    if found["state"] != "active":
        raise Unprocessable(profile_code.WRONG)
    await require_another(services, found["patient_id"], account_id=actor.account_id)
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["practitioner"], {"id": actor.practitioner_id})
        if row is None or not await services.gate.lives(actor.credential):
            raise NotFound()
        new = given_now(
            found["patient_id"],
            actor.practitioner_id,
            name=actor.name,
            email=row["email"] or "",
            rights=RIGHTS,
            until=clock.now() + LASTS,
            message=why,
        )
        made = await services.db.fetch_one(QUERIES["add_share"], values_of(new))
        assert made is not None
        detail = {"reason": why}
        await record(
            services, made, Event.BREAK_GLASS_OPENED, who=actor.who(), author=actor.author, detail=detail
        )
        await notify.break_glass(services, found["patient_id"], actor.name)
    return share_of(made)


async def _require_holder(services: Services, patient_id: str, reach: Reach) -> None:
    if not await services.gate.reaches_patient(reach.of_holder(), patient_id):
        raise NotFound()
