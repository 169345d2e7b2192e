"""A database of keys that hangs: nobody waits for it twice (key_store.py)."""

import asyncio
import socket

import pytest

from server.core.errors import StorageUnavailable
from server.storage import key_store
from server.storage.key_store import TICKET, KeyStore


async def test_a_loop_waits_once_and_not_for_long(cluster: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first to ask is refused after a moment, all others at once, until it answers the store's own thread."""
    monkeypatch.setattr(key_store, "_PATIENCE_OF_A_LOOP", 0.2)
    monkeypatch.setattr(key_store, "_TRY_AGAIN", 0.05)
    with socket.create_server(("127.0.0.1", 0)) as silence:  # connections come in, and nobody speaks
        store = KeyStore("postgresql://nobody@{}:{}/none".format(*silence.getsockname()))
        _refused(store)
        monkeypatch.setattr(
            key_store, "_PATIENCE_OF_A_LOOP", 3600.0
        )  # whoever waited again would wait for this
        _refused(store)
        store._url = cluster
    async with asyncio.timeout(60):
        while store._silent:  # noqa: ASYNC110 - told by another thread
            await asyncio.sleep(0.02)
    await store.prepare()
    assert store.wrapped_of(bytes(TICKET)) is None
    store.close()


def _refused(store: KeyStore) -> None:
    with pytest.raises(StorageUnavailable):
        store.wrapped_of(bytes(TICKET))
