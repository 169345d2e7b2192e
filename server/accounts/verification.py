"""One-time secrets by mail: confirm an address, choose a new password.

What is mailed is kept as a digest, works once, and is spent by a POST: opening the link only shows a page, for mail
scanners open links too.
"""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from uuid import UUID

from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import Gone
from server.core.ids import digest, new_secret
from server.jobs import queue
from server.jobs.queue import Kit, Periodic
from server.storage.db import Database
from server.storage.sql import load

from . import attempts, notices, people, sessions
from .needs import NeedsLog
from .people import Account

QUERIES = load(__package__)

VERIFY_PATH = "/verify/{secret}"
RESET_PATH = "/reset/{secret}"
SIGN_IN_PATH = "/sign-in"
KEPT_AFTER_END = timedelta(days=30)

CONFIRMED = "address-confirmed"  # the job for rooms above: what waited for this address can be shown now

# A mailbox must not be filled by somebody who knows its address.
MAILS = attempts.Limit("mails", free=5, longest=60 * 60)


class Purpose(StrEnum):
    """What a secret is good for, and nothing else."""

    VERIFY = "verify-email"
    RESET = "reset-password"
    FACTOR_LOST = "factor-lost"  # takes the second factor off, after days of waiting
    FACTOR_KEPT = "factor-kept"  # stops that


LIFETIMES = {Purpose.VERIFY: timedelta(hours=48), Purpose.RESET: timedelta(hours=1)}
DEAD = "This link does not work any more. Ask for a new one."


async def ask(services: NeedsLog, account: Account) -> None:
    """Mail a link that confirms the account's address; links sent before stop working.

    Raises TooManyRequests when the mailbox had several already.
    """
    await attempts.begin(services.db, attempts.subject(MAILS, account.email_folded))
    async with services.db.transaction():
        await _post(services, account, Purpose.VERIFY, "verify", VERIFY_PATH)


async def ask_reset(services: NeedsLog, email: str) -> None:
    """Mail a link to choose a new password, if the address has an account; nothing tells whether it has.

    Raises TooManyRequests when the mailbox had several already, whether it has an account or not.
    """
    await attempts.begin(services.db, attempts.subject(MAILS, people.fold_email(email)))
    account = await people.find_by_email(services.db, email)
    if account is None or account.disabled_at is not None:
        return
    async with services.db.transaction():
        await _post(services, account, Purpose.RESET, "reset", RESET_PATH)


async def tell_known(services: NeedsLog, email: str) -> None:
    """Somebody signs up with an address that has an account: its owner is told, the page answers as ever."""
    account = await people.find_by_email(services.db, email)
    if account is None:
        return
    await attempts.begin(services.db, attempts.subject(MAILS, account.email_folded))
    await notices.post(services, account, "known", SIGN_IN_PATH)


async def lives(db: Database, secret: str, purpose: Purpose) -> bool:
    """Would this link still work? For the page that a GET shows."""
    values = {"secret_hash": digest(secret), "purpose": purpose, "now": clock.now()}
    return bool(await db.fetch_val(QUERIES["secret_lives"], values))


async def confirm(services: NeedsLog, secret: str, *, address: str = "") -> Account:
    """Spend the link: the account's address is confirmed. Raises Gone for a link that is spent, late or unknown."""
    async with services.db.transaction():
        account = await people.get(services.db, await spend(services.db, secret, Purpose.VERIFY))
        account = await people.set_verified(services.db, account.id)
        await queue.enqueue(services.db, CONFIRMED, {"account": str(account.id)})
        await services.audit.record(Event.EMAIL_VERIFIED, who=who(account, address), patient_id=None)
    return account


async def reset(services: NeedsLog, secret: str, password: str, *, address: str = "") -> Account:
    """Spend the link: a new password, every session and app ended, and the address is confirmed by the way.

    Raises Gone, or Unprocessable for a password that cannot be; then the link still works.
    """
    async with services.db.transaction():
        account_id = await spend(services.db, secret, Purpose.RESET)
        await people.change_password(services.db, account_id, password)
        await attempts.vouch(services.db, account_id, attempts.network_of(address))
        account = await people.set_verified(services.db, account_id)
        await queue.enqueue(services.db, CONFIRMED, {"account": str(account.id)})
        await services.audit.record(Event.PASSWORD_CHANGED, who=who(account, address), patient_id=None)
    return account


def who(account: Account, address: str = "") -> Who:
    """The account's owner as the audit log wants it."""
    return Who(name=account.name, role=account.role, account_id=str(account.id), address=address)


async def _post(services: NeedsLog, account: Account, purpose: Purpose, name: str, path: str) -> None:
    lifetime = LIFETIMES[purpose]
    secret = await new_link(services.db, account.id, purpose, lifetime)
    await notices.post(services, account, name, path.format(secret=secret), until=clock.now() + lifetime)


async def new_link(db: Database, account_id: UUID, purpose: Purpose, lifetime: timedelta) -> str:
    """A secret for a link; those made for the same purpose before stop working."""
    secret, now = new_secret(), clock.now()
    values = {"account": account_id, "purpose": purpose}
    await db.execute(QUERIES["drop_secrets"], values)
    kept = {"secret_hash": digest(secret), "now": now, "expires_at": now + lifetime}
    await db.execute(QUERIES["add_secret"], values | kept)
    return secret


async def whose(db: Database, secret: str, purpose: Purpose) -> UUID | None:
    """The account of a link that would still work."""
    values = {"secret_hash": digest(secret), "purpose": purpose, "now": clock.now()}
    found: UUID | None = await db.fetch_val(QUERIES["whose_secret"], values)
    return found


async def spend(db: Database, secret: str, purpose: Purpose) -> UUID:
    """Use a link up; whose it was. Raises Gone."""
    values = {"secret_hash": digest(secret), "purpose": purpose, "now": clock.now()}
    account_id: UUID | None = await db.fetch_val(QUERIES["spend_secret"], values)
    if account_id is None:
        raise Gone(DEAD)
    return account_id


async def _forget(services: NeedsLog) -> None:
    """Drop what no longer matters: old sessions, secrets, counts of tries."""
    await sessions.forget_old(services.db)
    await attempts.forget_old(services.db)
    await services.db.execute(QUERIES["forget_secrets"], {"before": clock.now() - KEPT_AFTER_END})


KIT = Kit(periodic=(Periodic("accounts: forget the old", timedelta(hours=6), _forget),))
