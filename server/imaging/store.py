"""Storing: parts stream in, are read, sealed and made visible, many in one transaction.

    parts -> headers (in a worker thread) -> whose, and held already? -> sealed into a pack -> rows and pack ready

A request of any length is cut into groups, each a pack and a transaction of its own: memory and locks stay bounded,
and what was committed stays. Nothing is kept of a part whole in memory unless it is small. One bad part never
spoils the others (DICOM PS3.18, 10.5.1).
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import AlreadyStored, Conflict, NotFound, OutOfSpace, ServerError, StorageUnavailable
from server.storage import packs

from . import rebuild
from .arrival import Arrival, read_all, read_one
from .commit import Group, commit
from .entry import Entry
from .header import HeaderReader
from .identity import Owner, OwnersOfInstances, owner_of_request
from .report import Failure, FailureReason, Refused, StoredInstance, StoreReport
from .rights import may_store

SMALL = 1_048_576  # a larger part is written while it arrives
WINDOW = 4 * 1_048_576  # bytes of small parts that are looked at together
WINDOW_PARTS = 64
GROUP_PARTS = 100
GROUP_BYTES = 256 * 1_048_576
GROUP_METADATA = 32 * 1_048_576
_HASH_HERE = 262_144  # more is hashed in a thread
_OTHER_BYTES = "Other content is held under this SOP Instance UID; the first is kept."


class Part(Protocol):
    """One object on its way in."""

    @property
    def headers(self) -> Mapping[str, str]: ...

    def __aiter__(self) -> AsyncIterator[bytes]: ...


async def receive(
    services: Services,
    parts: AsyncIterator[Part],
    *,
    reach: Reach,
    actor: Actor,
    patient_id: str | None,
    study_uid: str | None,
    mine: bool = False,
) -> StoreReport:
    """Store every part; what became of each. `mine`: the holder says that the images show the holder.

    Raises NotFound and Conflict when the request as a whole has no patient to go to, OutOfSpace and
    StorageUnavailable when nothing at all was stored, and what reading the body raises before its first part.
    """
    owner = await owner_of_request(services, patient_id, reach=reach)
    storing = _Storing(services, reach=reach, actor=actor, owner=owner, study_uid=study_uid, mine=mine)
    return await storing.run(parts)


class _Broken(Exception):
    """The body could not be read to its end."""


class _Storing:
    """One store request."""

    def __init__(
        self,
        services: Services,
        *,
        reach: Reach,
        actor: Actor,
        owner: Owner | None,
        study_uid: str | None,
        mine: bool,
    ) -> None:
        self._services = services
        self._reach = reach
        self._actor = actor
        self._owner = owner
        self._owners = OwnersOfInstances(services, reach=reach, actor=actor) if owner is None else None
        self._study_uid = study_uid
        self._mine = mine
        self._report = StoreReport()
        self._seen: dict[tuple[str, str], bytes] = {}  # hash of each instance of this request
        self._window: list[bytes] = []
        self._trouble: ServerError | None = None  # what ended the body before its time

    async def run(self, parts: AsyncIterator[Part]) -> StoreReport:
        more = True
        while more:
            try:
                more = await self._one_group(parts)
            except (OutOfSpace, StorageUnavailable):
                if not self._report.stored:
                    raise
                await self._refuse_rest(parts)
                more = False
        if self._trouble is not None:
            if not (self._report.stored or self._report.failed):
                raise self._trouble
            self._report.fail((None, None), self._trouble)
        return self._report

    async def _one_group(self, parts: AsyncIterator[Part]) -> bool:
        """Store parts until a group is full; whether there may be more."""
        async with packs.opened(self._services.db, self._services.objects) as pack:
            group = Group(pack)
            try:
                more = await self._fill(group, parts)
                await self._finish(group)
            except (OutOfSpace, StorageUnavailable) as error:
                for each in group.admitted:
                    self._report.fail(each.uids, error)
                raise
        return more

    async def _fill(self, group: Group, parts: AsyncIterator[Part]) -> bool:
        while not self._is_full(group):
            try:
                part = await anext(parts)
                await self._take(group, part)
            except (StopAsyncIteration, _Broken):
                break
            except (OutOfSpace, StorageUnavailable):
                raise
            except ServerError as error:  # the body is not what it says it is
                self._trouble = error
                break
        else:
            await self._settle(group)
            return True
        await self._settle(group)
        return False

    def _is_full(self, group: Group) -> bool:
        return (
            group.size >= GROUP_BYTES
            or group.weight >= GROUP_METADATA
            or len(group.admitted) + len(self._window) >= GROUP_PARTS
        )

    async def _take(self, group: Group, part: Part) -> None:
        """Read one part: kept when it is small, written on the way when it is not."""
        kept: list[bytes] = []
        size = 0
        chunks = self._reading(part)
        async for chunk in chunks:
            kept.append(chunk)
            size += len(chunk)
            if size > SMALL:
                await self._settle(group)
                await self._take_large(group, b"".join(kept), chunks)
                return
        self._window.append(kept[0] if len(kept) == 1 else b"".join(kept))
        if sum(map(len, self._window)) >= WINDOW or len(self._window) >= WINDOW_PARTS:
            await self._settle(group)

    async def _reading(self, part: Part) -> AsyncIterator[bytes]:
        try:
            async for chunk in part:
                yield chunk
        except ServerError as error:
            self._trouble = error
            raise _Broken from error

    # -- small parts, a window at a time

    async def _settle(self, group: Group) -> None:
        """Look at the parts that wait, and write those that are new."""
        window, self._window = self._window, []
        if not window:
            return
        arrivals = await asyncio.to_thread(read_all, window)
        await self._meet(arrivals)
        welcome = [arrival for arrival in arrivals if await self._is_welcome(group, arrival)]
        held = await group.held(self._services.db, [arrival.key for arrival in welcome])
        for arrival in welcome:
            if arrival.key in held or arrival.key in self._seen:
                digest = hashlib.sha256(arrival.content).digest()
                self._is_repeated(group, arrival, digest, arrival.key in held)
            else:
                await self._write(group, arrival)

    async def _meet(self, arrivals: Sequence[Arrival]) -> None:
        """Find or make the owners of all of them at once; what goes wrong comes up with the one it is about."""
        if self._owners is None:
            return
        entries = [arrival.entry for arrival in arrivals if arrival.entry is not None]
        with suppress(Conflict, AlreadyStored, NotFound):
            await self._owners.meet(
                (each.identity, each.study_uid) for each in entries if self._is_of_address(each)
            )

    def _is_of_address(self, entry: Entry) -> bool:
        return self._study_uid is None or entry.study_uid == self._study_uid

    async def _is_welcome(self, group: Group, arrival: Arrival) -> bool:
        """Whether it can be read, belongs here and somewhere; a failure is noted."""
        try:
            if arrival.error is not None:
                raise arrival.error
            await self._admit(arrival)
        except (OutOfSpace, StorageUnavailable):
            raise
        except ServerError as error:
            self._report.fail(arrival.uids, error)
            return False
        group.admitted.append(arrival)
        return True

    async def _admit(self, arrival: Arrival) -> None:
        entry = arrival.ready
        if not self._is_of_address(entry):
            raise Refused(
                FailureReason.WRONG_STUDY, "This instance belongs to another study than the address names."
            )
        if self._owner is not None:
            arrival.owner = self._owner
        else:
            assert self._owners is not None
            arrival.owner = await self._owners.of(entry.identity, entry.study_uid)
        if not await may_store(self._services.db, self._reach, arrival.owner.patient_id, entry):
            raise Refused(FailureReason.NOT_AUTHORIZED, "The access token does not extend to this study.")

    async def _write(self, group: Group, arrival: Arrival) -> None:
        writer = await group.pack.begin()
        await writer.write(arrival.content)
        arrival.stored = await writer.finish()
        arrival.content = b""
        self._seen[arrival.key] = arrival.stored.sha256
        group.add(arrival)

    def _is_repeated(self, group: Group, arrival: Arrival, digest: bytes, held: bool) -> bool:
        """Whether the UID is held, or came before in this request: fine when the bytes are the same."""
        arrival.content = b""
        if not held and arrival.key not in self._seen:
            return False
        known = group.known[arrival.key].sha256 if held else self._seen[arrival.key]
        if known == digest:
            group.repeated.append(arrival)
        else:
            group.admitted.remove(arrival)
            self._report.fail(arrival.uids, Refused(FailureReason.DUPLICATE, _OTHER_BYTES))
        return True

    # -- a large part

    async def _take_large(self, group: Group, head: bytes, chunks: AsyncIterator[bytes]) -> None:
        """Write a part while it arrives; what turns out not to be welcome is forgotten again."""
        reader = HeaderReader()
        await asyncio.to_thread(reader.feed, head)
        known = await self._is_known(group, reader)
        digest = None if known is False else hashlib.sha256()
        writer = None if known else await group.pack.begin()
        try:
            chunk = head
            while chunk:
                if digest is not None:
                    await _update(digest, chunk)
                if writer is not None:
                    await writer.write(chunk)
                chunk = await anext(chunks, b"")
                reader.feed(chunk)
            arrival = await asyncio.to_thread(read_one, reader)
            if (
                await self._is_new(group, arrival, digest.digest() if digest is not None else None)
                and writer is not None
            ):
                arrival.stored = await writer.finish()
                writer = None
                self._seen[arrival.key] = arrival.stored.sha256
                group.add(arrival)
        except (OutOfSpace, StorageUnavailable) as error:
            self._report.fail(reader.uids(), error)
            raise
        finally:
            if writer is not None:
                await asyncio.shield(asyncio.ensure_future(writer.abandon()))

    async def _is_known(self, group: Group, reader: HeaderReader) -> bool | None:
        """Whether the UID is held, asked when only the beginning of the object is here; None: not known yet."""
        uid = reader.uids()[1]
        if self._owner is None or uid is None:
            return None
        key = (self._owner.patient_id, uid)
        return key in self._seen or key in await group.held(self._services.db, [key])

    async def _is_new(self, group: Group, arrival: Arrival, digest: bytes | None) -> bool:
        if not await self._is_welcome(group, arrival):
            return False
        if digest is None:
            return True
        held = await group.held(self._services.db, [arrival.key])
        return not self._is_repeated(group, arrival, digest, arrival.key in held)

    # -- the end of a group

    async def _finish(self, group: Group) -> None:
        if group.is_empty:
            return
        # The file reaches the disk while the rows are written; `packs.ready` waits for it.
        publishing = asyncio.ensure_future(group.pack.publish()) if group.arrivals else None
        try:
            outcome = await commit(
                self._services, group, reach=self._reach, actor=self._actor, mine=self._mine
            )
        finally:
            if publishing is not None:
                await asyncio.gather(publishing, return_exceptions=True)
        for arrival, error in outcome.refused:
            self._report.fail(arrival.uids, error)
        order = {id(arrival): place for place, arrival in enumerate(group.admitted)}
        held = sorted(outcome.held, key=lambda each: order[id(each[0])])
        self._report.stored.extend(_stored(arrival, repeated) for arrival, repeated in held)
        rebuild.soon(self._services, outcome.changed)

    async def _refuse_rest(self, parts: AsyncIterator[Part]) -> None:
        """There is no room any more: say so for what follows, without looking at it."""
        error = OutOfSpace()
        try:
            async for part in parts:
                reader = HeaderReader()
                async for chunk in part:
                    reader.feed(chunk)
                self._report.fail(reader.uids(), error)
        except ServerError as trouble:
            self._trouble = trouble


async def _update(digest: hashlib._Hash, chunk: bytes) -> None:
    if len(chunk) <= _HASH_HERE:
        digest.update(chunk)
    else:
        await asyncio.to_thread(digest.update, chunk)


def _stored(arrival: Arrival, repeated: bool) -> StoredInstance:
    entry = arrival.ready
    return StoredInstance(
        sop_class_uid=entry.sop_class,
        sop_instance_uid=entry.sop_uid,
        study_uid=entry.study_uid,
        series_uid=entry.series_uid,
        patient_id=arrival.patient_id,
        warning=arrival.warning,
        comment="; ".join(entry.warnings)[:1024],
        repeated=repeated,
    )


__all__ = [
    "Conflict",
    "Failure",
    "FailureReason",
    "NotFound",
    "Part",
    "StoreReport",
    "StoredInstance",
    "receive",
]
