"""Room given back: packs that nothing uses any more go, packs that are mostly unused are written anew without the rest.

Deleting an object for good is deleting its row, and with it the only copy of its key; the ciphertext that stays in
a pack with living neighbours is unreadable, and only takes room until it is compacted away here.
"""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from server.access.services import Services
from server.jobs.queue import Kit, Periodic
from server.storage import packs
from server.storage.sql import load

QUERIES = load(__package__, "upkeep.sql")
WORTH_IT = 1 << 20  # bytes of a pack; below, moving costs more than the room


async def release(services: Services) -> int:
    """Drop packs without any row; how many. Their files go with the next sweep."""
    rows = await services.db.fetch_all(QUERIES["unused_packs"])
    await packs.drop(services.db, [row["id"] for row in rows])
    return len(rows)


async def compact(services: Services) -> int:
    """Write sparse packs anew; how many."""
    rows = await services.db.fetch_all(QUERIES["sparse_packs"], {"at_least": WORTH_IT})
    for row in rows:
        await compact_pack(services, row["id"])
    return len(rows)


async def compact_pack(services: Services, pack_id: UUID) -> None:
    """Copy what is used into a new pack and let the old one go, once readers who know the old place are done.

    Whatever happens in between, every row names a whole pack. An object deleted meanwhile is not brought back.
    """
    db, objects = services.db, services.objects
    rows = await db.fetch_all(QUERIES["objects_of_pack"], {"pack_id": pack_id})
    async with packs.opened(db, objects) as fresh:
        moves = []
        for row in rows:
            offset = await objects.copy(pack_id, row["pack_offset"], row["size"], fresh)
            place = {"old_pack": pack_id, "new_pack": fresh.id, "new_offset": offset}
            moves.append(place | {"object_id": row["object_id"]})
        await fresh.publish()
        async with db.transaction():
            await packs.ready(db, fresh)
            await db.execute_many(QUERIES["move_object"], moves)
            if not await db.fetch_val(QUERIES["is_used"], {"pack_id": pack_id}):  # else: the next time
                await packs.drop(db, [pack_id], at_once=False)


async def _upkeep(services: Services) -> None:
    await release(services)
    await compact(services)


KIT = Kit(periodic=(Periodic("imaging: room given back", timedelta(days=1), _upkeep),))
