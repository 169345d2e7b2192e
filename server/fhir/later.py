"""A caller who acts later, when no request is there any more: exports under way, subscriptions.

What the caller was is kept sealed. Before each act it is asked anew what is left of it: a person's app as long as its
grant lives, a backend client (whose tokens live five minutes) as long as it is registered, with the scopes it has now.
"""

from __future__ import annotations

from uuid import UUID

import orjson

from server.access.actor import NO_CREDENTIAL, Actor, ActorKind, Credential
from server.access.scopes import Scopes
from server.access.services import Services
from server.records.document import Json
from server.storage.sql import load

QUERIES = load(__package__)
_TEXTS = ("practitioner_id", "organization_id", "client_id", "context_patient", "name", "client_name")


def facts_of(actor: Actor) -> Json:
    """The caller as JSON; nothing in it is a secret, but it names people: seal it."""
    return {
        "kind": str(actor.kind),
        "account": str(actor.account_id) if actor.account_id else None,
        "scopes": actor.scopes.text if actor.scopes is not None else None,
        "session": str(actor.credential.session_id) if actor.credential.session_id else None,
        "grant": str(actor.credential.grant_id) if actor.credential.grant_id else None,
        **{name: getattr(actor, name) for name in _TEXTS},
    }


async def revived(services: Services, facts: Json) -> Actor | None:
    """The caller as of now; None when it may do nothing any more."""
    if facts["kind"] == ActorKind.CLIENT:
        return await _client(services, facts)
    credential = Credential(session_id=_uuid(facts["session"]), grant_id=_uuid(facts["grant"]))
    account = _uuid(facts["account"])
    if account is None or not await services.gate.lives(credential):
        return None
    if await services.db.fetch_val(QUERIES["standing_account"], {"account": account}) is None:
        return None
    return Actor(
        kind=ActorKind(facts["kind"]),
        account_id=account,
        scopes=None if facts["scopes"] is None else Scopes.parse(facts["scopes"]),
        credential=credential,
        **{name: facts[name] for name in _TEXTS},
    )


async def _client(services: Services, facts: Json) -> Actor | None:
    row = await services.db.fetch_one(QUERIES["standing_client"], {"client": facts["client_id"]})
    if row is None or row["organization_id"] != facts["organization_id"]:
        return None
    scopes = Scopes.parse(facts["scopes"]).within(Scopes.parse(row["scope"]))
    return Actor(
        kind=ActorKind.CLIENT,
        organization_id=row["organization_id"],
        client_id=facts["client_id"],
        scopes=scopes,
        trusted=row["trusted"],
        credential=NO_CREDENTIAL,
        name=facts["name"],
        client_name=row["name"],
    )


def seal(services: Services, value: Json, context: bytes) -> bytes:
    """JSON under the server's own key."""
    return services.keyring.seal(None, orjson.dumps(value), context)


def unseal(services: Services, sealed: bytes, context: bytes) -> Json:
    """What `seal` sealed."""
    found: Json = orjson.loads(services.keyring.open(None, sealed, context))
    return found


def _uuid(text: str | None) -> UUID | None:
    return UUID(text) if text else None
