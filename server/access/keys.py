"""The keys that sign tokens: ES256 for access tokens, RS256 for id_tokens (OpenID Connect Core, 15.1).

The private half is sealed with the master key. Keys lie in the database, so every process signs with the
same ones; a process reads them again after a minute, or when it meets a kid it does not know, so a rotation
needs no restart. A retired key signs no more but verifies, and stays in the JWKS (RFC 7517) while its tokens
may live.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import orjson
from joserfc.jwk import ECKey, KeyParameters, KeySet, RSAKey

from server.core import clock, ids
from server.storage.db import Database
from server.storage.sql import load

if TYPE_CHECKING:
    from server.storage.keyring import KeyRing

QUERIES = load(__package__, "keys.sql")

Algorithm = Literal["ES256", "RS256"]
Json = dict[str, Any]

FOR_ACCESS: Algorithm = "ES256"
FOR_IDENTITY: Algorithm = "RS256"
ROTATED_AFTER = timedelta(days=90)
BEGINNING = datetime.min.replace(tzinfo=UTC)
_READ_AGAIN = timedelta(minutes=1)
_NOT_SOONER = timedelta(seconds=2)  # a stream of made-up kids must not become a stream of statements
_KEEP_RETIRED = timedelta(days=400)


@dataclass(frozen=True)
class _Loaded:
    at: datetime
    signing: dict[str, ECKey | RSAKey]
    verifying: dict[str, KeySet]
    public: list[Json]
    kids: frozenset[str]


class SigningKeys:
    """The signing keys as one process holds them."""

    def __init__(self, db: Database, keyring: KeyRing) -> None:
        self._db = db
        self._keyring = keyring
        self._held: _Loaded | None = None
        self._reading = asyncio.Lock()

    async def signing(self, algorithm: Algorithm) -> ECKey | RSAKey:
        """The key to sign with; made when there is none yet."""
        held = await self._fresh()
        if algorithm not in held.signing:
            await self._make(algorithm)
            held = await self._read()
        return held.signing[algorithm]

    async def verifying(self, algorithm: Algorithm, kid: str | None = None) -> KeySet:
        """The public keys that may have signed; read again for a kid not met before."""
        held = await self._fresh()
        if kid is not None and kid not in held.kids and clock.now() - held.at > _NOT_SOONER:
            held = await self._read()
        return held.verifying.get(algorithm) or KeySet([])

    async def ready(self) -> None:
        """Have keys to sign with. Before a transaction: a key that is made inside would go with its rollback."""
        await self.signing(FOR_ACCESS)
        await self.signing(FOR_IDENTITY)

    async def jwks(self) -> Json:
        """The public keys as a JWK Set."""
        await self.ready()
        return {"keys": (await self._fresh()).public}

    async def rotate(self, algorithm: Algorithm) -> str:
        """Make a new key and retire the one before; the new kid."""
        kid = await self._make(algorithm, than=clock.now())
        await self._read()
        return kid

    async def rotate_old(self, age: timedelta = ROTATED_AFTER) -> None:
        """Replace the keys that have signed for longer than `age`."""
        than = clock.now() - age
        algorithms: tuple[Algorithm, ...] = (FOR_ACCESS, FOR_IDENTITY)
        for algorithm in algorithms:
            values = {"algorithm": algorithm, "than": than}
            if not await self._db.fetch_val(QUERIES["has_signing_key"], values):
                await self._make(algorithm, than=than)
        await self._read()

    async def _make(self, algorithm: Algorithm, *, than: datetime = BEGINNING) -> str:
        """A new key, unless one signs already that was made after `than`; its kid."""
        key = await asyncio.to_thread(_generate, algorithm)
        kid = str(key.kid)
        row = {
            "kid": kid,
            "algorithm": algorithm,
            "public": orjson.dumps(key.as_dict(private=False)).decode(),
            "sealed": self._keyring.seal(None, orjson.dumps(key.as_dict(private=True)), _context(kid)),
            "now": clock.now(),
        }
        async with self._db.transaction():
            await self._db.fetch_val(QUERIES["lock_signing_keys"])
            values = {"algorithm": algorithm, "than": than}
            if await self._db.fetch_val(QUERIES["has_signing_key"], values):
                return kid  # another process was first, or it is too soon; ours is thrown away
            await self._db.execute(QUERIES["add_signing_key"], row)
            await self._db.execute(QUERIES["retire_signing_keys"], row)
            await self._db.execute(QUERIES["forget_signing_keys"], {"before": clock.now() - _KEEP_RETIRED})
        return kid

    async def _fresh(self) -> _Loaded:
        held = self._held
        if held is not None and clock.now() - held.at < _READ_AGAIN:
            return held
        return await self._read()

    async def _read(self) -> _Loaded:
        async with self._reading:
            rows = await self._db.fetch_all(QUERIES["signing_keys"])
            self._held = held = self._load(rows)
            return held

    def _load(self, rows: Sequence[Any]) -> _Loaded:
        signing: dict[str, ECKey | RSAKey] = {}
        verifying: dict[str, list[ECKey | RSAKey]] = {}
        public = []
        for row in rows:
            described = orjson.loads(row["public"])
            public.append(described)
            verifying.setdefault(row["algorithm"], []).append(_import(row["algorithm"], described))
            if row["retired_at"] is None and row["algorithm"] not in signing:
                signing[row["algorithm"]] = self._opened(row)
        kids = frozenset(row["kid"] for row in rows)
        sets = {algorithm: KeySet(list(keys)) for algorithm, keys in verifying.items()}
        if self._held is not None and self._held.kids == kids:
            sets = self._held.verifying  # the same keys: who remembers that set need not keep another
        return _Loaded(clock.now(), signing, sets, public, kids)

    def _opened(self, row: Any) -> ECKey | RSAKey:
        """The private half; checking one of RSA takes long, so that of a key that did not change is kept."""
        held = self._held.signing.get(row["algorithm"]) if self._held else None
        if held is not None and held.kid == row["kid"]:
            return held
        opened = self._keyring.open(None, bytes(row["sealed"]), _context(row["kid"]))
        return _import(row["algorithm"], orjson.loads(opened))


def _generate(algorithm: Algorithm) -> ECKey | RSAKey:
    described: KeyParameters = {"kid": ids.new_id(), "use": "sig", "alg": algorithm}
    if algorithm == "RS256":
        return RSAKey.generate_key(2048, described)
    return ECKey.generate_key("P-256", described)


def _import(algorithm: str, described: Json) -> ECKey | RSAKey:
    return RSAKey.import_key(described) if algorithm == "RS256" else ECKey.import_key(described)


def _context(kid: str) -> bytes:
    return b"signing-key:" + kid.encode()
