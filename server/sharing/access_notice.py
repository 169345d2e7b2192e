"""Being told that others looked: at once, once a day, or not at all ("Beyond the seed" 3).

The mail says how often, and leads to the Activity page; who looked at what stands behind the sign-in.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import NotFound
from server.jobs.queue import Kit, Periodic
from server.storage.db import Record
from server.storage.sql import load

from . import notify

QUERIES = load(__package__, "access_notice.sql")
LOOKS = (
    Event.STUDY_VIEWED,
    Event.STUDY_DOWNLOADED,
    Event.RECORD_READ,
    Event.RECORD_EXPORTED,
    Event.LINK_OPENED,
    Event.EMERGENCY_BEGUN,
)
SETTLED = timedelta(seconds=10)  # events of transactions under way may carry an earlier moment
A_DAY = timedelta(hours=24)


class How(StrEnum):
    """How somebody wants to be told."""

    EACH = "each"
    DAILY = "daily"
    OFF = "off"


USUAL = How.DAILY


async def of(services: Services, patient_id: str, *, actor: Actor, reach: Reach) -> How:
    """What the caller chose for this record."""
    values = {"patient": patient_id, "account": actor.account_id}
    found = await services.db.fetch_val(QUERIES["notice_of"], values, reach=reach.of_holder().patients())
    return How(found) if found else USUAL


async def choose(services: Services, patient_id: str, how: How, *, actor: Actor, reach: Reach) -> None:
    """From now on so. Raises NotFound for a record the caller does not hold."""
    values = {"patient": patient_id, "account": actor.account_id, "how": how, "now": clock.now()}
    found = await services.db.fetch_val(QUERIES["choose_notice"], values, reach=reach.of_holder().patients())
    if found is None:
        raise NotFound()


async def tell(services: Services) -> None:
    """Write the mails whose turn it is."""
    now = clock.now()
    await services.db.execute(QUERIES["begin_notices"], {"now": now})
    values = {
        "now": now,
        "until": now - SETTLED,
        "a_day_ago": now - A_DAY,
        "events": [str(each) for each in LOOKS],
    }
    for row in await services.db.fetch_all(QUERIES["due_notices"], values):
        await _tell(services, row)


async def _tell(services: Services, row: Record) -> None:
    values = {"patient": row["patient_id"], "account": row["account_id"], "how": row["how"]}
    values |= {"before": row["told_until"], "until": clock.now() - SETTLED}
    async with services.db.transaction():
        if await services.db.fetch_val(QUERIES["told"], values) is None:
            return
        if row["looks"]:
            await notify.looked(
                services, row["email"], row["looks"], daily=row["how"] == How.DAILY, language=row["language"]
            )


KIT = Kit(periodic=(Periodic("sharing: tell of looks", timedelta(minutes=1), tell),))
