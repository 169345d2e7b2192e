"""Heads of the log, signed and exported: whoever keeps such a file can prove later that nothing before it changed.

A file names every chain that grew since the file before, with its length and hash; it carries the digest of that
earlier file, and an Ed25519 signature (RFC 8032) over all of it. The key that signs is sealed with the master key:
who has the database alone can rewrite a chain, and not the files. They are worth as much as the place they are
copied to: see docs/operations.md.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
from base64 import b64decode, b64encode
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol
from uuid import UUID

import orjson
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from server.core import clock
from server.core.ids import new_id
from server.core.settings import Settings
from server.storage.db import Database
from server.storage.keyring import KeyRing
from server.storage.sql import load

QUERIES = load(__package__, "heads.sql")
EVERY = timedelta(hours=1)
FOLDER = "audit-heads"  # in the data directory
_PAGE = 5000

Json = dict[str, Any]


class Needs(Protocol):
    """What exporting wants of the services."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def keyring(self) -> KeyRing: ...


@dataclass(frozen=True)
class Signer:
    """The key that signs heads and proofs."""

    kid: str
    private: Ed25519PrivateKey

    def sign(self, content: bytes) -> bytes:
        return self.private.sign(content)


@dataclass(frozen=True)
class Trouble:
    """What is wrong with a signed file, or with the log against it."""

    where: str
    why: str


async def signer(db: Database, keyring: KeyRing, *, anew: bool = False) -> Signer:
    """The newest key; made when there is none, or when a new one is asked for."""
    row = None if anew else await db.fetch_one(QUERIES["newest_key"])
    if row is not None:
        opened = keyring.open(None, row["sealed"], _context(row["kid"]))
        return Signer(row["kid"], Ed25519PrivateKey.from_private_bytes(opened))
    made = Signer(new_id(), Ed25519PrivateKey.generate())
    values = {
        "kid": made.kid,
        "public": made.private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw),
        "sealed": keyring.seal(None, made.private.private_bytes_raw(), _context(made.kid)),
        "now": clock.now(),
    }
    await db.execute(QUERIES["add_key"], values)
    return made


async def public_keys(db: Database) -> dict[str, bytes]:
    """Every key there ever was, by its name."""
    return {row["kid"]: bytes(row["public"]) for row in await db.fetch_all(QUERIES["public_keys"])}


def is_signed(keys: dict[str, bytes], kid: str, content: bytes, signature: bytes) -> bool:
    """Whether this key made the signature."""
    if kid not in keys:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(keys[kid]).verify(signature, content)
    except InvalidSignature:
        return False
    return True


async def export(services: Needs) -> int:
    """Write one file of the chains that grew; how many. Nothing is written when none did."""
    folder = services.settings.data / FOLDER
    async with services.db.transaction():
        await services.db.fetch_val(QUERIES["one_exporter"])
        rows = await services.db.fetch_all(QUERIES["grown"])
        if not rows:
            return 0
        key = await signer(services.db, services.keyring)
        heads = [[str(row["chain"]), row["seq"], bytes(row["hash"]).hex()] for row in rows]
        before = await asyncio.to_thread(_last, folder)
        body: Json = {
            "lightbox": "audit heads 1",
            "at": clock.now().isoformat(),
            "server": services.settings.base_url,
            "before": hashlib.sha256(before.read_bytes()).hexdigest() if before else None,
            "kid": key.kid,
            "key": b64encode(key.private.public_key().public_bytes_raw()).decode(),
            "heads": heads,
        }
        content = orjson.dumps(body, option=orjson.OPT_SORT_KEYS)
        signed = content + b"\n" + b64encode(key.sign(content)) + b"\n"
        await services.db.execute_many(
            QUERIES["exported"], [{"chain": row["chain"], "seq": row["seq"]} for row in rows]
        )
        await asyncio.to_thread(_write, folder, f"{clock.now():%Y%m%dT%H%M%S.%f}Z.json", signed)
    return len(rows)


async def verify(db: Database, folder: Path) -> tuple[int, list[Trouble]]:
    """How many signed files there are, and what is wrong with them or with the log beside them."""
    keys, troubles, before, count = await public_keys(db), list[Trouble](), None, 0
    for file in _files(folder):
        count += 1
        content = await asyncio.to_thread(file.read_bytes)
        body, why = _opened(content, keys, before)
        before = hashlib.sha256(content).hexdigest()
        if why:
            troubles.append(Trouble(file.name, why))
            continue
        troubles += [Trouble(file.name, each) for each in await _against_log(db, body["heads"])]
    return count, troubles


async def _against_log(db: Database, heads: list[list[Any]]) -> list[str]:
    wrong = []
    for start in range(0, len(heads), _PAGE):
        page = {UUID(chain): (seq, digest) for chain, seq, digest in heads[start : start + _PAGE]}
        values = {"chains": list(page), "seqs": [seq for seq, _ in page.values()]}
        found = {row["chain"]: bytes(row["hash"]).hex() for row in await db.fetch_all(QUERIES["at"], values)}
        for chain, (seq, digest) in page.items():
            if chain not in found:
                wrong.append(f"chain {chain}: event {seq}, which was signed, is missing")
            elif found[chain] != digest:
                wrong.append(f"chain {chain}: event {seq} or one before it is not what was signed")
    return wrong


def _opened(content: bytes, keys: dict[str, bytes], before: str | None) -> tuple[Json, str]:
    """The body of a file, and why it cannot be believed."""
    try:
        written, signature = content.strip().rsplit(b"\n", 1)
        body = orjson.loads(written)
        believed = is_signed(keys, body["kid"], written, b64decode(signature))
        if not believed:
            return body, "the signature is not right"
        if before is not None and body["before"] != before:
            return body, "the file before it is missing or was altered"
    except (ValueError, KeyError, TypeError):
        return {}, "it is no file of signed heads"
    return body, ""


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from sorted(each for each in folder.iterdir() if each.suffix == ".json")


def _last(folder: Path) -> Path | None:
    found = list(_files(folder))
    return found[-1] if found else None


def _write(folder: Path, name: str, content: bytes) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = folder / f".{name}.part"
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.rename(folder / name)


def _context(kid: str) -> bytes:
    return b"audit-key:" + kid.encode()
