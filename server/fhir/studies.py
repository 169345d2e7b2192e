"""ImagingStudy and Endpoint are made from the catalogue: brought up to date before they are shown."""

from __future__ import annotations

from collections.abc import Sequence

from server.imaging import rebuild

from .call import Call

MADE_FROM_IMAGES = frozenset({"ImagingStudy", "Endpoint"})


async def fresh(call: Call, patients: Sequence[str] = ()) -> None:
    """Rebuild what a store left stale: of these patients, or of all when none is named."""
    await rebuild.refresh(call.services, patients or None)
