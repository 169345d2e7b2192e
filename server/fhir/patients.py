"""Patients made through FHIR: an organization's client makes an unclaimed profile of its patient (decision 6)."""

from __future__ import annotations

from server.access.action import Verb
from server.core.errors import NotAllowed
from server.records import asserted as asserting
from server.records import people, store, validate
from server.records.document import Json
from server.records.store import Stored

from .call import Call
from .writing import READ_ONLY


async def create(call: Call, resource: Json, id: str | None = None) -> Stored:
    """An unclaimed profile with these demographics. Raises NotAllowed for people and their apps."""
    if not call.is_system or not call.actor.organization_id:
        sentence = "A profile is made by signing up, or by an organization for its patient."
        raise NotAllowed(sentence, allow=READ_ONLY)
    await validate.check(resource)
    patient_id = await people.register_patient(
        call.services,
        who=call.actor.who(),
        organization_id=call.actor.organization_id,
        as_sent=resource,
        patient_id=id,
    )
    await asserted(call, resource, patient_id)
    reach = await call.reach("Patient", Verb.CREATE)
    return await store.read(call.services.db, "Patient", patient_id, reach=reach)


async def asserted(call: Call, resource: Json, patient_id: str) -> None:
    """What an organization's own client says of its patient's identifiers counts for its stores."""
    if call.is_system and call.actor.organization_id:
        await asserting.assert_identifiers(
            call.services.db, resource, patient_id=patient_id, organization_id=call.actor.organization_id
        )
