"""Patients' keys moved into the store of their own and back, while the server serves; and that each is where it says.

Each key is durable in the new place before the row leads there, and leaves the old place last. Killed anywhere, every
patient has a key in one place that is known; run again, the move goes on and what was left twice goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from .db import Database
from .key_store import QUERIES, KeyStore

_PAGE = 500


@dataclass(frozen=True)
class Whereabouts:
    """Keys as `lightbox verify` found them."""

    in_place: int = 0  # in the main database
    in_store: int = 0
    missing: tuple[str, ...] = ()  # patients with a ticket that leads nowhere, who are not being erased
    unused: int = 0  # keys in the store that no patient leads to


async def into_store(db: Database, store: KeyStore) -> int:
    """Every key that lies in the main database; how many were moved."""
    count = 0
    while rows := await db.fetch_all(QUERIES["in_place"], {"limit": _PAGE}):
        moved = [(row, await store.add(row["patient_id"], row["wrapped"])) for row in rows]
        led, tickets = [], []
        for row, ticket in moved:
            change = {"patient": row["patient_id"], "before": row["wrapped"], "after": ticket}
            if await db.execute(QUERIES["put"], change):
                led.append(row["patient_id"])
                tickets.append(ticket)
            else:  # erased, or wrapped anew meanwhile: the next page has it if it is still there
                await store.execute(QUERIES["forget_tickets"], {"tickets": [ticket]})
        await store.execute(QUERIES["keep_only"], {"patients": led, "tickets": tickets})
        count += len(led)
    return count


async def out_of_store(db: Database, store: KeyStore) -> int:
    """Every key back into the main database; how many were moved. The store is this server's no more."""
    count = 0
    while moved := await _out_once(db, store):  # patients came meanwhile, whose keys went there
        count += moved
    await db.execute(QUERIES["detach"])
    return count


async def _out_once(db: Database, store: KeyStore) -> int:
    """Every key that has a ticket now."""
    count, after = 0, b""
    while rows := await db.fetch_all(QUERIES["tickets"], {"after": after, "limit": _PAGE}):
        for row in rows:
            wrapped = store.wrapped_of(row["wrapped"])
            change = {"patient": row["patient_id"], "before": row["wrapped"], "after": wrapped}
            if wrapped is not None and await db.execute(QUERIES["put"], change):
                await store.execute(QUERIES["forget_tickets"], {"tickets": [row["wrapped"]]})
                count += 1
        after = rows[-1]["wrapped"]
    return count


async def whereabouts(db: Database, store: KeyStore | None) -> Whereabouts:
    """Look at every ticket. Raises StorageUnavailable."""
    in_place = await db.fetch_val(QUERIES["count_in_place"])
    if store is None:
        return Whereabouts(in_place)
    count, after, missing = 0, b"", []
    while rows := await db.fetch_all(QUERIES["tickets"], {"after": after, "limit": _PAGE}):
        tickets = [row["wrapped"] for row in rows]
        held = {row["ticket"] for row in await store.fetch_all(QUERIES["held"], {"tickets": tickets})}
        missing += [row["patient_id"] for row in rows if row["wrapped"] not in held]
        count, after = count + len(held), tickets[-1]
    erasing = {row["id"] for row in await db.fetch_all(QUERIES["not_active"], {"patients": missing})}
    unused = await store.fetch_val(QUERIES["count"]) - count
    return Whereabouts(
        in_place, count, tuple(each for each in missing if each not in erasing), max(unused, 0)
    )
