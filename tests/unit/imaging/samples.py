"""Real files that come with pydicom and pydicom-data, and small objects made here."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any

import data_store
import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

PYDICOM = Path(pydicom.__file__).parent / "data"
MORE = Path(data_store.__file__).parent / "data"
_NOT_OBJECTS = {".py", ".pyc", ".json", ".txt", ".icc", ".md", ".gz", ".dump"}


def sample(name: str) -> bytes:
    """One of the files by its name."""
    return next(path for path in all_samples() if path.name == name).read_bytes()


def all_samples() -> list[Path]:
    """Every file of both packages that is, or says it is, a DICOM object."""
    found = [path for root in (PYDICOM, MORE) for path in root.rglob("*") if path.is_file()]
    return sorted(path for path in found if path.suffix not in _NOT_OBJECTS and path.name != "README")


def made(**attributes: Any) -> bytes:
    """A small CT image as bytes; attributes by keyword, None leaves one out."""
    return written(dataset(**attributes))


def dataset(**attributes: Any) -> Dataset:
    """The data set of a small CT image."""
    data = Dataset()
    data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.2"
    data.SOPInstanceUID = generate_uid()
    data.StudyInstanceUID = "1.2.3.4"
    data.SeriesInstanceUID = "1.2.3.4.5"
    data.PatientName = "Moor^Ada"
    data.PatientID = "A-1"
    data.PatientBirthDate = "19800229"
    data.PatientSex = "F"
    data.StudyDate = "20240131"
    data.StudyTime = "101112"
    data.StudyID = "S1"
    data.AccessionNumber = "ACC1"
    data.Modality = "CT"
    data.SeriesNumber = 1
    data.InstanceNumber = 1
    data.Rows = data.Columns = 8
    data.SamplesPerPixel = 1
    data.PhotometricInterpretation = "MONOCHROME2"
    data.BitsAllocated = data.BitsStored = 16
    data.HighBit = 15
    data.PixelRepresentation = 0
    data.PixelData = np.arange(64, dtype="<u2").tobytes()
    for keyword, value in attributes.items():
        if value is None:
            delattr(data, keyword)
        else:
            setattr(data, keyword, value)
    return data


def written(data: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a DICOM file."""
    data.file_meta = FileMetaDataset()
    data.file_meta.TransferSyntaxUID = syntax
    data.file_meta.MediaStorageSOPClassUID = data.get("SOPClassUID", "1.2")
    data.file_meta.MediaStorageSOPInstanceUID = data.get("SOPInstanceUID", "1.2")
    out = io.BytesIO()
    pydicom.dcmwrite(out, data, enforce_file_format=True)
    return out.getvalue()


class APart:
    """A part of a store as the surface hands it on."""

    headers = {"content-type": "application/dicom"}  # noqa: RUF012

    def __init__(self, content: bytes, chunk: int = 65_536) -> None:
        self._content = content
        self._chunk = chunk

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for start in range(0, len(self._content), self._chunk):
            yield self._content[start : start + self._chunk]


async def parts(contents: Iterable[bytes], chunk: int = 65_536) -> AsyncIterator[APart]:
    for content in contents:
        yield APart(content, chunk)
