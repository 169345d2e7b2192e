"""Signing in with a browser: the session's cookie, and the checks that keep other sites from using it.

Cookies: `__Host-` with Secure on https; on a loopback http base a plain name without Secure, for clients drop
Secure cookies there (decision 20). Forged requests: SameSite=Lax, Fetch Metadata or Origin, and a token of the
session in a header or form field.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.accounts import sessions
from server.accounts.people import Account
from server.core import clock
from server.core.errors import Forbidden
from server.core.ids import digest
from server.core.settings import Settings
from server.storage.db import Database
from server.storage.sql import load

from .actor import Actor, ActorKind, Credential

QUERIES = load(__package__)

CSRF_HEADER = "x-csrf-token"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
FACTS_SECONDS = 30.0  # how long facts of a session are reused; that it lives is asked in every statement
MOST_REMEMBERED = 10_000


@dataclass(frozen=True)
class SignedIn:
    """A session and the facts of its user."""

    session_id: UUID
    account_id: UUID
    csrf_token: str
    confirmed_at: datetime
    expires_at: datetime
    name: str
    email: str
    role: str
    language: str
    practitioner_id: str | None
    organization_id: str | None

    @property
    def _member(self) -> tuple[UUID, str] | None:
        """A person who acts for an organization does so while they belong to it."""
        if self.role != ActorKind.PROVIDER or self.organization_id is None:
            return None
        return self.account_id, self.organization_id

    def actor(self, address: str) -> Actor:
        return Actor(
            kind=ActorKind(self.role),
            account_id=self.account_id,
            practitioner_id=self.practitioner_id,
            organization_id=self.organization_id,
            credential=Credential(session_id=self.session_id, member=self._member),
            name=self.name,
            address=address,
        )


class SignIn:
    """Sessions as requests carry them."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._facts: OrderedDict[bytes, tuple[float, SignedIn]] = OrderedDict()
        self.cookie_name = "__Host-session" if settings.is_https else "lightbox_session"

    async def of(self, request: HTTPConnection) -> SignedIn | None:
        """The living session a request came with, or None; asks the table."""
        secret = request.cookies.get(self.cookie_name)
        return await self._read(secret) if secret else None

    async def facts(self, request: HTTPConnection) -> SignedIn | None:
        """The same from memory for some seconds: no proof that the session lives (the gate asks that itself)."""
        secret = request.cookies.get(self.cookie_name)
        if not secret:
            return None
        known = self._facts.get(digest(secret))
        if known and time.monotonic() - known[0] < FACTS_SECONDS:
            return known[1]
        return await self._read(secret)

    async def start(self, request: HTTPConnection, response: Response, account: Account) -> None:
        """Begin a session for `account` and set its cookie; one that the browser came with ends."""
        _, secret = await sessions.start(
            self._db,
            account.id,
            address=address_of(request),
            user_agent=request.headers.get("user-agent", ""),
            replacing=request.cookies.get(self.cookie_name),
        )
        response.set_cookie(
            self.cookie_name,
            secret,
            max_age=int(sessions.ABSOLUTE.total_seconds()),
            path="/",
            secure=self._settings.is_https,
            httponly=True,
            samesite="lax",
        )

    async def end(self, request: HTTPConnection, response: Response) -> None:
        """Sign out: the session ends and the cookie goes."""
        if secret := request.cookies.get(self.cookie_name):
            await sessions.end_by_secret(self._db, secret)
            self._facts.pop(digest(secret), None)
        response.delete_cookie(
            self.cookie_name, path="/", secure=self._settings.is_https, httponly=True, samesite="lax"
        )

    async def _read(self, secret: str) -> SignedIn | None:
        key, now = digest(secret), clock.now()
        row = await self._db.fetch_one(QUERIES["session_facts"], {"secret_hash": key, "now": now})
        if row is None:
            self._facts.pop(key, None)
            return None
        if now - row["seen_at"] >= sessions.TOUCH_EVERY and (
            session := await sessions.find(self._db, secret)
        ):
            await sessions.touch(self._db, session)
        names = SignedIn.__dataclass_fields__
        facts = SignedIn(session_id=row["id"], **{name: row[name] for name in names if name != "session_id"})
        self._facts[key] = (time.monotonic(), facts)
        if len(self._facts) > MOST_REMEMBERED:
            self._facts.popitem(last=False)
        return facts


def require_same_origin(request: HTTPConnection, settings: Settings) -> None:
    """Raise Forbidden when a browser says that another site made this request.

    Fetch Metadata first (https://www.w3.org/TR/fetch-metadata/), Origin (RFC 6454) where a browser lacks it;
    clients that are no browsers send neither, and carry no cookies of anyone else.
    """
    site = request.headers.get("sec-fetch-site")
    if site is not None:
        if site not in ("same-origin", "none"):
            raise Forbidden("This request came from another site.")
        return
    origin = request.headers.get("origin")
    if origin is None:
        return
    parts = urlsplit(settings.base_url)
    if origin not in (
        f"{parts.scheme}://{parts.netloc}",
        f"{parts.scheme}://{request.headers.get('host', '')}",
    ):
        raise Forbidden("This request came from another site.")


def require_csrf(signed_in: SignedIn, value: str | None) -> None:
    """Raise Forbidden unless `value` (header or form field) is the session's token."""
    if not value or not hmac.compare_digest(value.encode(), signed_in.csrf_token.encode()):
        raise Forbidden("This page has gone stale. Go back, reload it, and try again.")


def address_of(request: HTTPConnection) -> str:
    """The caller's address, as the server sees it (trusted proxies resolved by uvicorn)."""
    return request.client.host if request.client else ""
