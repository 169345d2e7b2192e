"""Passkeys: sign-in with a key that stays in a device (Web Authentication Level 3, 7.1 and 7.2).

User verification is always demanded (a finger, a face, a PIN): a passkey is two factors by itself, so it signs in
without a password and stands beside one alike. A challenge is kept as a digest and answered once.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol
from urllib.parse import urlsplit
from uuid import UUID, uuid4

import webauthn
from webauthn.helpers import base64url_to_bytes, parse_client_data_json
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AuthenticatorSelectionCriteria,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from server.core import clock
from server.core.errors import AlreadyStored, NotAuthenticated, Unprocessable
from server.core.settings import Settings
from server.storage.db import Database, Record
from server.storage.sql import load

QUERIES = load(__package__, "second_factor.sql")

WAIT = timedelta(minutes=5)
MOST_KEYS = 20
MOST_NAME = 60
REFUSED = "This passkey was not accepted."
NOT_MADE = "The passkey could not be made."


class Purpose(StrEnum):
    """What a challenge was made for: its answer is good for nothing else."""

    REGISTER = "register"
    SIGN_IN = "sign-in"
    SECOND = "second"
    CONFIRM = "confirm"


@dataclass(frozen=True)
class Passkey:
    """One of an account's passkeys, as its list shows it."""

    id: UUID
    credential_id: bytes
    name: str
    created_at: datetime
    used_at: datetime | None


@dataclass(frozen=True)
class Place:
    """What browsers bind passkeys to: a domain, and the origin of our pages there."""

    domain: str
    origin: str


class Needs(Protocol):
    """What is used of the services."""

    @property
    def db(self) -> Database: ...
    @property
    def settings(self) -> Settings: ...


def place_of(settings: Settings) -> Place | None:
    """Where passkeys work; None where they cannot: they need a domain. A loopback address goes as `localhost`."""
    parts = urlsplit(settings.base_url)
    host, port = parts.hostname or "", f":{parts.port}" if parts.port else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return Place(host, f"{parts.scheme}://{host}{port}")
    return Place("localhost", f"{parts.scheme}://localhost{port}") if address.is_loopback else None


async def list_of(db: Database, account_id: UUID) -> list[Passkey]:
    """The account's passkeys, the oldest first."""
    rows = await db.fetch_all(QUERIES["passkeys_of"], {"account": account_id})
    return [Passkey(**dict(row)) for row in rows]


async def begin_registration(services: Needs, account_id: UUID, email: str, name: str) -> str:
    """Options for navigator.credentials.create(), as JSON. Raises Unprocessable where passkeys cannot work."""
    place = _place(services)
    known = await list_of(services.db, account_id)
    if len(known) >= MOST_KEYS:
        raise Unprocessable("There are many passkeys already; remove one first.")
    options = webauthn.generate_registration_options(
        rp_id=place.domain,
        rp_name="Lightbox",
        user_id=account_id.bytes,
        user_name=email,
        user_display_name=name,
        exclude_credentials=_descriptors(known),
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.REQUIRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
    )
    await _keep(services.db, options.challenge, Purpose.REGISTER, account_id)
    return webauthn.options_to_json(options)


async def register(services: Needs, account_id: UUID, credential: Mapping[str, Any], *, name: str) -> None:
    """Keep the passkey a browser made. Raises Unprocessable for one that proves nothing, or is kept already."""
    place = _place(services)
    challenge = await _answered(services.db, credential, Purpose.REGISTER, account_id)
    if challenge is None:
        raise Unprocessable(NOT_MADE)
    try:
        made = webauthn.verify_registration_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=place.domain,
            expected_origin=place.origin,
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as exc:
        raise Unprocessable(NOT_MADE) from exc
    values = {
        "id": uuid4(),
        "account": account_id,
        "credential_id": made.credential_id,
        "place": place.domain,
    }
    key = {"public_key": made.credential_public_key, "sign_count": made.sign_count}
    try:
        async with services.db.transaction():
            more = {"name": clean_name(name), "now": clock.now()}
            await services.db.execute(QUERIES["add_passkey"], values | key | more)
    except AlreadyStored as exc:
        raise Unprocessable(NOT_MADE) from exc


async def begin(services: Needs, purpose: Purpose, account_id: UUID | None = None) -> str:
    """Options for navigator.credentials.get(), as JSON; without an account any passkey of this place may answer."""
    place = _place(services)
    known = await list_of(services.db, account_id) if account_id else []
    options = webauthn.generate_authentication_options(
        rp_id=place.domain,
        allow_credentials=_descriptors(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    await _keep(services.db, options.challenge, purpose, account_id)
    return webauthn.options_to_json(options)


async def use(
    services: Needs, purpose: Purpose, credential: Mapping[str, Any], account_id: UUID | None = None
) -> UUID:
    """The account whose passkey answered. Raises NotAuthenticated, alike for every reason."""
    place = place_of(services.settings)
    challenge = await _answered(services.db, credential, purpose, account_id)
    row = await _kept(services.db, credential, place)
    if place is None or challenge is None or row is None or account_id not in (None, row["account_id"]):
        raise NotAuthenticated(REFUSED)
    if not _says_whose(credential, row["account_id"]):
        raise NotAuthenticated(REFUSED)
    try:
        seen = webauthn.verify_authentication_response(
            credential=dict(credential),
            expected_challenge=challenge,
            expected_rp_id=place.domain,
            expected_origin=place.origin,
            credential_public_key=row["public_key"],
            credential_current_sign_count=row["sign_count"],
            require_user_verification=True,
        )
    except (WebAuthnException, ValueError, TypeError, KeyError) as exc:
        raise NotAuthenticated(REFUSED) from exc
    values = {"id": row["id"], "sign_count": seen.new_sign_count, "before": row["sign_count"]}
    if await services.db.fetch_val(QUERIES["used_passkey"], values | {"now": clock.now()}) is None:
        raise NotAuthenticated(REFUSED)
    found: UUID = row["account_id"]
    return found


async def remove(db: Database, account_id: UUID, passkey_id: UUID) -> bool:
    """Forget one; False when there is none such."""
    return await db.execute(QUERIES["remove_passkey"], {"id": passkey_id, "account": account_id}) > 0


async def forget_old(db: Database) -> None:
    """Drop challenges that nobody answered."""
    await db.execute(QUERIES["forget_challenges"], {"now": clock.now()})


def clean_name(name: str) -> str:
    """What the owner calls it, in one line."""
    line = " ".join("".join(each if each.isprintable() else " " for each in name).split())
    return line[:MOST_NAME] or "Passkey"


def _place(services: Needs) -> Place:
    place = place_of(services.settings)
    if place is None:
        raise Unprocessable("Passkeys need a domain name; this server is reached by a number.")
    return place


def _descriptors(known: list[Passkey]) -> list[PublicKeyCredentialDescriptor]:
    return [PublicKeyCredentialDescriptor(id=each.credential_id) for each in known]


async def _keep(db: Database, challenge: bytes, purpose: Purpose, account_id: UUID | None) -> None:
    values = {"challenge_hash": _hash(challenge), "purpose": purpose, "account": account_id}
    await db.execute(QUERIES["add_challenge"], values | {"expires_at": clock.now() + WAIT})


async def _answered(
    db: Database, credential: Mapping[str, Any], purpose: Purpose, account_id: UUID | None
) -> bytes | None:
    """The challenge that this answers, spent by it; None when it was never asked, is late, or was answered."""
    try:
        said = credential["response"]["clientDataJSON"]
        challenge = parse_client_data_json(base64url_to_bytes(said)).challenge
    except (WebAuthnException, ValueError, TypeError, KeyError, AttributeError):
        return None
    values = {
        "challenge_hash": _hash(challenge),
        "purpose": purpose,
        "account": account_id,
        "now": clock.now(),
    }
    return challenge if await db.fetch_val(QUERIES["spend_challenge"], values) else None


async def _kept(db: Database, credential: Mapping[str, Any], place: Place | None) -> Record | None:
    try:
        credential_id = base64url_to_bytes(credential["rawId"])
    except (ValueError, TypeError, KeyError, AttributeError):
        return None
    values = {"credential_id": credential_id, "place": place.domain if place else ""}
    return await db.fetch_one(QUERIES["passkey_by_credential"], values)


def _says_whose(credential: Mapping[str, Any], account_id: UUID) -> bool:
    """A user handle, where one comes, is the owner's (WebAuthn, 7.2, step 6)."""
    handle = credential["response"].get("userHandle")
    if handle is None:
        return True
    try:
        return base64url_to_bytes(handle) == account_id.bytes
    except (ValueError, TypeError, AttributeError):
        return False


def _hash(challenge: bytes) -> bytes:
    return hashlib.sha256(challenge).digest()
