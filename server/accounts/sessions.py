"""Sessions: what a browser holds a cookie for.

The cookie carries 256 random bits of which only the digest is kept. A session runs out 30 minutes after its
last use, 12 hours after its start, and when it is ended; what reads it asks the table each time.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from server.core import clock
from server.core.ids import digest, new_secret
from server.storage.db import Database, Record
from server.storage.sql import load

from .attempts import network_of

QUERIES = load(__package__)

IDLE = timedelta(minutes=30)
ABSOLUTE = timedelta(hours=12)
TOUCH_EVERY = timedelta(minutes=1)
CONFIRMED_FOR = timedelta(minutes=15)  # a grave act asks for the password again after this
KEPT_AFTER_END = timedelta(days=90)  # shown as past sign-ins, and as networks of the owner


@dataclass(frozen=True)
class Session:
    """One sign-in of one browser."""

    id: UUID
    account_id: UUID
    csrf_token: str
    user_agent: str
    address: str
    created_at: datetime
    seen_at: datetime
    confirmed_at: datetime
    idle_until: datetime
    expires_at: datetime
    factor: str = ""  # what stood beside the password: passkey, totp, recovery
    ended_at: datetime | None = None

    @property
    def lately_confirmed(self) -> bool:
        """Was the password typed a moment ago?"""
        return clock.now() - self.confirmed_at < CONFIRMED_FOR


async def start(
    db: Database,
    account_id: UUID,
    *,
    address: str = "",
    user_agent: str = "",
    replacing: str | None = None,
    factor: str = "",
) -> tuple[Session, str]:
    """Begin a session; the second value is the cookie's, kept nowhere else.

    `replacing` is the cookie value the browser came with: it ends, so that who planted it is not signed in.
    """
    secret, now = new_secret(), clock.now()
    values = {"id": uuid4(), "secret_hash": digest(secret), "account": account_id, "csrf_token": new_secret()}
    facts = {"address": address, "network": network_of(address), "user_agent": user_agent[:300]}
    facts["factor"] = factor
    times = {"now": now, "idle_until": now + IDLE, "expires_at": now + ABSOLUTE}
    async with db.transaction():
        if replacing:
            await end_by_secret(db, replacing)
        row = await db.fetch_one(QUERIES["add_session"], {**values, **facts, **times})
    assert row is not None
    return _session(row), secret


async def find(db: Database, secret: str) -> Session | None:
    """The living session of this cookie value."""
    values = {"secret_hash": digest(secret), "now": clock.now()}
    row = await db.fetch_one(QUERIES["living_session"], values)
    return _session(row) if row is not None else None


async def touch(db: Database, session: Session) -> None:
    """The session was used; writes at most once a minute, and never brings back what has run out."""
    if clock.now() - session.seen_at >= TOUCH_EVERY:
        await keep_alive(db, session.id)


async def keep_alive(db: Database, session_id: UUID) -> None:
    """The same for who knows the id only: an upload that goes on for long (decision 27) says so every few minutes."""
    now = clock.now()
    values = {"id": session_id, "now": now, "stale": now - TOUCH_EVERY, "idle_until": now + IDLE}
    await db.execute(QUERIES["touch_session"], values)


async def confirm(db: Database, session_id: UUID) -> None:
    """The password was typed again (people.check_password)."""
    await db.execute(QUERIES["confirm_session"], {"id": session_id, "now": clock.now()})


async def end(db: Database, session_id: UUID, *, account_id: UUID) -> bool:
    """End one session of this account; False when there is none such that still lives."""
    values = {"id": session_id, "account": account_id, "now": clock.now()}
    return await db.execute(QUERIES["end_session"], values) > 0


async def end_by_secret(db: Database, secret: str) -> None:
    """Sign out the browser with this cookie value."""
    await db.execute(QUERIES["end_session_by_secret"], {"secret_hash": digest(secret), "now": clock.now()})


async def end_all(db: Database, account_id: UUID, *, keep: UUID | None = None) -> int:
    """End all sessions of the account, save `keep`; how many there were."""
    values = {"account": account_id, "now": clock.now(), "keep": keep}
    return await db.execute(QUERIES["end_sessions"], values)


async def sessions_of(db: Database, account_id: UUID) -> list[Session]:
    """The living sessions of an account, the last used first."""
    rows = await db.fetch_all(QUERIES["sessions_of"], {"account": account_id, "now": clock.now()})
    return [_session(row) for row in rows]


async def set_factor(db: Database, session_id: UUID, factor: str) -> None:
    """A second factor was shown within this session: it was set up, or used to confirm."""
    await db.execute(QUERIES["set_factor"], {"id": session_id, "factor": factor})


async def wear(db: Database, session_id: UUID, hat: str) -> str | None:
    """Another hat for a doctor (`patient` or none); the new value of the cookie, or None when the session is over."""
    secret = new_secret()
    values = {"id": session_id, "hat": hat, "secret_hash": digest(secret), "now": clock.now()}
    return secret if await db.execute(QUERIES["wear_hat"], values) else None


async def signed_in_from(db: Database, account_id: UUID, network: str) -> bool:
    """Has the owner signed in from this network lately?"""
    values = {"account": account_id, "network": network, "since": clock.now() - KEPT_AFTER_END}
    return bool(await db.fetch_val(QUERIES["signed_in_from"], values))


async def forget_old(db: Database) -> None:
    """Drop sessions that ended long ago."""
    await db.execute(QUERIES["forget_sessions"], {"before": clock.now() - KEPT_AFTER_END})


def _session(row: Record) -> Session:
    return Session(**{name: row[name] for name in Session.__dataclass_fields__})
