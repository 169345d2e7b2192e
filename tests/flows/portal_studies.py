"""Studies for stories on the portal: one small CT with the names a test wants, stored as a patient's app does."""

from __future__ import annotations

from dataclasses import dataclass
from io import BytesIO
from typing import Any

import httpx
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.uid import generate_uid

from tests.factories import People, Person, bearer


@dataclass(frozen=True)
class Kept:
    """A study with one image, and the bytes that were sent."""

    uid: str
    series: str
    instance: str
    content: bytes


async def keep(
    client: httpx.AsyncClient,
    people: People,
    person: Person,
    *,
    root: str = "/dicomweb",
    headers: dict[str, str] | None = None,
    **values: Any,
) -> Kept:
    """Store one image with these attributes in the person's record, by an app of theirs or with these headers."""
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    family, _, given = person.name.rpartition(" ")
    dataset.PatientName, dataset.PatientBirthDate = f"{given}^{family}", "19800229"
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.SOPInstanceUID = generate_uid()
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    packed = BytesIO()
    dataset.save_as(packed)
    headers = (headers or bearer(await people.token(person))) | {"content-type": "application/dicom"}
    stored = await client.post(f"{root}/studies", headers=headers, content=packed.getvalue())
    assert stored.status_code in (200, 202), stored.text
    return Kept(
        str(dataset.StudyInstanceUID),
        str(dataset.SeriesInstanceUID),
        str(dataset.SOPInstanceUID),
        packed.getvalue(),
    )
