"""Proof that the log is untouched: every chain is walked from its beginning and every hash made again."""

from __future__ import annotations

import hashlib
from contextlib import aclosing
from dataclasses import dataclass
from uuid import UUID

import orjson

from server.storage.db import Database, Record

from .log import QUERIES


@dataclass(frozen=True)
class Break:
    """The first place where a chain is not what it must be."""

    chain: UUID
    seq: int
    why: str


async def verify(db: Database) -> tuple[int, list[Break]]:
    """The number of events walked, and the first break of each broken chain."""
    walked, breaks = 0, []
    for head in await db.fetch_all(QUERIES["chains"]):
        count, broken = await _walk(db, head)
        walked += count
        if broken:
            breaks.append(broken)
    breaks += [
        Break(row["chain"], 0, "the head is missing") for row in await db.fetch_all(QUERIES["headless"])
    ]
    return walked, breaks


async def _walk(db: Database, head: Record) -> tuple[int, Break | None]:
    chain, expected, running = head["chain"], 0, head["chain"].bytes
    async with aclosing(db.iterate(QUERIES["links"], {"chain": chain}, prefetch=1000)) as rows:
        async for row in rows:
            expected += 1
            running = hashlib.sha256(running + row["payload"]).digest()
            if why := _fault(row, expected, running):
                return expected, Break(chain, expected, why)
    if expected > head["seq"]:
        return expected, Break(chain, head["seq"], "events follow after the head")
    if expected < head["seq"]:
        return expected, Break(chain, expected + 1, "events are missing at the end")
    return expected, None if running == head["hash"] else Break(chain, expected, "the head does not match")


def _fault(row: Record, expected: int, running: bytes) -> str | None:
    if row["seq"] != expected:
        return "an event is missing or out of order"
    if row["hash"] != running:
        return "an event was altered"
    payload = orjson.loads(row["payload"])
    columns = {
        "id": str(row["id"]),
        "event": row["event"],
        "outcome": row["outcome"],
        "at": row["at"].isoformat(),
    }
    named = {name: row[name] and str(row[name]) for name in ("actor", "client")}
    if any(payload[name] != value for name, value in (columns | named).items()):
        return "a column was altered"
    return None
