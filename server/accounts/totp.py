"""Codes of an authenticator app: time-based one-time passwords (RFC 6238), each accepted once.

The shared secret is sealed with the system's key; the last half minute that was accepted is kept, so that a code
read over a shoulder is worth nothing after its owner used it (RFC 6238, 5.2). A secret on offer is kept nowhere: it
travels sealed in its own form, bound to the browser that was shown it.
"""

from __future__ import annotations

import hmac
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from urllib.parse import urlsplit
from uuid import UUID

import pyotp
import segno

from server.core import clock
from server.core.errors import Conflict, ServerError, Unprocessable
from server.core.settings import Settings
from server.core.texts import N_
from server.jobs.mailer import Seal
from server.storage.db import Database
from server.storage.sql import load

QUERIES = load(__package__, "second_factor.sql")

STEP = 30  # seconds
DIGITS = 6
DRIFT = (0, -1, 1)  # clocks of telephones go wrong by half a minute
WRONG = N_("This code is not right. Wait for the next one, and see that the clock of your device is.")
STALE = N_("This page has gone stale. Begin again with the new picture.")


@dataclass(frozen=True)
class Offer:
    """A secret to be taken over by an app: as text, as a picture, and sealed for the form that confirms it."""

    secret: str
    token: str
    picture: str  # a data: URI

    @property
    def spaced(self) -> str:
        """As it is typed by hand."""
        return " ".join(self.secret[at : at + 4] for at in range(0, len(self.secret), 4))


def offer(
    keyring: Seal, settings: Settings, email: str, *, bound_to: UUID, token: str | None = None
) -> Offer:
    """A new secret for the browser whose session or step is `bound_to`; with `token`, the one offered before."""
    secret = (_offered(keyring, token, bound_to) if token else None) or pyotp.random_base32()
    sealed = keyring.seal(None, secret.encode(), bound_to.bytes)
    host = urlsplit(settings.base_url).hostname  # without a port: apps read a colon as the end of the issuer
    address = pyotp.TOTP(secret).provisioning_uri(name=email, issuer_name=f"Lightbox {host}")
    picture = segno.make(address, error="m").svg_data_uri(scale=5, border=2, dark="#000", light="#fff")
    return Offer(secret, urlsafe_b64encode(sealed).decode(), picture)


async def confirm(
    db: Database, keyring: Seal, account_id: UUID, token: str, code: str, *, bound_to: UUID
) -> None:
    """The first code came back: from now on it counts. Raises Unprocessable, Conflict for a second app."""
    secret = _offered(keyring, token, bound_to)
    if secret is None:
        raise Unprocessable(STALE)
    step = matching_step(secret, code)
    if step is None:
        raise Unprocessable(WRONG)
    sealed = keyring.seal(None, secret.encode(), account_id.bytes)
    values = {"account": account_id, "sealed": sealed, "now": clock.now(), "step": step}
    if await db.fetch_val(QUERIES["add_totp"], values) is None:
        raise Conflict("An authenticator app is set up already. Remove it first.")


async def spend(db: Database, keyring: Seal, account_id: UUID, code: str) -> bool:
    """Is this the code of now, and was neither it nor a later one used before?"""
    sealed = await db.fetch_val(QUERIES["totp_of"], {"account": account_id})
    if sealed is None:
        return False
    step = matching_step(keyring.open(None, sealed, account_id.bytes).decode(), code)
    if step is None:
        return False
    values = {"account": account_id, "step": step}
    return await db.fetch_val(QUERIES["spend_totp"], values) is not None


async def remove(db: Database, account_id: UUID) -> None:
    """Forget the secret."""
    await db.execute(QUERIES["remove_totp"], {"account": account_id})


def matching_step(secret: str, code: str) -> int | None:
    """The half minute whose code this is, near to now."""
    plain = "".join(code.split())
    if len(plain) != DIGITS or not (plain.isascii() and plain.isdigit()):
        return None
    now = int(clock.now().timestamp()) // STEP
    codes = pyotp.TOTP(secret)
    found = [now + drift for drift in DRIFT if hmac.compare_digest(codes.generate_otp(now + drift), plain)]
    return max(found) if found else None


def _offered(keyring: Seal, token: str, bound_to: UUID) -> str | None:
    try:
        return keyring.open(None, urlsafe_b64decode(token), bound_to.bytes).decode()
    except (ServerError, ValueError):
        return None
