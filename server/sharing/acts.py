"""What every act on a share ends with, inside its transaction: the Consent, the event, the mail.

The order is always the same (share rows from parent to child, Consents, audit chain, jobs), so that two acts wait for
each other and do not deadlock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.access.action import Right
from server.access.actor import Actor
from server.access.reach import alive
from server.access.services import Services
from server.accounts import attempts
from server.accounts.people import fold_email
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import Conflict
from server.core.ids import digest
from server.core.texts import N_
from server.records import document, store
from server.storage.db import Record
from server.storage.sql import load
from server.storage.where import Where, all_of

from . import notify
from .consent_json import consent_of
from .model import Share, share_of, under

QUERIES = load(__package__)
INVITATIONS = attempts.Limit("invitations", free=50, longest=60 * 60)
TOUCHES_CHILDREN = (Event.SHARE_ENDED, Event.SHARE_CHANGED)


async def record(
    services: Services,
    row: Record,
    event: Event,
    *,
    who: Who | None,
    author: str,
    detail: Mapping[str, Any] | None = None,
) -> Share:
    """Write the Consent of the share as `row` has it now, and what follows."""
    share = share_of(row)
    await write_consent(services, share, author=author)
    await settle(services, share, event, who=who, author=author, detail=detail)
    return share


async def settle(
    services: Services,
    share: Share,
    event: Event,
    *,
    who: Who | None,
    author: str,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """The event, and the shares that were passed on from this one: they end or shrink with it."""
    fallen = await _bring_under(services, share, author=author) if event in TOUCHES_CHILDREN else []
    await _note(services, share, event, who=who, detail=detail)
    for child, what in fallen:
        await _note(services, child, what, who=who, detail={"with_parent": share.id})
        if what is not Event.SHARE_CHANGED:
            await notify.over(services, child)


async def _bring_under(services: Services, parent: Share, *, author: str) -> list[tuple[Share, Event]]:
    """From the top down, each row locked before its own children are looked for: none slips through."""
    values = {"patient": parent.patient_id, "parent": parent.id}
    fallen: list[tuple[Share, Event]] = []
    for row in await services.db.fetch_all(QUERIES["lock_children"], values):
        child, event = under(share_of(row), parent, clock.now())
        if event is None:
            continue
        await services.db.fetch_one(QUERIES["save_share"], values_of(child))
        await write_consent(services, child, author=author)
        fallen += [(child, event), *await _bring_under(services, child, author=author)]
    return fallen


async def write_consent(services: Services, share: Share, *, author: str) -> None:
    """The Consent resource of the share, as a new version where it changed."""
    key = {"patient": share.patient_id, "id": share.id}
    before = await services.db.fetch_val(QUERIES["consent_of_share"], key)
    study_ids = await study_ids_of(services, share)
    body = consent_of(share, study_ids, document.load_exact(before) if before else None)
    await store.put(services.db, body, patient_id=share.patient_id, author=author)


async def _note(
    services: Services,
    share: Share,
    event: Event,
    *,
    who: Who | None,
    detail: Mapping[str, Any] | None = None,
) -> None:
    """The event in the patient's chain; names are sealed there with the patient's key."""
    facts = {"share": share.id, "with": share.name, "rights": sorted(share.rights), **(detail or {})}
    await services.audit.record(event, who=who, patient_id=share.patient_id, detail=facts)


def values_of(it: Share, secret: str | None = None) -> dict[str, Any]:
    """A share as `add_share` and `save_share` take it."""
    return {
        "patient": it.patient_id,
        "id": it.id,
        "practitioner": it.practitioner_id,
        "organization": it.organization_id,
        "name": it.name,
        "email": it.email,
        "folded": fold_email(it.email),
        "state": it.stored_state,
        "rights": [str(right) for right in Right if right in it.rights],
        "studies": it.studies,
        "message": it.message,
        "secret_hash": digest(secret) if secret else None,
        "now": it.created_at,
        "waits_until": it.waits_until,
        "accepted_at": it.accepted_at,
        "until": it.until,
        "ended_at": it.ended_at,
        "parent": it.parent_id,
    }


async def study_ids_of(services: Services, share: Share) -> Mapping[str, str]:
    """FHIR ids of the chosen studies."""
    if not share.studies:
        return {}
    values = {"patient": share.patient_id, "uids": list(share.studies)}
    rows = await services.db.fetch_all(QUERIES["study_ids"], values)
    return {row["study_uid"]: row["fhir_id"] for row in rows}


async def require_patience(services: Services, actor: Actor) -> None:
    """Raises TooManyRequests when this account sends invitations as nobody does who means them."""
    await attempts.begin(services.db, attempts.subject(INVITATIONS, str(actor.account_id or actor.client_id)))


async def require_unrestricted(services: Services, patient_id: str) -> None:
    """Raises Conflict while the record is restricted: nothing is shared anew (product row 55)."""
    if await services.db.fetch_val(QUERIES["is_restricted"], {"patient": patient_id}):
        raise Conflict(N_("This record is restricted: end the restriction before sharing it."))


def by_secret(secret: str) -> Where:
    """The share that this link leads to."""
    return Where("share.secret_hash = :secret_hash", {"secret_hash": digest(secret)})


def by_id(share_id: str) -> Where:
    """The share of this id; the statement must say besides who may touch it."""
    return Where("share.id = :share_id", {"share_id": share_id})


def living(actor: Actor) -> Where:
    """That the session or grant of the actor lives, for statements without a Reach."""
    return all_of(*alive(actor.credential, clock.now()))
