"""What the log says about one account's own sign-ins: for its owner, without opening what is sealed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__, "account_events.sql")


@dataclass(frozen=True)
class AccountEvent:
    """One of them."""

    at: datetime
    event: str
    outcome: str


async def of_account(db: Database, account_id: UUID, limit: int = 30) -> list[AccountEvent]:
    """The last events of the account area by (or against) this account, newest first."""
    rows = await db.fetch_all(QUERIES["of_account"], {"subject": f"account:{account_id}", "limit": limit})
    return [AccountEvent(row["at"], row["event"], row["outcome"]) for row in rows]
