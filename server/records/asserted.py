"""Identifiers that an organization asserts of a patient: the only ones its stores match (decision 6).

They are those of the Patient resource, as that organization's own client wrote it, in the one identifier system that
is the organization's. What a patient typed never gets here.
"""

from __future__ import annotations

from server.core.errors import Conflict
from server.storage.db import Database
from server.storage.sql import load

from .document import Json

QUERIES = load(__package__, "asserted.sql")


async def assert_identifiers(db: Database, patient: Json, *, patient_id: str, organization_id: str) -> None:
    """Make the organization's identifiers of this patient what the resource says, in the caller's transaction.

    Raises Conflict when one of them is another patient's.
    """
    system = await db.fetch_val(QUERIES["identifier_system"], {"organization": organization_id})
    values = sorted(
        {
            each["value"]
            for each in patient.get("identifier", [])
            if each.get("system") == system and isinstance(each.get("value"), str)
        }
    )
    named = {"organization": organization_id, "patient": patient_id}
    for value in values:
        owner = await db.fetch_val(QUERIES["assert_identifier"], {**named, "value": value})
        if owner != patient_id:
            raise Conflict("Another patient has this identifier already.", expression="Patient.identifier")
    await db.execute(QUERIES["take_back_others"], {**named, "values": values})
