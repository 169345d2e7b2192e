"""The rows of packs, and the two steps that make a store whole or nothing.

    async with packs.opened(db, objects) as pack:
        ... objects are written ...
        pack.publish_soon()  # the disk works while the rows are prepared
        async with db.transaction():
            ... rows that name the objects ...
            await packs.ready(db, pack)  # waits for the disk

1. A row 'pending' is there before the file. 2. File and directory are on the disk before the row turns 'ready', in
the transaction that makes the objects visible. What happens in between, whoever dies, leaves a pending row:

- an error, or a client that hangs up: the way back below removes file and row, shielded from the cancellation;
- a dead process: its rows are no longer kept alive, and `sweep` of any process removes them later. A writer says
  that it lives once a minute, however long the upload takes;
- a writer that was only asleep (a suspended machine) finds its row gone: `ready` refuses, nothing half is stored;
- a commit whose answer was lost: the row itself tells the way back and the sweep whether it counts.

The way back and the sweep hold the row's lock while the file goes, so nobody can make it ready meanwhile; a crash
between file and row leaves a row for the next sweep.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import structlog

from server.core.clock import now
from server.core.errors import ServerError, StorageUnavailable

from .db import Database
from .objects import ObjectStore, Pack
from .sql import load

QUERIES = load(__package__)
_LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
BEAT = 60.0  # seconds
KEEP_PACKS = 7_411_204  # advisory lock: a backup holds it alone, sweeps share it
DEAD_AFTER = timedelta(minutes=15)  # many beats: a stalled database or a wrong clock kills nobody's upload

log = structlog.get_logger(__name__)
_under_way: set[asyncio.Task[None]] = set()


@asynccontextmanager
async def opened(db: Database, objects: ObjectStore) -> AsyncIterator[Pack]:
    """A new pack, noted before its file exists; unless `ready` was reached, nothing of it remains.

    Not to be opened inside of a transaction: the note must outlive it.
    """
    pack = await objects.open_pack(lambda pack_id: _note(db, pack_id))
    heart = asyncio.create_task(_beat(db, pack.id))
    try:
        yield pack
    except BaseException:
        await _see_through(_way_back(db, objects, pack))
        raise
    else:
        if not pack.is_ready:
            await _see_through(_way_back(db, objects, pack))
    finally:
        heart.cancel()


async def ready(db: Database, pack: Pack) -> None:
    """Make the pack count, with the rows of the caller's transaction; publishes it if that is not done yet.

    Raises StorageUnavailable when it was swept meanwhile; the transaction must then not be committed.
    """
    size = await pack.publish()
    if not await db.execute(QUERIES["make_pack_ready"], {"id": pack.id, "size": size}):
        raise StorageUnavailable()
    pack.is_ready = True


async def sweep(db: Database, objects: ObjectStore, older_than: timedelta = DEAD_AFTER) -> int:
    """Remove what dead writers left; how many packs. May run in several processes at once, beside any upload."""
    count = 0
    while swept := await _sweep_some(db, objects, older_than):
        count += swept
    return count + await _sweep_drafts(db, objects)


async def _sweep_some(db: Database, objects: ObjectStore, older_than: timedelta) -> int:
    async with db.transaction():
        if not await db.fetch_val(QUERIES["may_sweep"], {"lock": KEEP_PACKS}):
            return 0  # a backup goes on: it copies what its snapshot names
        before = {"before": now() - older_than}
        if kept := await db.execute(QUERIES["keep_used_packs"], before):
            log.warning("packs that were dropped are in use", count=kept)
        rows = await db.fetch_all(QUERIES["lock_dead_packs"], before)
        ids = [row["id"] for row in rows]
        # Rows first: one that is still used is refused here, before its file is gone.
        await db.execute(QUERIES["check_at_once"])
        await db.execute(QUERIES["forget_packs"], {"ids": ids})
        for pack_id in ids:
            await objects.delete_pack(pack_id)
    return len(ids)


async def _sweep_drafts(db: Database, objects: ObjectStore) -> int:
    """Remove unpublished files without a row; how many. A living writer has its row before its file."""
    count = 0
    async for pack_id in unknown(db, objects.list_drafts()):
        await objects.delete_pack(pack_id)
        count += 1
    return count


async def unknown(db: Database, ids: AsyncIterator[UUID]) -> AsyncIterator[UUID]:
    """Those of `ids` that no row names.

    Of published packs they are for a person to judge, not for a sweep: a database restored from an old backup knows
    nothing of newer packs.
    """
    async for batch in _batches(ids, 1000):
        rows = await db.fetch_all(QUERIES["known_packs"], {"ids": batch})
        known = {row["id"] for row in rows}
        for pack_id in batch:
            if pack_id not in known:
                yield pack_id


async def drop(db: Database, pack_ids: Sequence[UUID], *, at_once: bool = True) -> None:
    """Packs that no row uses any more, in the transaction that removed the last; a sweep takes the files.

    The next one, or (not `at_once`) one that leaves readers the time to finish who asked before. Never here, so that
    a transaction that is rolled back, or a crash, cannot leave rows without their file.
    """
    since = _LONG_AGO if at_once else now()
    await db.execute(QUERIES["drop_packs"], {"ids": list(pack_ids), "since": since})


async def _note(db: Database, pack_id: UUID) -> None:
    await db.execute(QUERIES["note_pack"], {"id": pack_id, "now": now()})


async def _beat(db: Database, pack_id: UUID) -> None:
    while True:
        await asyncio.sleep(BEAT)
        with suppress(ServerError):  # the next beat may get through
            await db.execute(QUERIES["keep_pack_alive"], {"id": pack_id, "now": now()})


async def _way_back(db: Database, objects: ObjectStore, pack: Pack) -> None:
    """Remove file and row, unless the row came to count; what cannot be done now is left to the sweep."""
    try:
        await pack.settle()
        async with db.transaction():
            if await db.fetch_val(QUERIES["lock_pack"], {"id": pack.id}) != "ready":
                await db.execute(QUERIES["forget_packs"], {"ids": [pack.id]})
                await pack.discard()
    except ServerError as exc:
        log.warning("a pack is left to the sweep", pack=str(pack.id), error=type(exc).__name__)


async def _see_through(work: Coroutine[Any, Any, None]) -> None:
    """Run to the end, even when the caller is cancelled on the way."""
    task = asyncio.create_task(work)
    _under_way.add(task)
    task.add_done_callback(_under_way.discard)
    await asyncio.shield(task)


async def _batches(ids: AsyncIterator[UUID], size: int) -> AsyncIterator[list[UUID]]:
    batch: list[UUID] = []
    async for each in ids:
        batch.append(each)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
