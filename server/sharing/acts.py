"""What every act on a share ends with, inside its transaction: the Consent, the event, the mail.

The order is always the same (share row, Consent, audit chain, job), so that two acts wait for each other and do not
deadlock.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from server.access.actor import Actor
from server.access.reach import alive
from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.ids import digest
from server.records import document, store
from server.storage.db import Record
from server.storage.sql import load
from server.storage.where import Where, all_of

from .consent_json import consent_of
from .model import Share, share_of

QUERIES = load(__package__)


async def record(
    services: Services,
    row: Record,
    event: Event,
    *,
    who: Who | None,
    author: str,
    detail: Mapping[str, Any] | None = None,
) -> Share:
    """Write the Consent of the share as `row` has it now, and the event."""
    share = share_of(row)
    await write_consent(services, share, author=author)
    await note(services, share, event, who=who, detail=detail)
    return share


async def write_consent(services: Services, share: Share, *, author: str) -> None:
    """The Consent resource of the share, as a new version where it changed."""
    key = {"patient": share.patient_id, "id": share.id}
    before = await services.db.fetch_val(QUERIES["consent_of_share"], key)
    study_ids = await study_ids_of(services, share)
    body = consent_of(share, study_ids, document.load_exact(before) if before else None)
    await store.put(services.db, body, patient_id=share.patient_id, author=author)


async def note(
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


async def study_ids_of(services: Services, share: Share) -> Mapping[str, str]:
    """FHIR ids of the chosen studies."""
    if not share.studies:
        return {}
    values = {"patient": share.patient_id, "uids": list(share.studies)}
    rows = await services.db.fetch_all(QUERIES["study_ids"], values)
    return {row["study_uid"]: row["fhir_id"] for row in rows}


def by_secret(secret: str) -> Where:
    """The share that this link leads to."""
    return Where("share.secret_hash = :secret_hash", {"secret_hash": digest(secret)})


def by_id(share_id: str) -> Where:
    """The share of this id; the statement must say besides who may touch it."""
    return Where("share.id = :share_id", {"share_id": share_id})


def living(actor: Actor) -> Where:
    """That the session or grant of the actor lives, for statements without a Reach."""
    return all_of(*alive(actor.credential, clock.now()))
