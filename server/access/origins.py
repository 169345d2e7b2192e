"""Which web origins may read which answers (smart.md, CORS): open metadata for all, the rest for registered apps."""

from __future__ import annotations

import time
from urllib.parse import urlsplit

from server.storage.db import Database

from .sign_in import QUERIES

OPEN = (
    "/fhir/metadata",
    "/app-state/metadata",
    "/fhir/.well-known/",
    "/.well-known/",
    "/oauth/jwks",
    "/oauth/smart-style.json",
)
# Pages where a person decides: never read by another origin.
NEVER = ("/oauth/authorize", "/oauth/manage", "/oauth/launch", "/oauth/developers")
SHARED = ("/fhir", "/app-state", "/dicomweb", "/patients/", "/oauth/")
REMEMBERED_SECONDS = 30.0
ANEW_SECONDS = 1.0  # an origin not known may have been registered a moment ago


class Origins:
    """Origins of registered redirect addresses. A hint to browsers only; what counts is the token."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._read_at = -REMEMBERED_SECONDS
        self._known: frozenset[str] = frozenset()

    async def may_read(self, origin: str, path: str) -> bool:
        """Whether a page of `origin` may read the answer at `path`."""
        if path.startswith(OPEN):
            return True
        if path.startswith(NEVER) or not path.startswith(SHARED):
            return False
        age = time.monotonic() - self._read_at
        if age > (REMEMBERED_SECONDS if origin in self._known else ANEW_SECONDS):
            await self._refresh()
        return origin in self._known

    async def _refresh(self) -> None:
        rows = await self._db.fetch_all(QUERIES["redirect_uris"])
        self._known = frozenset(_origin(row["uri"]) for row in rows)
        self._read_at = time.monotonic()


def _origin(uri: str) -> str:
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"
