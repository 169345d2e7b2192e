"""Making tokens: the grant behind them, the access token, and what goes with it.

SMART App Launch 2.2, "Obtain access token"; RFC 6749, 5.1. One function a way to a token, each one transaction.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind, Credential
from server.access.reach import alive
from server.access.scopes import Scopes
from server.access.services import Services
from server.access.tokens import Bearer
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock, ids
from server.storage.db import Record
from server.storage.where import all_of

from . import openid
from .clients import QUERIES, Client
from .codes import Code
from .problem import InvalidGrant, InvalidScope

ACCESS = timedelta(hours=1)
BACKEND = timedelta(minutes=5)
SESSION = timedelta(hours=12)

Json = dict[str, Any]


@dataclass(frozen=True)
class Grant:
    """What lets an app act: a row of app_grant."""

    id: UUID
    client_id: str
    account_id: UUID | None
    session_id: UUID | None
    patient_id: str | None
    scope: str
    launch: Json
    online: bool
    expires_at: datetime | None
    auth_time: datetime | None = None

    def check_client(self, client: Client) -> bool:
        return self.client_id == client.id

    def get_scope(self) -> str:
        return self.scope


async def for_code(services: Services, client: Client, code: Code) -> Json:
    """The answer to a code that was spent a moment ago. Raises InvalidGrant."""
    await services.keys.ready()
    scopes = Scopes.parse(code.scope)
    grant = _grant_of(code, scopes)
    async with services.db.transaction():
        if not await services.db.fetch_val(QUERIES["code_still_good"], {"grant": code.grant_id}):
            raise InvalidGrant()
        await add_grant(services, grant)
        facts = await _facts(services, code.account_id, code.patient_id)
        answer = await _answer(services, client, grant, scopes, facts)
        if scopes.has("offline_access") or scopes.has("online_access"):
            answer["refresh_token"] = await _add_refresh_token(services, grant)
        await _note(services, client, grant, facts, scopes)
    if scopes.has("openid"):
        answer["id_token"] = await openid.id_token(
            services, client, facts, scopes, nonce=code.nonce, auth_time=grant.auth_time
        )
    return answer


async def for_refresh(services: Services, client: Client, token: str, scope: str | None) -> Json:
    """The answer to a living refresh token, which is spent by it. Raises InvalidGrant, InvalidScope."""
    now = clock.now()
    await services.keys.ready()
    async with services.db.transaction():
        values = {"token_hash": ids.digest(token), "client": client.id, "now": now}
        grant_id = await services.db.fetch_val(QUERIES["spend_refresh_token"], values)
        if grant_id is None:
            raise InvalidGrant()
        row = await services.db.fetch_one(
            QUERIES["use_grant"],
            {"grant": grant_id, "client": client.id, "now": now},
            alive=all_of(*alive(Credential(grant_id=grant_id), now)),
        )
        if row is None or row["account_id"] is None:
            raise InvalidGrant()
        grant = grant_of(row)
        # An app that was registered for less since then gets no more than that.
        scopes = narrowed(scope, grant.scope).within(client.allowed)
        if not scopes:
            raise InvalidScope()
        facts = await _facts(services, row["account_id"], grant.patient_id)
        await _require_open(services, grant, facts)
        answer = await _answer(services, client, grant, scopes, facts)
        answer["refresh_token"] = await _add_refresh_token(services, grant)
        await _note(services, client, grant, facts, scopes)
    if scopes.has("openid"):
        answer["id_token"] = await openid.id_token(services, client, facts, scopes, auth_time=grant.auth_time)
    return answer


async def for_client(services: Services, client: Client, scope: str | None) -> Json:
    """The answer to a backend service that proved itself (SMART Backend Services). Raises InvalidScope."""
    scopes = Scopes.parse(scope).within(client.allowed)
    if not scopes.resources:
        raise InvalidScope()
    text, _ = await token_for_client(services, client, scopes, lifetime=BACKEND)
    return {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": int(BACKEND.total_seconds()),
        "scope": scopes.text,
    }


async def token_for_client(
    services: Services,
    client: Client,
    scopes: Scopes,
    *,
    lifetime: timedelta,
    how: str = "client credentials",
) -> tuple[str, UUID]:
    """An access token with which a system acts for itself, and its grant."""
    now = clock.now()
    grant = Grant(uuid4(), client.id, None, None, None, scopes.text, {}, False, now + lifetime)
    bearer = Bearer(
        kind="client",
        subject=client.id,
        client_id=client.id,
        grant_id=grant.id,
        organization_id=client.organization_id,
        trusted=client.trusted,
    )
    await services.keys.ready()
    async with services.db.transaction():
        await add_grant(services, grant)
        text, _ = await services.tokens.issue(bearer, scopes, lifetime=lifetime)
        await services.audit.record(
            Event.TOKEN_ISSUED,
            who=Who(name=client.name, role="client", client_id=client.id, client_name=client.name),
            patient_id=None,
            detail={"scope": scopes.text, "how": how},
        )
    return text, grant.id


async def add_grant(services: Services, grant: Grant) -> None:
    """Keep the grant; everything made of it ends when it does."""
    await services.db.execute(
        QUERIES["add_grant"],
        {
            "id": grant.id,
            "client": grant.client_id,
            "account": grant.account_id,
            "session": grant.session_id,
            "patient": grant.patient_id,
            "scope": grant.scope,
            "launch": orjson.dumps(grant.launch).decode(),
            "online": grant.online,
            "now": clock.now(),
            "expires_at": grant.expires_at,
            "auth_time": grant.auth_time,
        },
    )


def grant_of(row: Record) -> Grant:
    """A row of app_grant as a value."""
    fields = {name: row[name] for name in Grant.__dataclass_fields__}
    return Grant(**{**fields, "launch": orjson.loads(row["launch"])})


def narrowed(asked: str | None, granted: str) -> Scopes:
    """The scopes of a refreshed token: those granted, or a part of them. Raises InvalidScope for more."""
    whole = Scopes.parse(granted)
    if not asked:
        return whole
    part = Scopes.parse(asked)
    if not part or not part.subset_of(whole):
        raise InvalidScope("The scope asks for more than was granted.")
    return part


def bearer_of(grant: Grant, facts: Record, *, fhir_base: str) -> Bearer:
    """On whose behalf a token of this grant speaks."""
    return Bearer(
        kind=facts["role"],
        subject=str(facts["id"]),
        client_id=grant.client_id,
        grant_id=grant.id,
        account_id=facts["id"],
        practitioner_id=_doctor_id(facts),
        organization_id=facts["organization_id"],
        patient_id=grant.patient_id,
        fhir_user=openid.fhir_user(facts, fhir_base),
    )


def _doctor_id(facts: Record) -> str | None:
    """The Practitioner a token acts as; none where its user is the patient of the record in context."""
    found: str | None = facts["practitioner_id"] if facts["role"] != "patient" else None
    return found


def _grant_of(code: Code, scopes: Scopes) -> Grant:
    offline = scopes.has("offline_access")
    online = scopes.has("online_access") and not offline
    now = clock.now()
    until = now + SESSION if online else now + ACCESS
    if offline:
        until = code.grant_until or now + ACCESS
    return Grant(
        code.grant_id,
        code.client_id,
        code.account_id,
        code.session_id,
        code.patient_id,
        code.scope,
        code.launch,
        online,
        until,
        code.auth_time,
    )


async def _answer(services: Services, client: Client, grant: Grant, scopes: Scopes, facts: Record) -> Json:
    left = grant.expires_at - clock.now() if grant.expires_at else ACCESS
    lifetime = min(ACCESS, max(left, timedelta(seconds=1)))
    bearer = bearer_of(grant, facts, fhir_base=services.settings.fhir_base)
    text, token = await services.tokens.issue(bearer, scopes, lifetime=lifetime)
    answer: Json = {
        "access_token": text,
        "token_type": "Bearer",
        "expires_in": int((token.expires_at - token.issued_at).total_seconds()),
        "scope": scopes.text,
    }
    if grant.patient_id:
        answer |= {"patient": grant.patient_id, "need_patient_banner": True}
        answer["smart_style_url"] = f"{services.settings.base_url}/oauth/smart-style.json"
    return answer | grant.launch


async def _add_refresh_token(services: Services, grant: Grant) -> str:
    text, now = ids.new_secret(), clock.now()
    row = {"token_hash": ids.digest(text), "grant": grant.id, "now": now, "expires_at": grant.expires_at}
    await services.db.execute(QUERIES["add_refresh_token"], row)
    return text


async def _require_open(services: Services, grant: Grant, facts: Record) -> None:
    """The patient in context is open to this app still: a share may have ended, the record be restricted.

    Raises InvalidGrant.
    """
    if grant.patient_id is None:
        return
    actor = Actor(
        ActorKind(facts["role"]),
        account_id=facts["id"],
        practitioner_id=_doctor_id(facts),
        organization_id=facts["organization_id"],
        credential=Credential(grant_id=grant.id),
    )
    reach = await services.gate.reach_for_actor(actor, Action("Patient", Verb.READ))
    if not await services.gate.reaches_patient(reach, grant.patient_id):
        raise InvalidGrant()


async def _facts(services: Services, account_id: UUID, patient_id: str | None) -> Record:
    values = {"account": account_id, "patient": patient_id, "now": clock.now()}
    facts = await services.db.fetch_one(QUERIES["facts_of_account"], values)
    if facts is None:
        raise InvalidGrant()
    return facts


async def _note(services: Services, client: Client, grant: Grant, facts: Record, scopes: Scopes) -> None:
    await services.audit.record(
        Event.TOKEN_ISSUED,
        who=Who(
            name=facts["name"],
            role=facts["role"],
            account_id=str(facts["id"]),
            client_id=client.id,
            client_name=client.name,
        ),
        patient_id=grant.patient_id,
        detail={"scope": scopes.text},
    )
