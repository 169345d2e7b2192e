"""Signing in with a browser: the session's cookie, and the checks that keep other sites from using it.

Cookies: `__Host-` with Secure on https; on a loopback http base a plain name without Secure, for clients drop
Secure cookies there (decision 20). Forged requests: SameSite=Lax, Fetch Metadata or Origin, and a token of the
session in a header or form field.
"""

from __future__ import annotations

import hmac
import time
from collections import OrderedDict
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from starlette.requests import HTTPConnection
from starlette.responses import Response

from server.accounts import second_factor, sessions, steps
from server.accounts.people import Account
from server.accounts.steps import Kind, Step
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
    """A session and the facts of its user.

    A doctor may hold records too, of their own or as a guardian, and wears one hat at a time: `role` is the hat's.
    """

    session_id: UUID
    account_id: UUID
    csrf_token: str
    confirmed_at: datetime
    expires_at: datetime
    name: str
    email: str
    account_role: str
    language: str
    registered_id: str | None  # the doctor's Practitioner, whatever hat they wear
    organization_id: str | None
    factor: str = ""  # what stood beside the password: passkey, totp, recovery
    duties: tuple[str, ...] = ()  # of an operator
    hat: str = ""  # "patient" where a doctor looks at records they hold
    records: tuple[str, ...] = ()  # that a doctor holds

    @property
    def role(self) -> str:
        """What they are in this session."""
        return "patient" if self.hat == "patient" and self.records else self.account_role

    @property
    def practitioner_id(self) -> str | None:
        """Who they are as a doctor, while they are one."""
        return self.registered_id if self.role == "doctor" else None

    @property
    def _member(self) -> tuple[UUID, str] | None:
        """A person who acts for an organization does so while they belong to it."""
        if self.role != ActorKind.PROVIDER or self.organization_id is None:
            return None
        return self.account_id, self.organization_id

    def actor(self, address: str) -> Actor:
        """The person in the hat they wear."""
        return Actor(
            kind=ActorKind(self.role),
            account_id=self.account_id,
            practitioner_id=self.practitioner_id,
            organization_id=self.organization_id,
            credential=Credential(session_id=self.session_id, member=self._member),
            name=self.name,
            address=address,
        )

    def holder(self, address: str) -> Actor:
        """A doctor as the holder of their records, whatever hat they wear: for rights that are the account's."""
        actor = self.actor(address)
        if self.role != "doctor" or not self.records:
            return actor
        return replace(actor, kind=ActorKind.PATIENT, practitioner_id=None)

    def whole(self, address: str) -> Actor:
        """Both hats at once: to choose among all the records there are, never to read them."""
        return replace(self.holder(address), practitioner_id=self.registered_id)

    def for_record(self, patient_id: str, address: str) -> Actor:
        """The hat that an address demands which names whose record it is of (`/patients/{id}/dicomweb`)."""
        if self.account_role != "doctor":
            return self.actor(address)
        if patient_id in self.records:
            return self.holder(address)
        return replace(self.actor(address), kind=ActorKind.DOCTOR, practitioner_id=self.registered_id)


class SignIn:
    """Sessions as requests carry them."""

    def __init__(self, db: Database, settings: Settings) -> None:
        self._db = db
        self._settings = settings
        self._facts: OrderedDict[bytes, tuple[float, SignedIn]] = OrderedDict()
        self.cookie_name = "__Host-session" if settings.is_https else "lightbox_session"
        self.step_cookie = "__Host-step" if settings.is_https else "lightbox_step"

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

    async def start(
        self, request: HTTPConnection, response: Response, account: Account, *, factor: str = ""
    ) -> None:
        """Begin a session for `account` and set its cookie; one that the browser came with ends.

        `factor` is what was shown beside the password. The session's value is new, whatever the browser brought.
        """
        _, secret = await sessions.start(
            self._db,
            account.id,
            address=address_of(request),
            user_agent=request.headers.get("user-agent", ""),
            replacing=request.cookies.get(self.cookie_name),
            factor=factor,
        )
        self._set_cookie(response, self.cookie_name, secret, int(sessions.ABSOLUTE.total_seconds()))

    async def begin_step(self, response: Response, account: Account, kind: Kind) -> None:
        """The password was right and something is missing: a cookie that opens the pages for that and nothing else."""
        secret = await steps.begin(self._db, account.id, kind)
        self._set_cookie(response, self.step_cookie, secret, int(steps.WAIT.total_seconds()))

    async def step_of(self, request: HTTPConnection) -> Step | None:
        """The step a request came with, while it waits."""
        secret = request.cookies.get(self.step_cookie)
        return await steps.find(self._db, secret) if secret else None

    async def finish_step(
        self, request: HTTPConnection, response: Response, step: Step, account: Account, *, factor: str
    ) -> bool:
        """What was missing is there: the session begins. False when another request spent the step."""
        if not await steps.spend(self._db, step):
            return False
        self._drop_cookie(response, self.step_cookie)
        await self.start(request, response, account, factor=factor)
        return True

    async def wear(self, request: HTTPConnection, response: Response, signed_in: SignedIn, hat: str) -> None:
        """A doctor puts on another hat. The cookie changes with it: what other processes remember is of the old one."""
        secret = await sessions.wear(self._db, signed_in.session_id, hat)
        if secret is None:
            return
        self._facts.pop(digest(request.cookies.get(self.cookie_name, "")), None)
        seconds = max(1, int((signed_in.expires_at - clock.now()).total_seconds()))
        self._set_cookie(response, self.cookie_name, secret, seconds)

    async def end(self, request: HTTPConnection, response: Response) -> None:
        """Sign out: the session ends and the cookie goes."""
        if secret := request.cookies.get(self.cookie_name):
            await sessions.end_by_secret(self._db, secret)
            self._facts.pop(digest(secret), None)
        self._drop_cookie(response, self.cookie_name)

    def _set_cookie(self, response: Response, name: str, value: str, seconds: int) -> None:
        secure = self._settings.is_https
        response.set_cookie(
            name, value, max_age=seconds, path="/", secure=secure, httponly=True, samesite="lax"
        )

    def _drop_cookie(self, response: Response, name: str) -> None:
        response.delete_cookie(name, path="/", secure=self._settings.is_https, httponly=True, samesite="lax")

    async def _read(self, secret: str) -> SignedIn | None:
        key, now = digest(secret), clock.now()
        values = {"secret_hash": key, "now": now, "in_need": second_factor.required_of(self._settings)}
        row = await self._db.fetch_one(QUERIES["session_facts"], values)
        if row is None:
            self._facts.pop(key, None)
            return None
        if now - row["seen_at"] >= sessions.TOUCH_EVERY and (
            session := await sessions.find(self._db, secret)
        ):
            await sessions.touch(self._db, session)
        names = SignedIn.__dataclass_fields__
        known: dict[str, Any] = {name: row[name] for name in names if name != "session_id"}
        facts = SignedIn(
            session_id=row["id"],
            **known | {"duties": tuple(row["duties"]), "records": tuple(row["records"])},
        )
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
