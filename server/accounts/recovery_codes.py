"""Ten codes on paper for the day the telephone is gone: random, kept as digests, shown once, each good once."""

from __future__ import annotations

import secrets
from uuid import UUID

from server.core import clock
from server.core.ids import digest
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__, "second_factor.sql")

HOW_MANY = 10
LENGTH = 16  # of 32 signs: 80 bits
_SIGNS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0, 1, I, O: they are copied by hand


async def make(db: Database, account_id: UUID) -> list[str]:
    """New codes; those before stop working."""
    codes = [_code() for _ in range(HOW_MANY)]
    now = clock.now()
    async with db.transaction():
        await db.execute(QUERIES["drop_codes"], {"account": account_id})
        rows = [{"account": account_id, "code_hash": _digest(account_id, each), "now": now} for each in codes]
        await db.execute_many(QUERIES["add_code"], rows)
    return codes


async def spend(db: Database, account_id: UUID, code: str) -> bool:
    """Is this one of them, unused until now?"""
    values = {"account": account_id, "code_hash": _digest(account_id, code), "now": clock.now()}
    return await db.fetch_val(QUERIES["spend_code"], values) is not None


def _code() -> str:
    plain = "".join(secrets.choice(_SIGNS) for _ in range(LENGTH))
    return "-".join(plain[at : at + 4] for at in range(0, LENGTH, 4))


def _digest(account_id: UUID, code: str) -> bytes:
    """However it is typed; bound to the account, so that equal digests tell nothing."""
    plain = "".join(each for each in code.upper() if each in _SIGNS)
    return digest(f"{account_id} {plain}")
