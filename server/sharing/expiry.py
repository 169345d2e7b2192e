"""What time does to shares: invitations expire at 336 hours, shares end at their chosen date.

The statements that give access ask the clock themselves, so nothing is open longer for this job being late; it
writes down what has happened: the state, the Consent, the event, the mail.
"""

from __future__ import annotations

from datetime import timedelta

import structlog

from server.access.services import Services
from server.accounts import verification
from server.audit.events import Event
from server.core import clock
from server.core.errors import ServerError
from server.jobs.queue import Kit, Periodic

from . import guest, notify, request
from .acts import QUERIES, record
from .model import State

log = structlog.get_logger(__name__)

EVERY = timedelta(minutes=10)
REQUESTS_KEPT = timedelta(days=365)


async def run(services: Services) -> None:
    """Write down everything that has expired or ended, each in a transaction of its own."""
    for row in await services.db.fetch_all(QUERIES["due"], {"now": clock.now()}):
        try:
            await _write_down(services, row["patient_id"], row["id"], State(row["state"]))
        except ServerError as exc:  # the next turn comes to it again
            log.warning(
                "a share that is over was not written down", share=row["id"], error=type(exc).__name__
            )
    await guest.write_down(services)
    await services.db.execute(QUERIES["forget_requests"], {"before": clock.now() - REQUESTS_KEPT})


async def _write_down(services: Services, patient_id: str, share_id: str, state: State) -> None:
    to = State.ENDED if state is State.ACTIVE else State.EXPIRED
    event = Event.SHARE_ENDED if state is State.ACTIVE else Event.SHARE_EXPIRED
    async with services.db.transaction():
        now = clock.now()
        values = {"patient": patient_id, "id": share_id, "now": now, "to": to, "from": state}
        row = await services.db.fetch_one(QUERIES["write_down"], values)
        if row is None:
            return  # another process did, or it was sent again meanwhile
        share = await record(services, row, event, who=None, author="server")
        if state is State.INVITED:
            await notify.expired(services, share)
        elif state is State.ACTIVE:
            await notify.over(services, share)


KIT = Kit(
    handlers={request.JOB: request.deliver, verification.CONFIRMED: request.address_confirmed},
    periodic=(Periodic("sharing: what time ends", EVERY, run),),
)
