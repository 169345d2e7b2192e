"""The search index made anew where an upgrade indexes more than was indexed before.

What searches find is written with each resource. When the list of search parameters (or how they are read) changed
since, every resource is indexed again beside the work, some at a time; it keeps its version and its date. Until that
is done a search by what is new finds what has been written or reached already.
"""

from __future__ import annotations

import asyncio
import hashlib
from datetime import timedelta
from functools import cache
from importlib import resources

from server.access.services import Services
from server.jobs.queue import Kit, Periodic
from server.storage.db import Database

from .document import load_exact
from .findable import found_by
from .registry import COMMON
from .store import QUERIES

# Raised when the same parameters are read into other rows than before.
READING = "2"
EVERY = timedelta(minutes=1)
AT_ONCE = 20  # resources in one transaction: each may be of some megabytes
MOST_STEPS = 1000  # transactions in one turn


@cache
def made_by() -> str:
    """Names what the index of this version of the server is made by."""
    text = resources.files(__package__).joinpath("parameters.txt").read_text(encoding="utf-8")
    return hashlib.sha256("\n".join([text, COMMON, READING]).encode()).hexdigest()


async def go_on(db: Database) -> int:
    """Index again what is due, up to a bound; how many resources were."""
    await db.execute(QUERIES["index_adopted"], {"made_by": made_by()})
    row = await db.fetch_one(QUERIES["index_made_by"])
    if row is None or row["made_by"] != made_by():
        await db.execute(QUERIES["index_begins"], {"made_by": made_by()})
    done = 0
    for _ in range(MOST_STEPS):
        found = await _step(db)
        done += found
        if found < AT_ONCE:
            break
    return done


async def _step(db: Database) -> int:
    async with db.transaction():
        row = await db.fetch_one(QUERIES["index_made_by"])
        if row is None or row["made_by"] != made_by() or row["next_key"] is None:
            return 0
        rows = await db.fetch_all(QUERIES["to_index_again"], {"from": row["next_key"], "limit": AT_ONCE})
        for one in rows:
            found = await asyncio.to_thread(lambda json: found_by(load_exact(json)), one["json"])
            await db.fetch_val(QUERIES["index_again"], {**found, "key": one["key"]})
        following = rows[-1]["key"] + 1 if len(rows) == AT_ONCE else None
        await db.execute(QUERIES["index_goes_on"], {"next": following, "made_by": made_by()})
        return len(rows)


async def _turn(services: Services) -> None:
    await go_on(services.db)


KIT = Kit(periodic=(Periodic("records: index again", EVERY, _turn),))
