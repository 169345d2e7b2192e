"""Small DICOM objects to store, and the bodies that carry them."""

from __future__ import annotations

import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from pydicom import Dataset
from pydicom.data import get_testdata_file
from pydicom.dataset import FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, generate_uid

CT = "1.2.840.10008.5.1.4.1.1.2"
BOUNDARY = "samples"
MULTIPART = f'multipart/related; type="application/dicom"; boundary={BOUNDARY}'


@dataclass(frozen=True)
class Sample:
    """An instance: its bytes and the UIDs in it."""

    data: bytes
    study: str
    series: str
    sop: str

    @property
    def path(self) -> str:
        return f"/studies/{self.study}/series/{self.series}/instances/{self.sop}"


def instance(study: str | None = None, series: str | None = None, **attributes: Any) -> Sample:
    """A CT image of 16 x 16 pixels, Explicit VR Little Endian, with these attributes."""
    made = Dataset()
    made.SOPClassUID = CT
    made.SOPInstanceUID = generate_uid()
    made.StudyInstanceUID = study or generate_uid()
    made.SeriesInstanceUID = series or generate_uid()
    made.PatientName = "Moor^Ada"
    made.PatientID = "P-1"
    made.PatientBirthDate = "19800229"
    made.PatientSex = "F"
    made.StudyDate, made.StudyTime = "20240131", "101500"
    made.StudyID, made.AccessionNumber = "S1", "A1"
    made.StudyDescription, made.SeriesDescription = "CT Chest", "Lung"
    made.ReferringPhysicianName = "Reader^Bo"
    made.Modality, made.SeriesNumber, made.InstanceNumber = "CT", 1, 1
    pixels(made, np.arange(256, dtype=np.int16).reshape(16, 16))
    for name, value in attributes.items():
        setattr(made, name, value)
    return Sample(written(made), made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)


def pixels(made: Dataset, values: np.ndarray) -> None:
    """Give the data set these pixels: rows and columns, or frames, rows and columns."""
    made.SamplesPerPixel, made.PhotometricInterpretation = 1, "MONOCHROME2"
    made.Rows, made.Columns = values.shape[-2:]
    made.BitsAllocated = made.BitsStored = values.dtype.itemsize * 8
    made.HighBit, made.PixelRepresentation = made.BitsStored - 1, int(values.dtype.kind == "i")
    if values.ndim == 3:
        made.NumberOfFrames = values.shape[0]
    made.PixelData = values.tobytes()


def multiframe(frames: int = 5, side: int = 16, **attributes: Any) -> Sample:
    """A multi-frame image; frame n is filled with n."""
    values = np.repeat(np.arange(1, frames + 1, dtype=np.uint8), side * side).reshape(frames, side, side)
    holder = Dataset()
    pixels(holder, values)
    given = {element.keyword: element.value for element in holder}
    return instance(SOPClassUID="1.2.840.10008.5.1.4.1.1.7.2", **given, **attributes)


def written(made: Dataset, syntax: str = ExplicitVRLittleEndian) -> bytes:
    """The data set as a file."""
    made.file_meta = FileMetaDataset()
    made.file_meta.TransferSyntaxUID = syntax
    made.file_meta.MediaStorageSOPClassUID = made.SOPClassUID
    made.file_meta.MediaStorageSOPInstanceUID = made.SOPInstanceUID
    out = io.BytesIO()
    made.save_as(out, enforce_file_format=True)
    return out.getvalue()


def file(name: str) -> bytes:
    """One of pydicom's test files."""
    return Path(str(get_testdata_file(name))).read_bytes()


def body(parts: Iterable[bytes], content_type: str = "application/dicom") -> bytes:
    """The parts as multipart/related."""
    pieces = [
        f"--{BOUNDARY}\r\nContent-Type: {content_type}\r\n\r\n".encode() + part + b"\r\n" for part in parts
    ]
    return b"".join(pieces) + f"--{BOUNDARY}--\r\n".encode()


async def store(
    client: httpx.AsyncClient,
    *samples: Sample | bytes,
    root: str = "/dicomweb",
    study: str = "",
    **headers: str,
) -> httpx.Response:
    """POST the samples."""
    data = body(each.data if isinstance(each, Sample) else each for each in samples)
    path = f"{root}/studies" + (f"/{study}" if study else "")
    return await client.post(path, content=data, headers={"Content-Type": MULTIPART, **headers})


def parts(response: httpx.Response) -> list[tuple[dict[str, str], bytes]]:
    """The parts of a multipart/related answer: headers and content."""
    content_type = response.headers["content-type"]
    assert content_type.startswith("multipart/related"), content_type
    boundary = content_type.split("boundary=")[1].split(";")[0].strip('"')
    found = []
    for piece in response.content.split(f"--{boundary}".encode())[1:-1]:
        head, _, content = piece.partition(b"\r\n\r\n")
        lines = [line.split(": ", 1) for line in head.decode().strip().split("\r\n") if line]
        found.append(({name.lower(): value for name, value in lines}, content[:-2]))
    return found
