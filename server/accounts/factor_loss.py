"""The second step and the codes on paper are lost: a way back that is slow, and loud.

The weak link of every second factor is the way around it. Ours takes three things: the password (one is half signed
in), the mailbox (the link), and three days in which the owner can stop it by a link or by signing in. An operator
can do it at once by command (`lightbox user recover`), having seen who it is.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID, uuid4

from server.audit.events import Event
from server.core import clock
from server.core.errors import Gone
from server.storage.db import Database
from server.storage.sql import load

from . import notices, people, second_factor, verification
from .needs import NeedsLog
from .people import Account
from .verification import Purpose

QUERIES = load(__package__, "second_factor.sql")
SECRETS = load(__package__)

COOL_OFF = timedelta(days=3)
LINK_FOR = timedelta(days=2)
STOP_PATH = "/second-step/stop/{secret}"
TAKE_OFF_PATH = "/second-step/take-off/{secret}"


async def ask(services: NeedsLog, account: Account, address: str) -> None:
    """Begin the days of waiting and tell the owner; asked again, they do not begin anew, and nobody is mailed."""
    now = clock.now()
    values = {"id": uuid4(), "account": account.id, "now": now, "ripe_at": now + COOL_OFF}
    async with services.db.transaction():
        if await services.db.fetch_val(QUERIES["ask_loss"], values) is None:
            return
        secret = await verification.new_link(
            services.db, account.id, Purpose.FACTOR_KEPT, COOL_OFF + LINK_FOR
        )
        path = STOP_PATH.format(secret=secret)
        await notices.post(services, account, "factor_lost", path, until=now + COOL_OFF)
        who = verification.who(account, address)
        await services.audit.record(Event.FACTOR_LOST, who=who, patient_id=None)


async def stop(services: NeedsLog, secret: str, address: str) -> None:
    """The owner says no. Raises Gone for a link that is spent, late or unknown."""
    async with services.db.transaction():
        account_id = await verification.spend(services.db, secret, Purpose.FACTOR_KEPT)
        await cancel(services.db, account_id)
        account = await people.get(services.db, account_id)
        who = verification.who(account, address)
        await services.audit.record(Event.FACTOR_KEPT, who=who, patient_id=None)


async def cancel(db: Database, account_id: UUID) -> None:
    """The second step is there after all (a sign-in with it, or the owner's word)."""
    values = {"account": account_id, "now": clock.now()}
    if await db.fetch_val(QUERIES["cancel_loss"], values) is None:
        return
    for purpose in (Purpose.FACTOR_LOST, Purpose.FACTOR_KEPT):
        await db.execute(SECRETS["drop_secrets"], {"account": account_id, "purpose": purpose})


async def take_off(services: NeedsLog, secret: str, password: str, address: str) -> Account:
    """Take all factors off: the mailed link and the password together. Every session and app ends.

    Raises Gone for a dead link, NotAuthenticated and TooManyRequests for the password; then the link still works.
    """
    account_id = await verification.whose(services.db, secret, Purpose.FACTOR_LOST)
    if account_id is None:
        raise Gone(verification.DEAD)
    await people.check_password(services.db, account_id, password)
    async with services.db.transaction():
        await verification.spend(services.db, secret, Purpose.FACTOR_LOST)
        values = {"account": account_id, "now": clock.now()}
        if await services.db.fetch_val(QUERIES["finish_loss"], values) is None:
            raise Gone(verification.DEAD)  # stopped meanwhile
        return await clear(services, account_id, address)


async def clear(services: NeedsLog, account_id: UUID, address: str = "") -> Account:
    """Take all factors off, whoever decided it; the owner is told."""
    async with services.db.transaction():
        account = await people.get(services.db, account_id)
        await second_factor.remove_all(services.db, account_id)
        await people.end_everything(services.db, account_id, why="second factor taken off")
        await notices.tell(services, account, "factor-removed")
        who = verification.who(account, address)
        await services.audit.record(Event.FACTOR_REMOVED, who=who, patient_id=None)
    return account


async def mail_ripe(services: NeedsLog) -> None:
    """Mail the link to everybody whose days of waiting are over."""
    async with services.db.transaction():
        rows = await services.db.fetch_all(QUERIES["ripe_losses"], {"now": clock.now()})
        for row in rows:
            account = await people.get(services.db, row["account_id"])
            if account.disabled_at is not None:
                continue
            secret = await verification.new_link(services.db, account.id, Purpose.FACTOR_LOST, LINK_FOR)
            path = TAKE_OFF_PATH.format(secret=secret)
            await notices.post(services, account, "factor_ripe", path, until=clock.now() + LINK_FOR)
