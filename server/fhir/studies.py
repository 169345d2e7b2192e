"""ImagingStudy and Endpoint are made from the catalogue: brought up to date before they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from server.access.reach import Reach
from server.imaging import derived, rebuild
from server.records.document import Json
from server.storage.where import Where

from .call import Call

MADE_FROM_IMAGES = frozenset(
    {"ImagingStudy", "Endpoint", "DiagnosticReport", "Device", "DocumentReference", "Provenance"}
)
# Beside a row of `resource`: no study of its patient waits to be made anew.
UP_TO_DATE = Where(
    "NOT EXISTS (SELECT 1 FROM study AS behind WHERE behind.patient_id = resource.patient_id AND behind.fhir_stale)"
)


def behind(patients: Sequence[str]) -> Where:
    """Whether a study waits to be made anew: of these patients, or of any when none is named."""
    stale = "EXISTS (SELECT 1 FROM study AS behind WHERE behind.fhir_stale"
    if not patients:
        return Where(f"{stale})")
    if len(patients) == 1:
        return Where(f"{stale} AND behind.patient_id = :behind)", {"behind": patients[0]})
    return Where(f"{stale} AND behind.patient_id = ANY (:behind::text[]))", {"behind": list(patients)})


async def fresh(call: Call, reach: Reach, patients: Sequence[str] = ()) -> bool:
    """Rebuild what a store left stale within this reach: of these patients, or of all when none is named.

    Returns whether there was any.
    """
    return await rebuild.refresh(call.services, reach=reach, patients=patients) > 0


async def wrote(call: Call, type: str, resource: Json, patient_id: str) -> None:
    """A resource was written that studies refer to: an order is referred to by those made for it."""
    if type == "ServiceRequest":
        await derived.ordered(call.services, patient_id, resource)
