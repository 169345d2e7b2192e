"""Packs in a bucket: what differs from a directory."""

import os
from collections.abc import AsyncIterator

import obstore
import pytest
from obstore.store import MemoryStore

from server.core.errors import StorageUnavailable
from server.core.settings import read_settings
from server.storage.crypto import CHUNK
from server.storage.objects import Damaged, ObjectStore, Stored, open_objects
from server.storage.s3 import S3Files


@pytest.fixture
def bucket() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
async def store(bucket: MemoryStore) -> AsyncIterator[ObjectStore]:
    made = ObjectStore(S3Files(bucket, "lightbox/one"))
    yield made
    await made.close()


async def put(store: ObjectStore, content: bytes) -> Stored:
    async with await store.open_pack() as pack:
        writer = await pack.begin()
        for start in range(0, len(content), CHUNK):
            await writer.write(content[start : start + CHUNK])
        stored = await writer.finish()
        await pack.publish()
    return stored


def names(bucket: MemoryStore) -> list[str]:
    return [each["path"] for batch in obstore.list(bucket) for each in batch]


async def test_a_pack_lies_under_the_prefix(store: ObjectStore, bucket: MemoryStore) -> None:
    stored = await put(store, os.urandom(20 * CHUNK))
    assert names(bucket) == [f"lightbox/one/packs/{stored.address.pack_id}"]


async def test_nothing_appears_before_it_is_published(store: ObjectStore, bucket: MemoryStore) -> None:
    async with await store.open_pack() as pack:
        writer = await pack.begin()
        for _ in range(30):
            await writer.write(os.urandom(CHUNK))
        await writer.finish()
        assert names(bucket) == []
    assert names(bucket) == []


async def test_a_published_pack_can_be_taken_back(store: ObjectStore, bucket: MemoryStore) -> None:
    async with await store.open_pack() as pack:
        await (await pack.begin()).finish()
        await pack.publish()
        await pack.discard()
    assert names(bucket) == []


@pytest.mark.parametrize("left", [0, 10, 5 * CHUNK])
async def test_a_cut_pack_is_refused(store: ObjectStore, bucket: MemoryStore, left: int) -> None:
    stored = await put(store, os.urandom(10 * CHUNK))
    [name] = names(bucket)
    whole = bytes(obstore.get(bucket, name).bytes())
    obstore.put(bucket, name, whole[:left])
    with pytest.raises(Damaged):
        await store.read(stored.address)


async def test_a_bucket_that_does_not_answer_is_unavailable(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "AWS_ENDPOINT": "http://127.0.0.1:9",
        "AWS_ALLOW_HTTP": "true",
        "AWS_REGION": "x",
        "AWS_ACCESS_KEY_ID": "x",
        "AWS_SECRET_ACCESS_KEY": "x",
    }.items():
        monkeypatch.setenv(name, value)
    store = open_objects(read_settings(storage_url="s3://nowhere/prefix"))
    try:
        async with await store.open_pack() as pack:
            await (await pack.begin()).finish()
            with pytest.raises(StorageUnavailable):
                await pack.publish()
    except StorageUnavailable:
        pass  # of the way back
    finally:
        await store.close()
