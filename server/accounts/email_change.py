"""Another e-mail address: both mailboxes are told, the new one confirms by a POST, the old one can take it back.

Whoever has a stolen session must not walk away with the account: the owner's mailbox keeps a link that works for a
week, before and after the change, and that undoes later changes too.
"""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta
from uuid import UUID, uuid4

from server.audit.events import Event
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Gone, TooManyRequests, Unprocessable
from server.core.ids import digest, new_secret
from server.jobs import queue
from server.storage.db import Database
from server.storage.sql import load

from . import attempts, notices, people, verification
from .needs import NeedsLog
from .people import Account

QUERIES = load(__package__, "email_change.sql")

CONFIRM_WITHIN = timedelta(hours=48)
UNDO_FOR = timedelta(days=7)
KEPT = timedelta(days=90)
CONFIRM_PATH = "/address/confirm/{secret}"
UNDO_PATH = "/address/keep/{secret}"
TAKEN = "Another account uses this address now."


async def ask(services: NeedsLog, account: Account, new: str, address: str) -> None:
    """Mail both addresses. For one that has an account already, its owner is told instead, and nothing shows here.

    Raises Unprocessable for what is no address or the same one, TooManyRequests when a mailbox had several mails.
    """
    new, now = people.normal_email(new), clock.now()
    if people.fold_email(new) == account.email_folded:
        raise Unprocessable("This is your address already.")
    await attempts.begin(services.db, attempts.subject(verification.MAILS, account.email_folded))
    await attempts.begin(services.db, attempts.subject(verification.MAILS, people.fold_email(new)))
    confirm, undo = new_secret(), new_secret()
    values = {"id": uuid4(), "account": account.id, "old": account.email, "new": new, "now": now}
    hashes = {"confirm_hash": digest(confirm), "undo_hash": digest(undo)}
    times = {"expires_at": now + CONFIRM_WITHIN, "undo_until": now + UNDO_FOR}
    known = await people.find_by_email(services.db, new)
    async with services.db.transaction():
        await services.db.execute(QUERIES["drop_waiting"], {"account": account.id})
        await services.db.execute(QUERIES["ask_change"], values | hashes | times)
        if known is None:
            path = CONFIRM_PATH.format(secret=confirm)
            await notices.post(services, account, "email_confirm", path, to=new, until=times["expires_at"])
        path = UNDO_PATH.format(secret=undo)
        await notices.post(services, account, "email_asked", path, until=times["undo_until"])
        who = verification.who(account, address)
        await services.audit.record(Event.EMAIL_CHANGE_ASKED, who=who, patient_id=None)
    if known is not None:
        with suppress(TooManyRequests):
            await verification.tell_known(services, new)


async def waiting(db: Database, account_id: UUID) -> str | None:
    """The address that waits to be confirmed."""
    row = await db.fetch_one(QUERIES["waiting_change"], {"account": account_id, "now": clock.now()})
    return str(row["new_email"]) if row else None


async def withdraw(db: Database, account_id: UUID) -> None:
    """The owner changed their mind before the new address confirmed."""
    await db.execute(QUERIES["drop_waiting"], {"account": account_id})


async def lives(db: Database, secret: str, *, undo: bool = False) -> bool:
    """Would this link still work? For the page that a GET shows."""
    statement = QUERIES["undo_lives" if undo else "change_lives"]
    return await db.fetch_one(statement, {"hash": digest(secret), "now": clock.now()}) is not None


async def confirm(services: NeedsLog, secret: str, address: str) -> Account:
    """The new mailbox is the owner's. Raises Gone for a dead link, Conflict when the address was taken meanwhile."""
    now = clock.now()
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["confirm_change"], {"hash": digest(secret), "now": now})
        if row is None:
            raise Gone(verification.DEAD)
        before = await people.get(services.db, row["account_id"])
        account = await _set(services.db, before.id, row["new_email"])
        undo = new_secret()
        await services.db.execute(QUERIES["new_undo"], {"id": row["id"], "undo_hash": digest(undo)})
        path = UNDO_PATH.format(secret=undo)
        await notices.post(
            services, account, "email_changed", path, to=row["old_email"], until=now + UNDO_FOR
        )
        await queue.enqueue(services.db, verification.CONFIRMED, {"account": str(account.id)})
        who = verification.who(account, address)
        await services.audit.record(Event.EMAIL_CHANGED, who=who, patient_id=None)
    return account


async def undo(services: NeedsLog, secret: str, address: str) -> Account:
    """The old mailbox says no: the old address again, every device and app signed out. Raises Gone, Conflict."""
    values = {"hash": digest(secret), "now": clock.now()}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["undo_change"], values)
        if row is None:
            raise Gone(verification.DEAD)
        account = await people.get(services.db, row["account_id"])
        await services.db.execute(QUERIES["undo_later"], values | {"account": account.id})
        if people.fold_email(row["old_email"]) != account.email_folded:
            account = await _set(services.db, account.id, row["old_email"])
        await people.end_everything(services.db, account.id, why="change of address taken back")
        await notices.tell(services, account, "email-undone")
        who = verification.who(account, address)
        await services.audit.record(Event.EMAIL_CHANGE_UNDONE, who=who, patient_id=None)
    return account


async def forget_old(db: Database) -> None:
    """Drop what nobody can undo any more."""
    await db.execute(QUERIES["forget_changes"], {"before": clock.now() - KEPT})


async def _set(db: Database, account_id: UUID, email: str) -> Account:
    values = {"account": account_id, "email": email, "folded": people.fold_email(email), "now": clock.now()}
    try:
        async with db.transaction():
            row = await db.fetch_one(QUERIES["set_email"], values)
    except AlreadyStored as exc:
        raise Conflict(TAKEN) from exc
    assert row is not None  # the account was read in this transaction
    return people.account_of(row)
