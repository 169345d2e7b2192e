"""Objects as encrypted chunks: AES-256-GCM, 1 MiB of plaintext each; a range is read without the rest.

Every object has a random key of its own, so the nonce of a chunk is its number: no nonce is ever used twice.
What is authenticated beside the chunk is the object's id, the chunk's number and whether it is the last:
chunks that are exchanged, moved, cut off or left out do not open (NIST SP 800-38D).
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias
from uuid import UUID

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from server.core.errors import ServerError

CHUNK = 1 << 20  # plain bytes
TAG = 16
SEALED_CHUNK = CHUNK + TAG

Buffer: TypeAlias = bytes | bytearray | memoryview


class Damaged(ServerError):
    """A stored object was altered or cut; it is not given out."""


class Missing(Damaged):
    """A stored object is not where it should be."""


@dataclass(frozen=True)
class Address:
    """Where an object lies and what opens it; the row that uses it keeps all of this, the key wrapped."""

    pack_id: UUID
    object_id: UUID
    offset: int  # of its first chunk in the pack
    size: int  # plain bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True)
class Stored:
    """An object as written: its address, and the SHA-256 of its plaintext."""

    address: Address
    sha256: bytes


def chunk_count(size: int) -> int:
    """How many chunks `size` plain bytes make; nothing at all makes one, so that it is authenticated too."""
    return max(1, -(-size // CHUNK))


def sealed_size(size: int) -> int:
    """How many bytes an object of `size` plain bytes takes in its pack."""
    return size + TAG * chunk_count(size)


class Scratch(threading.local):
    """A buffer of each thread for one chunk: fresh memory for every chunk costs more than encrypting it."""

    def __init__(self) -> None:
        self._buffer = bytearray(SEALED_CHUNK)

    def view(self, size: int) -> memoryview:
        return memoryview(self._buffer if size <= SEALED_CHUNK else bytearray(size))[:size]


class Sealer:
    """Encrypts one object, chunk after chunk, and hashes its plaintext on the way."""

    def __init__(self, object_id: UUID, key: bytes) -> None:
        self._id = object_id.bytes
        self._cipher = AESGCM(key)
        self._hash = hashlib.sha256()
        self._number = 0

    def seal(self, plain: Buffer, into: Buffer, *, last: bool) -> int:
        """One chunk into the front of `into`; how many bytes it took. All but the last have CHUNK bytes."""
        self._hash.update(plain)
        size = len(plain) + TAG
        with memoryview(into)[:size] as place:
            self._cipher.encrypt_into(
                _nonce(self._number), plain, _binding(self._id, self._number, last), place
            )
        self._number += 1
        return size

    def sha256(self) -> bytes:
        return self._hash.digest()


class Opener:
    """Decrypts the chunks of one object."""

    def __init__(self, address: Address) -> None:
        self._id = address.object_id.bytes
        self._cipher = AESGCM(address.key)
        self._last = chunk_count(address.size) - 1

    def open(self, number: int, sealed: Buffer) -> bytes:
        """The plaintext of chunk `number`; raises Damaged."""
        try:
            return self._cipher.decrypt(_nonce(number), sealed, self._binding(number))
        except InvalidTag as exc:
            raise Damaged() from exc

    def open_into(self, number: int, sealed: Buffer, into: Buffer) -> int:
        """The same into the front of `into`; how many bytes it is."""
        size = len(sealed) - TAG
        if size < 0:
            raise Damaged()
        try:
            with memoryview(into)[:size] as place:
                return self._cipher.decrypt_into(_nonce(number), sealed, self._binding(number), place)
        except InvalidTag as exc:
            raise Damaged() from exc

    def _binding(self, number: int) -> bytes:
        return _binding(self._id, number, number == self._last)


@dataclass(frozen=True)
class Piece:
    """A chunk to read for a range: where it lies in the pack, and which of its plain bytes are wanted."""

    number: int
    begin: int
    end: int
    start: int
    stop: int
    size: int  # plain bytes of the whole chunk

    @property
    def whole(self) -> bool:
        return self.start == 0 and self.stop == self.size


def pieces(address: Address, start: int, stop: int) -> Iterator[Piece]:
    """The chunks that plain bytes start..stop of an object touch: at least one, also of an empty object."""
    first = start // CHUNK
    last = max(first, -(-stop // CHUNK) - 1)
    for number in range(first, min(last, chunk_count(address.size) - 1) + 1):
        plain_begin = number * CHUNK
        size = min(CHUNK, address.size - plain_begin)
        begin = address.offset + number * SEALED_CHUNK
        yield Piece(
            number,
            begin,
            begin + size + TAG,
            max(0, start - plain_begin),
            min(size, stop - plain_begin),
            size,
        )


def _nonce(number: int) -> bytes:
    return number.to_bytes(12, "big")


def _binding(object_id: bytes, number: int, last: bool) -> bytes:
    return object_id + number.to_bytes(8, "big") + (b"\x01" if last else b"\x00")
