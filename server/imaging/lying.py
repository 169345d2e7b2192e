"""Where the images of a blending lie, read from their headers a few at a time.

A header may be 32 MB, and a blending is for thousands of images: only what places them is kept of each.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from server.access.services import Services
from server.storage.sql import load

from .blending import NotBlended
from .dicom_json import from_column
from .placing import Lying, lying_of
from .room import room

QUERIES = load(__package__)

MOST_BYTES = 64 * 2**20  # of all the headers together
_PARSED = 4  # bytes held for one of JSON
_BATCH = 100  # headers read together


async def lying_of_these(
    services: Services, patient_id: str, numbers: Mapping[str, Sequence[int]]
) -> dict[str, Lying]:
    """Where frames of these images lie, whose rows the caller was given within its reach.

    Raises NotBlended when their headers are too large to be read for one picture.
    """
    uids = list(numbers)
    values = {"patient_id": patient_id, "uids": uids}
    size = int(await services.db.fetch_val(QUERIES["header_bytes_of_these"], values))
    if size > MOST_BYTES:
        raise NotBlended("The headers of the images that this blending state is for are too large.")
    found: dict[str, Lying] = {}
    async with room().taken(_PARSED * size):
        for at in range(0, len(uids), _BATCH):
            some = {**values, "uids": uids[at : at + _BATCH]}
            rows = await services.db.fetch_all(QUERIES["metadata_of_these"], some)
            headers = {row["sop_uid"]: from_column(row["metadata"]) for row in rows}
            found |= await asyncio.to_thread(_lying, headers, numbers)
    return found


def _lying(headers: Mapping[str, bytes], numbers: Mapping[str, Sequence[int]]) -> dict[str, Lying]:
    return {uid: lying_of(metadata, numbers[uid]) for uid, metadata in headers.items()}
