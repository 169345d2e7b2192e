"""Consent through FHIR is a share: `sharing` does what it says, in the same transaction (decision 5)."""

from __future__ import annotations

from server.access.reach import Reach
from server.records.document import Json
from server.records.store import Stored
from server.sharing import consent

from .call import Call


async def create(
    call: Call, resource: Json, *, reach: Reach, patient_id: str, id: str | None = None, method: str = "POST"
) -> Stored:
    """Store the Consent and share as it says."""
    return await consent.create(
        call.services,
        resource,
        actor=call.actor,
        reach=reach,
        patient_id=patient_id,
        id=id,
        method=method,
    )


async def update(
    call: Call,
    before: Stored,
    resource: Json,
    *,
    reach: Reach,
    patient_id: str,
    if_match: int | None,
    method: str = "PUT",
) -> Stored:
    """Change or end the share as the new version says."""
    return await consent.update(
        call.services,
        {**resource, "id": before.id},
        actor=call.actor,
        reach=reach,
        patient_id=patient_id,
        if_match=if_match,
        method=method,
    )


async def delete(call: Call, id: str, *, reach: Reach, if_match: int | None) -> Stored:
    """End the share, then its Consent."""
    return await consent.delete(call.services, id, actor=call.actor, reach=reach, if_match=if_match)
