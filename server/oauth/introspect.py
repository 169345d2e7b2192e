"""Introspection (RFC 7662; SMART App Launch 2.2, "Token introspection"; IHE IUA and PCF extensions).

Asked by a confidential client, or with a SMART bearer token. What is not active gets `{"active": false}` alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.access.actor import Credential
from server.access.reach import alive
from server.access.scopes import Scopes
from server.access.services import Services
from server.core import clock, ids
from server.core.errors import NotAuthenticated
from server.storage.db import Record
from server.storage.where import all_of

from . import forms, openid, problem
from .authlib_bridge import authenticate
from .clients import QUERIES
from .problem import InvalidClient, InvalidRequest

Json = dict[str, Any]
INACTIVE: Json = {"active": False}


async def introspect(request: Request) -> Response:
    """POST /oauth/introspect"""
    services: Services = request.app.state.services
    form = await forms.read_form(request)
    await _authorize(services, request, form)
    if "token" not in form:
        raise InvalidRequest("A token is needed.")
    return problem.json(await describe(services, form["token"]))


async def describe(services: Services, text: str) -> Json:
    """What is known of a living token."""
    return await _access_token(services, text) or await _refresh_token(services, text) or INACTIVE


async def _authorize(services: Services, request: Request, form: Mapping[str, str]) -> None:
    if request.headers.get("authorization", "").lower().startswith("bearer "):
        actor = await services.gate.actor(request)
        if actor.scopes is None or not await services.gate.lives(
            actor.credential
        ):  # a viewer's key is no token
            raise NotAuthenticated()
        return
    client = await authenticate(services, request, form)
    if not client.is_confidential:
        raise InvalidClient()


async def _access_token(services: Services, text: str) -> Json | None:
    try:
        token = await services.tokens.read(text)
    except NotAuthenticated:
        return None
    grant = await _living_grant(services, token.bearer.grant_id)
    if grant is None:
        return None
    bearer = token.bearer
    return {
        **await _common(services, grant, token.scopes),
        "token_type": "Bearer",
        "sub": bearer.subject,
        "aud": services.settings.fhir_base,
        "exp": int(token.expires_at.timestamp()),
        "iat": int(token.issued_at.timestamp()),
        "jti": token.id,
    }


async def _refresh_token(services: Services, text: str) -> Json | None:
    row = await services.db.fetch_one(QUERIES["refresh_token"], {"token_hash": ids.digest(text)})
    if row is None or row["used_at"] is not None or row["expires_at"] <= clock.now():
        return None
    grant = await _living_grant(services, row["grant_id"])
    if grant is None:
        return None
    return {
        **await _common(services, grant, Scopes.parse(grant["scope"])),
        "sub": str(grant["account_id"]),
        "exp": int(row["expires_at"].timestamp()),
        "iat": int(row["created_at"].timestamp()),
    }


async def _living_grant(services: Services, grant_id: Any) -> Record | None:
    living = all_of(*alive(Credential(grant_id=grant_id), clock.now()))
    return await services.db.fetch_one(QUERIES["grant_by_id"], {"grant": grant_id}, alive=living)


async def _common(services: Services, grant: Record, scopes: Scopes) -> Json:
    found: Json = {
        "active": True,
        "scope": scopes.text,
        "client_id": grant["client_id"],
        "iss": services.settings.base_url,
        **orjson.loads(grant["launch"]),
    }
    if grant["patient_id"]:
        found["patient"] = grant["patient_id"]
    found["extensions"] = {"ihe_iua": _iua(grant)}
    if grant["account_id"] is None:
        return found
    values = {"account": grant["account_id"], "patient": grant["patient_id"], "now": clock.now()}
    facts = await services.db.fetch_one(QUERIES["facts_of_account"], values)
    if facts is None:
        return INACTIVE
    found["extensions"]["ihe_iua"]["subject_name"] = facts["name"]
    if grant["patient_id"] and facts["practitioner_id"]:
        found["extensions"]["ihe_pcf"] = await _pcf(services, grant["patient_id"], facts["practitioner_id"])
    user = openid.fhir_user(facts, services.settings.fhir_base)
    if user and scopes.has("fhirUser"):
        found["fhirUser"] = user
    return found


def _iua(grant: Record) -> Json:
    """IHE IUA 3.71: the patient a token is about, by its id here."""
    return {"patient_id": grant["patient_id"]} if grant["patient_id"] else {}


async def _pcf(services: Services, patient_id: str, practitioner_id: str) -> Json:
    """IHE PCF: the Consents by which a doctor sees this patient, and the rights each leaves."""
    values = {"patient": patient_id, "practitioner": practitioner_id, "now": clock.now()}
    shares = await services.db.fetch_all(QUERIES["consents_behind"], values)
    base = services.settings.fhir_base
    return {
        "patient_id": patient_id,
        "doc_id": [f"{base}/Consent/{share['id']}" for share in shares],
        "residual": [{"rights": share["rights"], "all_studies": share["whole"]} for share in shares],
    }
