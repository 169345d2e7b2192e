"""Serializable transactions: of two that look and then write, one waits its turn or begins again.

FHIR R4, 3.1.0.8.1 and 3.1.0.11: conditional interactions and transactions are atomic. PostgreSQL (SSI) says so by
an error that asks to try again; it is tried a few times before the caller is asked to.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from typing import TypeVar

from server.core.errors import Conflict
from server.storage.db import Database

TRIES = 5
PAUSE = 0.01  # seconds, doubled with each try

T = TypeVar("T")


async def serializable(db: Database, work: Callable[[], Awaitable[T]]) -> T:
    """What `work` gives, done in one serializable transaction; inside another one, as a part of it.

    Raises Conflict when others kept getting there first.
    """
    if await _is_inside(db):
        async with db.transaction(isolation="serializable"):
            return await work()
    for attempt in range(TRIES):
        try:
            async with db.transaction(isolation="serializable"):
                return await work()
        except Conflict as error:
            if not _may_try_again(error) or attempt == TRIES - 1:
                raise
            await asyncio.sleep(PAUSE * 2**attempt * (1 + random.random()))  # noqa: S311 - apart, not secret
    raise Conflict()


async def _is_inside(db: Database) -> bool:
    async with db.raw() as connection:
        return bool(connection.is_in_transaction())


def _may_try_again(error: Conflict) -> bool:
    """https://www.postgresql.org/docs/current/errcodes-appendix.html, class 40: transaction rollback."""
    return str(getattr(error.__cause__, "sqlstate", "")).startswith("40")
