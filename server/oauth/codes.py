"""Authorization codes (RFC 6749, 4.1.2): stored as a hash, alive for a minute, spent once by one statement."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.services import Services
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock, ids

from .clients import QUERIES

LIFETIME = timedelta(minutes=1)


@dataclass(frozen=True)
class Code:
    """What a person allowed, on its way to the app. The last three are what Authlib asks for."""

    client_id: str
    account_id: UUID
    session_id: UUID
    patient_id: str | None
    redirect_uri: str
    challenge: str
    scope: str
    nonce: str = ""
    launch: dict[str, Any] = field(default_factory=dict)
    grant_until: datetime | None = None
    auth_time: datetime | None = None  # when the person proved who they are
    grant_id: UUID = field(default_factory=uuid4)

    code_challenge_method = "S256"

    @property
    def code_challenge(self) -> str:
        return self.challenge

    def get_redirect_uri(self) -> str:
        return self.redirect_uri


async def save(services: Services, code: Code) -> str:
    """Keep what was allowed; the code that the app will bring back."""
    text, now = ids.new_secret(), clock.now()
    await services.db.execute(
        QUERIES["add_code"],
        {
            "code_hash": ids.digest(text),
            "client": code.client_id,
            "grant": code.grant_id,
            "account": code.account_id,
            "session": code.session_id,
            "patient": code.patient_id,
            "redirect_uri": code.redirect_uri,
            "challenge": code.challenge,
            "scope": code.scope,
            "nonce": code.nonce,
            "launch": orjson.dumps(code.launch).decode(),
            "grant_until": code.grant_until,
            "auth_time": code.auth_time,
            "now": now,
            "expires_at": now + LIFETIME,
        },
    )
    return text


async def spend(services: Services, text: str, client_id: str) -> Code | None:
    """The code, this once. A second use ends all that the first one made (RFC 9700, 2.1.1)."""
    values = {"code_hash": ids.digest(text), "client": client_id, "now": clock.now()}
    row = await services.db.fetch_one(QUERIES["spend_code"], values)
    if row is None:
        await _replayed(services, text)
        return None
    return Code(**{**dict(row), "launch": orjson.loads(row["launch"])})


async def _replayed(services: Services, text: str) -> None:
    async with services.db.transaction():
        values = {"code_hash": ids.digest(text), "now": clock.now()}
        row = await services.db.fetch_one(QUERIES["replay_code"], values)
        if row is None:
            return
        await services.db.execute(
            QUERIES["end_grant"],
            {"grant": row["grant_id"], "now": clock.now(), "why": "an authorization code was used twice"},
        )
        await services.audit.record(
            Event.TOKEN_REUSED,
            who=Who(client_id=row["client_id"], role="client"),
            patient_id=row["patient_id"],
            outcome=Outcome.REFUSED,
            detail={"what": "authorization code"},
        )
