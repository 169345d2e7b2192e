"""Encrypted objects: what goes in comes out, and nothing that was altered does."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from random import Random
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from obstore.store import MemoryStore

from server.core.errors import RangeNotSatisfiable
from server.storage.crypto import CHUNK, SEALED_CHUNK, TAG, pieces, sealed_size
from server.storage.local import LocalFiles
from server.storage.objects import Address, Damaged, Missing, ObjectStore, Stored
from server.storage.s3 import S3Files
from tests.drawn import examples

EDGES = [0, 1, TAG, 11_000, 256 * 1024, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5]
CALM = settings(
    max_examples=examples(25),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@pytest.fixture(params=["local", "s3"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[ObjectStore]:
    files = LocalFiles(tmp_path / "objects") if request.param == "local" else S3Files(MemoryStore(), "here")
    made = ObjectStore(files)
    yield made
    await made.close()


@pytest.fixture
async def local(tmp_path: Path) -> AsyncIterator[ObjectStore]:
    made = ObjectStore(LocalFiles(tmp_path / "objects"))
    yield made
    await made.close()


async def put(store: ObjectStore, *contents: bytes, step: int = 100_000) -> list[Stored]:
    """All of them in one pack."""
    done = []
    async with await store.open_pack() as pack:
        for content in contents:
            writer = await pack.begin()
            for start in range(0, len(content), step):
                await writer.write(content[start : start + step])
            done.append(await writer.finish())
        await pack.publish()
    return done


def path_of(store: ObjectStore, address: Address) -> Path:
    assert isinstance(store.files, LocalFiles)
    return store.files._path(address.pack_id)


async def all_of(store: ObjectStore, address: Address, start: int = 0, stop: int | None = None) -> bytes:
    return b"".join([part async for part in store.stream(address, start, stop)])


async def test_every_size_comes_back(store: ObjectStore) -> None:
    contents = [os.urandom(size) for size in EDGES]
    stored = await put(store, *contents)
    for content, each in zip(contents, stored, strict=True):
        assert each.sha256 == hashlib.sha256(content).digest()
        assert each.address.size == len(content)
        assert await store.read(each.address) == content
        assert await all_of(store, each.address) == content
        assert store.read_now(each.address) == content
    assert await store.pack_size(stored[0].address.pack_id) == 16 + sum(map(sealed_size, EDGES))


@CALM
@given(
    size=st.one_of(st.sampled_from(EDGES), st.integers(0, 3 * CHUNK)),
    step=st.integers(1000, 2 * CHUNK),
    seed=st.integers(),
)
async def test_any_range_comes_back(store: ObjectStore, size: int, step: int, seed: int) -> None:
    random = Random(seed)
    content = random.randbytes(size)
    [stored] = await put(store, content, step=step)
    for _ in range(4):
        start, stop = sorted((random.randint(0, size), random.randint(0, size)))
        assert await store.read(stored.address, start, stop) == content[start:stop]
        assert await all_of(store, stored.address, start, stop) == content[start:stop]


@pytest.mark.parametrize(("start", "stop"), [(-1, 1), (0, 11), (6, 5), (11, None)])
async def test_a_range_outside_is_refused(local: ObjectStore, start: int, stop: int | None) -> None:
    [stored] = await put(local, b"0123456789")
    with pytest.raises(RangeNotSatisfiable):
        await local.read(stored.address, start, stop)


async def test_a_range_reads_only_the_chunks_it_touches() -> None:
    address = Address(uuid4(), uuid4(), 16, 5 * CHUNK + 7, bytes(32))
    touched = list(pieces(address, CHUNK + 3, 3 * CHUNK))
    assert [piece.number for piece in touched] == [1, 2]
    assert touched[0].begin == 16 + SEALED_CHUNK
    assert touched[-1].end == 16 + 3 * SEALED_CHUNK
    assert [piece.number for piece in pieces(address, 5 * CHUNK, 5 * CHUNK + 7)] == [5]


async def test_a_reader_seeks_like_a_file(store: ObjectStore) -> None:
    content = os.urandom(2 * CHUNK + 100)
    [stored] = await put(store, content)

    def look() -> None:
        with store.reader(stored.address) as file:
            assert file.read(10) == content[:10]
            file.seek(-50, os.SEEK_END)
            assert file.read() == content[-50:]
            file.seek(CHUNK - 5)
            assert file.read(10) == content[CHUNK - 5 : CHUNK + 5]
            assert file.tell() == CHUNK + 5
            file.seek(0)
            assert file.read() == content
            assert file.read(1) == b""

    await asyncio.to_thread(look)


async def test_an_abandoned_object_leaves_the_others(store: ObjectStore) -> None:
    wanted = [os.urandom(size) for size in (10, 2 * CHUNK, 300_000, 5)]
    stored = []
    async with await store.open_pack() as pack:
        for content in wanted:
            for rubbish in (20, 400_000, 3 * CHUNK + 1):
                writer = await pack.begin()
                await writer.write(os.urandom(rubbish))
                await writer.abandon()
            writer = await pack.begin()
            await writer.write(content)
            stored.append(await writer.finish())
        writer = await pack.begin()
        await writer.write(os.urandom(2 * CHUNK))
        await writer.abandon()
        await pack.publish()
    for content, each in zip(wanted, stored, strict=True):
        assert await store.read(each.address) == content


async def test_a_pack_takes_one_object_at_a_time(local: ObjectStore) -> None:
    async with await local.open_pack() as pack:
        await pack.begin()
        with pytest.raises(RuntimeError):
            await pack.begin()
        with pytest.raises(RuntimeError):
            await pack.publish()


async def test_nothing_of_an_unpublished_pack_remains(store: ObjectStore) -> None:
    async with await store.open_pack() as pack:
        writer = await pack.begin()
        await writer.write(os.urandom(12 * CHUNK))
        await writer.finish()
    assert [each async for each in store.list_packs()] == []
    assert [each async for each in store.list_drafts()] == []


async def test_packs_are_listed_and_deleted(store: ObjectStore) -> None:
    one, other = (await put(store, b"one"))[0].address, (await put(store, b"other"))[0].address
    assert {each async for each in store.list_packs()} == {one.pack_id, other.pack_id}
    await store.delete_pack(one.pack_id)
    await store.delete_pack(one.pack_id)
    assert [each async for each in store.list_packs()] == [other.pack_id]
    with pytest.raises(Missing):
        await store.read(one)
    with pytest.raises(Missing):
        await all_of(store, replace(one, size=5 * CHUNK))
    with pytest.raises(Missing):
        await store.pack_size(one.pack_id)


async def test_what_lies_on_the_disk_is_not_the_content(local: ObjectStore) -> None:
    [stored] = await put(local, b"PatientName=Doe^Jane" * 1000)
    lying = path_of(local, stored.address).read_bytes()
    assert lying.startswith(b"lightbox pack 1\n")
    assert b"Doe" not in lying


@CALM
@given(data=st.data(), size=st.sampled_from([0, 10, 5000, CHUNK, CHUNK + 9]))
async def test_any_flipped_bit_is_refused(local: ObjectStore, data: st.DataObject, size: int) -> None:
    [stored] = await put(local, os.urandom(size))
    path = path_of(local, stored.address)
    lying = bytearray(path.read_bytes())
    place = data.draw(st.integers(stored.address.offset, len(lying) - 1))
    lying[place] ^= 1 << data.draw(st.integers(0, 7))
    path.write_bytes(lying)
    with pytest.raises(Damaged):
        await local.read(stored.address)
    with pytest.raises(Damaged):
        await all_of(local, stored.address)


@CALM
@given(data=st.data(), size=st.sampled_from([0, 10, CHUNK, CHUNK + 9, 2 * CHUNK]))
async def test_a_cut_file_is_refused(local: ObjectStore, data: st.DataObject, size: int) -> None:
    [stored] = await put(local, os.urandom(size))
    path = path_of(local, stored.address)
    os.truncate(path, data.draw(st.integers(0, path.stat().st_size - 1)))
    with pytest.raises(Damaged):
        await local.read(stored.address)
    with pytest.raises(Damaged):
        await all_of(local, stored.address)


async def test_exchanged_chunks_are_refused(local: ObjectStore) -> None:
    [stored] = await put(local, os.urandom(3 * CHUNK))
    path = path_of(local, stored.address)
    lying = path.read_bytes()
    one, two = (16 + n * SEALED_CHUNK for n in (0, 1))
    swapped = lying[two : two + SEALED_CHUNK] + lying[one:two]
    path.write_bytes(lying[:one] + swapped + lying[two + SEALED_CHUNK :])
    with pytest.raises(Damaged):
        await local.read(stored.address, 0, 10)


async def test_an_object_cut_at_a_chunk_is_refused_also_with_its_size_altered(local: ObjectStore) -> None:
    [stored] = await put(local, os.urandom(2 * CHUNK))
    with pytest.raises(Damaged):
        await local.read(replace(stored.address, size=CHUNK))


@pytest.mark.parametrize("change", [{"key": bytes(32)}, {"object_id": uuid4()}, {"offset": 17}, {"size": 9}])
async def test_a_wrong_address_is_refused(local: ObjectStore, change: dict[str, object]) -> None:
    [stored, _] = await put(local, b"0123456789", b"another one")
    with pytest.raises(Damaged):
        await local.read(replace(stored.address, **change))  # type: ignore[arg-type]


async def test_the_key_is_not_in_the_text_of_an_address(local: ObjectStore) -> None:
    [stored] = await put(local, b"x")
    assert "key" not in repr(stored)


async def test_many_at_once(store: ObjectStore) -> None:
    async def one(seed: int) -> None:
        contents = [Random(seed + n).randbytes(200_000 * n) for n in range(4)]
        for content, each in zip(contents, await put(store, *contents), strict=True):
            assert await all_of(store, each.address) == content

    await asyncio.gather(*(one(seed) for seed in range(12)))
