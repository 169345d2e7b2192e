"""Tokens an operator makes (`lightbox token`): as the server issues them, audited, of any lifetime (decision 18)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

from server.access.scopes import Scopes
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import InvalidInput, NotFound
from server.storage.db import Record

from . import clients, issue
from .clients import QUERIES
from .issue import Grant

OWN_CLIENT = "lightbox-operator"
_NAME = "Made by the operator of this server"


async def issue_for_operator(
    services: Services,
    *,
    scope: str,
    user: str | None = None,
    client: str | None = None,
    patient: str | None = None,
    ttl: timedelta = timedelta(hours=1),
) -> str:
    """An access token for a person (by e-mail) or for a client by itself. Raises InvalidInput, NotFound."""
    scopes = Scopes.parse(scope)
    if not scopes:
        raise InvalidInput("--scope: none of the scopes is known.")
    if (user is None) == (client is None):
        raise InvalidInput("Name either a user or a client.")
    if client is not None:
        return await _for_client(services, client, scopes, ttl)
    return await _for_person(services, str(user), scopes, patient, ttl)


async def list_clients(services: Services) -> list[dict[str, Any]]:
    """Every client, with how many grants live of it."""
    rows = await services.db.fetch_all(QUERIES["clients"], {"now": clock.now()})
    return [
        {
            "client_id": row["id"],
            "name": row["name"],
            "type": row["type"],
            "registered_by": row["registered_by"],
            "verified": row["verified"],
            "trusted": row["trusted"],
            "created": row["created_at"].isoformat(),
            "disabled": row["disabled_at"].isoformat() if row["disabled_at"] else None,
            "grants": row["grants"],
        }
        for row in rows
    ]


async def set_enabled(services: Services, client_id: str, *, enabled: bool) -> None:
    """Shut a client out, its living tokens at their next request; or let it in again, with those that still live.

    Raises NotFound when there is no such client, or nothing to change.
    """
    name = "enable_client" if enabled else "disable_client"
    async with services.db.transaction():
        if not await services.db.execute(QUERIES[name], {"id": client_id, "now": clock.now()}):
            raise NotFound("There is no such client, or it is so already.")
        await services.audit.record(
            Event.OPERATOR_ACTED,
            who=Who(name="The operator", role="operator"),
            patient_id=None,
            detail={"what": name.replace("_", " "), "client": client_id},
        )


async def _for_client(services: Services, client_id: str, scopes: Scopes, ttl: timedelta) -> str:
    client = await clients.find(services.db, client_id)
    if client is None:
        raise NotFound("There is no client with this id.")
    text, _ = await issue.token_for_client(services, client, scopes, lifetime=ttl, how="by the operator")
    return text


async def _for_person(
    services: Services, email: str, scopes: Scopes, patient: str | None, ttl: timedelta
) -> str:
    account = await people.find_by_email(services.db, email)
    if account is None:
        raise NotFound("There is no user with this e-mail address.")
    now = clock.now()
    values = {"account": account.id, "patient": patient, "now": now}
    facts = await services.db.fetch_one(QUERIES["facts_of_account"], values)
    if facts is None:
        raise NotFound("This user is closed.")
    in_context = patient or _own(facts, scopes)
    grant = Grant(uuid4(), OWN_CLIENT, account.id, None, in_context, scopes.text, {}, False, now + ttl)
    await services.keys.ready()
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_client_once"], {"id": OWN_CLIENT, "name": _NAME, "now": now})
        await issue.add_grant(services, grant)
        bearer = issue.bearer_of(grant, facts, fhir_base=services.settings.fhir_base)
        text, _ = await services.tokens.issue(bearer, scopes, lifetime=ttl)
        await services.audit.record(
            Event.TOKEN_ISSUED,
            who=Who(name="The operator", role="operator", client_id=OWN_CLIENT, client_name=_NAME),
            patient_id=in_context,
            detail={"scope": scopes.text, "for": account.name, "how": "by the operator"},
        )
    return text


def _own(facts: Record, scopes: Scopes) -> str | None:
    """A patient's own profile is in context where the scopes speak of one."""
    wants = "patient" in scopes.contexts or scopes.has("launch/patient")
    own: str | None = facts["own_patient"] if wants else None
    return own
