"""What stands beside the password: passkeys first, codes of an app second, ten codes on paper.

Staff and doctors need one (decision 13); patients may have one. A code is tried against the app's first, then the
codes on paper, under one delay that grows: per account and network long, per account alone short, so that who knows
the password cannot keep the owner out.
"""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from server.core.errors import NotAuthenticated
from server.core.settings import Settings
from server.core.texts import N_
from server.storage.db import Database
from server.storage.sql import load

from . import attempts, notices, people, recovery_codes, totp
from .needs import Needs
from .people import Account

QUERIES = load(__package__, "second_factor.sql")

STAFF = ("doctor", "provider", "operator")
WRONG = N_("This code is not right, or was used already.")

PAIR = attempts.Limit("factor-network", free=5, longest=15 * 60)
ACCOUNT = attempts.Limit("factor", free=10, longest=5 * 60)
TELL_AFTER = 5  # wrong codes: whoever types them knows the password


@dataclass(frozen=True)
class Factors:
    """What an account has."""

    totp: bool
    passkeys: int
    codes: int  # on paper, unused

    def __bool__(self) -> bool:
        return self.totp or self.passkeys > 0


async def of(db: Database, account_id: UUID) -> Factors:
    """What the account has beside its password."""
    row = await db.fetch_one(QUERIES["factors_of"], {"account": account_id})
    assert row is not None  # a SELECT of scalars has a row
    return Factors(row["totp"], row["passkeys"], row["codes"])


def required_of(settings: Settings) -> tuple[str, ...]:
    """The roles that reach nothing without a second factor."""
    return STAFF if settings.needs_second_factor else ()


async def check(services: Needs, account: Account, code: str, address: str) -> str:
    """Spend a code; `totp` or `recovery`. Raises NotAuthenticated, and TooManyRequests after many wrong ones.

    Call it outside of a transaction, which could take the count of failures back.
    """
    network = attempts.network_of(address)
    pair = attempts.subject(PAIR, str(account.id), network)
    own = attempts.subject(ACCOUNT, str(account.id))
    await attempts.begin(services.db, pair)
    if not await people.is_at_home(services.db, account.id, network):
        await attempts.begin(services.db, own)
    kind = await _spent(services, account, code)
    if kind is None:
        if await attempts.count(services.db, pair) == TELL_AFTER:
            await notices.tell(services, account, "codes-tried")
        raise NotAuthenticated(WRONG)
    await attempts.succeeded(services.db, pair, own)
    if kind == "recovery":
        await notices.tell(services, account, "recovery-used")
    return kind


async def remove_all(db: Database, account_id: UUID) -> None:
    """The password alone signs in again, or a new factor is to be set up."""
    await db.execute(QUERIES["remove_factors"], {"account": account_id})


async def _spent(services: Needs, account: Account, code: str) -> str | None:
    if await totp.spend(services.db, services.keyring, account.id, code):
        return "totp"
    if await recovery_codes.spend(services.db, account.id, code):
        return "recovery"
    return None
