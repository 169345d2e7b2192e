"""Data keys that change hands: out of one patient's key and into another's, while the objects stay as they lie."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from .db import Database
from .keyring import KeyRing
from .sql import load

QUERIES = load(__package__, "handover.sql")


async def wrapped_for(
    db: Database, keyring: KeyRing, data_keys: Sequence[bytes], *, giver: str, taker: str
) -> list[bytes]:
    """The same data keys, wrapped with the taker's key; raises KeyUnusable for one that is not the giver's."""
    if not data_keys:
        return []
    rows = await db.fetch_all(QUERIES["keys_of"], {"patients": [giver, taker]})
    keys = {row["patient_id"]: row["wrapped"] for row in rows}
    return await asyncio.to_thread(_wrapped_anew, keyring, keys[giver], keys[taker], data_keys)


def _wrapped_anew(keyring: KeyRing, before: bytes, after: bytes, data_keys: Sequence[bytes]) -> list[bytes]:
    return [keyring.wrap(after, keyring.unwrap(before, each)) for each in data_keys]
