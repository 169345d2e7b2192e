"""ImagingStudy and Endpoint are made from the catalogue: brought up to date before they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from server.access.reach import Reach
from server.imaging import rebuild

from .call import Call

MADE_FROM_IMAGES = frozenset({"ImagingStudy", "Endpoint"})


async def fresh(call: Call, reach: Reach, patients: Sequence[str] = ()) -> None:
    """Rebuild what a store left stale within this reach: of these patients, or of all when none is named."""
    await rebuild.refresh(call.services, reach=reach, patients=patients)
