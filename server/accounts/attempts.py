"""Failed tries by account and by network: a growing delay, never a lock-out.

A stranger who keeps trying must not be able to keep the owner out. So the long delay belongs to the pair of
account and network; that of the account alone is short, and not asked where the owner signed in from lately.
"""

import hashlib
import ipaddress
from dataclasses import dataclass
from datetime import timedelta
from math import ceil
from uuid import UUID

from server.core import clock
from server.core.errors import TooManyRequests
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__)
FORGET_AFTER = timedelta(hours=24)


@dataclass(frozen=True)
class Limit:
    """How many tries are free, and how long (seconds) the doubling delay after them may become."""

    kind: str
    free: int
    longest: int


PAIR = Limit("account-network", free=5, longest=15 * 60)
NETWORK = Limit("network", free=30, longest=15 * 60)
ACCOUNT = Limit("account", free=20, longest=30)
VOUCHED = Limit("vouched", free=0, longest=0)


@dataclass(frozen=True)
class Subject:
    """What the tries are counted by."""

    limit: Limit
    key: str


def subject(limit: Limit, *parts: str) -> Subject:
    """A subject that tells no name: the table keeps a digest."""
    key = hashlib.sha256("\0".join(parts).encode()).hexdigest()
    return Subject(limit, f"{limit.kind}:{key}")


def network_of(address: str) -> str:
    """The network one party commands: an IPv4 address, or the /64 of an IPv6 one; other text stays itself."""
    try:
        ip = ipaddress.ip_address(address)
    except ValueError:
        return address
    if ip.version == 6 and ip.ipv4_mapped:
        return str(ip.ipv4_mapped)
    return str(ip) if ip.version == 4 else str(ipaddress.ip_network((ip, 64), strict=False))


async def begin(db: Database, *subjects: Subject) -> None:
    """Count a try before it is made; raises TooManyRequests while the delay of those before has not passed.

    Call it outside of a transaction, which could take the count back.
    """
    for each in subjects:
        if not await _begin(db, each):
            raise TooManyRequests("Too many tries; wait a little.", retry_after=await _wait(db, each))


async def succeeded(db: Database, *subjects: Subject) -> None:
    """Forget the tries: it was the owner."""
    for each in subjects:
        await db.execute(QUERIES["clear_attempt"], {"subject": each.key})


async def vouch(db: Database, account_id: UUID, network: str) -> None:
    """The owner has shown to be there otherwise (a link from the mailbox): no stranger delays them for a day."""
    values = {"subject": subject(VOUCHED, str(account_id), network).key, "now": clock.now()}
    await db.execute(QUERIES["vouch"], values)


async def vouched(db: Database, account_id: UUID, network: str) -> bool:
    """Has the owner shown lately to be in this network?"""
    key = subject(VOUCHED, str(account_id), network).key
    row = await db.fetch_one(QUERIES["attempt_of"], {"subject": key})
    return row is not None and row["last_at"] > clock.now() - FORGET_AFTER


async def count(db: Database, each: Subject) -> int:
    """How many tries are counted."""
    row = await db.fetch_one(QUERIES["attempt_of"], {"subject": each.key})
    return int(row["tries"]) if row else 0


async def give_back(db: Database, each: Subject) -> None:
    """Take back the one try that succeeded; those before it stay, or an own account would clear a network."""
    await db.execute(QUERIES["give_back_attempt"], {"subject": each.key})


async def forget_old(db: Database) -> None:
    """Drop counts that no longer delay anybody."""
    await db.execute(QUERIES["forget_attempts"], {"before": clock.now() - FORGET_AFTER})


async def _begin(db: Database, each: Subject) -> bool:
    now = clock.now()
    values = {"subject": each.key, "now": now, "forgotten": now - FORGET_AFTER}
    limits = {"free": each.limit.free, "longest": each.limit.longest}
    return await db.fetch_val(QUERIES["begin_attempt"], {**values, **limits}) is not None


async def _wait(db: Database, each: Subject) -> int:
    row = await db.fetch_one(QUERIES["attempt_of"], {"subject": each.key})
    if row is None:
        return 1
    delay = min(2 ** max(0, row["tries"] - each.limit.free), each.limit.longest)
    left: timedelta = row["last_at"] + timedelta(seconds=delay) - clock.now()
    return max(1, ceil(left.total_seconds()))
