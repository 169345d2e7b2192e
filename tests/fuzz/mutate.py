"""A small mutation fuzzer: seeds, mutations that parsers dislike, a budget, and a way to run one case again."""

from __future__ import annotations

import itertools
import os
import random
import time
from collections.abc import Iterator, Sequence

SEED = int(os.environ.get("FUZZ_SEED", "20240131"))  # another one explores elsewhere

_MAGIC = (
    b"\xff\xff\xff\xff", b"\x00\x00\x00\x00", b"\xff\xff\xff\x7f", b"\x00\x00\x00\x80", b"\xfe\xff\x00\xe0",
    b"\xfe\xff\x0d\xe0", b"\xfe\xff\xdd\xe0", b"SQ\0\0\xff\xff\xff\xff", b"UN\0\0", b"OB\0\0", b"\xe0\x7f\x10\x00",
    b"\r\n--", b"--\r\n", b"\r\n\r\n", b";", b",", b'"', b"\\", b"=", b"*", b"?", b"%", b"{", b"}", b"[", b"]", b"\0",
    b"\x1b$B", b"\x1b(B", "é\u202e💀".encode(), b"-", b":reach_now", b"'", b"q=1e999", b"9" * 30,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], budget: int | float, *, seed: int = SEED) -> Iterator[bytes]:
    """Each seed as it is, then so many mutations of them (int), or mutations for so many seconds (float).

    Two runs with one seed and one number are alike; two of some length begin alike.
    """
    yield from seeds
    chance = random.Random(seed)
    until, left = time.monotonic() + budget, itertools.count(budget, -1)
    while next(left) > 0 if isinstance(budget, int) else time.monotonic() < until:
        case = bytearray(chance.choice(seeds))
        for _ in range(chance.choice((1, 1, 2, 4, 16))):
            _mutate(case, chance, seeds)
        yield bytes(case)


def _mutate(subject: bytearray, chance: random.Random, seeds: Sequence[bytes]) -> None:
    at = chance.randrange(len(subject) + 1)
    length = chance.choice((1, 2, 4, 8, 64, 1024))
    match chance.randrange(7):
        case 0:
            subject[at : at + 1] = bytes([chance.randrange(256)])
        case 1 if at < len(subject):
            subject[at] ^= 1 << chance.randrange(8)
        case 2:
            del subject[at : at + length]
        case 3:
            subject[at:at] = subject[at : at + length]
        case 4:
            subject[at : at + chance.choice((0, 4))] = chance.choice(_MAGIC)
        case 5:
            other = chance.choice(seeds)
            start = chance.randrange(len(other) + 1)
            subject[at:at] = other[start : start + length]
        case _:
            del subject[at:]
