"""Who signed in, for the app to know: the id_token (OpenID Connect Core 1.0, 2; SMART App Launch 2.2, 'fhirUser')."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from joserfc import jwt

from server.access.keys import FOR_IDENTITY
from server.access.scopes import Scopes
from server.access.services import Services
from server.core import clock
from server.storage.db import Record

from .clients import Client

LIFETIME = timedelta(hours=1)


async def id_token(
    services: Services,
    client: Client,
    facts: Record,
    scopes: Scopes,
    *,
    nonce: str = "",
    auth_time: datetime | None = None,
) -> str:
    """The signed statement of who allowed this client, and when they proved who they are."""
    now = clock.now()
    claims: dict[str, Any] = {
        "iss": services.settings.base_url,
        "sub": str(facts["id"]),
        "aud": client.id,
        "iat": int(now.timestamp()),
        "exp": int((now + LIFETIME).timestamp()),
    }
    user = fhir_user(facts, services.settings.fhir_base)
    if user and (scopes.has("fhirUser") or scopes.has("profile")):
        claims |= {"fhirUser": user, "profile": user}
    if nonce:
        claims["nonce"] = nonce
    if auth_time:
        claims["auth_time"] = int(auth_time.timestamp())
    key = await services.keys.signing(FOR_IDENTITY)
    header = {"alg": FOR_IDENTITY, "typ": "JWT", "kid": key.kid}
    return jwt.encode(header, claims, key, algorithms=[FOR_IDENTITY])


def fhir_user(facts: Record, fhir_base: str) -> str | None:
    """The person as a FHIR resource: who acts for a child is a RelatedPerson of the record in context.

    Operators and managers of an organization are none.
    """
    if facts["related_person"]:
        return f"{fhir_base}/RelatedPerson/{facts['related_person']}"
    if facts["practitioner_id"]:
        return f"{fhir_base}/Practitioner/{facts['practitioner_id']}"
    if facts["own_patient"]:
        return f"{fhir_base}/Patient/{facts['own_patient']}"
    return None
