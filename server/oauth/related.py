"""Who acts for a child: the guardian as a FHIR RelatedPerson of the child's record, made when an app is told of them.

SMART App Launch 2.2, "fhirUser": Patient, Practitioner or RelatedPerson.
"""

from __future__ import annotations

from uuid import UUID

from server.access.services import Services
from server.core import clock, ids
from server.records import store
from server.records.people import human_name

from .clients import QUERIES


async def ensure(services: Services, account_id: UUID, patient_id: str, *, name: str) -> None:
    """Make the RelatedPerson of this guardian and child, once; nothing for who holds the record as their own."""
    values = {"patient": patient_id, "account": account_id}
    if not await services.db.fetch_val(QUERIES["held_as_guardian"], values | {"now": clock.now()}):
        return
    async with services.db.transaction():
        made = await services.db.fetch_val(QUERIES["add_related_person"], values | {"id": ids.new_id()})
        if made is None:
            return
        guardian = {"system": "http://terminology.hl7.org/CodeSystem/v3-RoleCode", "code": "GUARD"}
        body = {
            "resourceType": "RelatedPerson",
            "id": made,
            "active": True,
            "patient": {"reference": f"Patient/{patient_id}"},
            "relationship": [{"coding": [guardian]}],
            "name": [human_name(name)],
        }
        await store.put(services.db, body, patient_id=patient_id, author="server")
