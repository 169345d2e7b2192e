"""Every file of pydicom and of pydicom-data: stored, searched, and back byte for byte, or refused with a reason."""

from __future__ import annotations

import hashlib
import importlib.util
from collections.abc import Iterator
from pathlib import Path

import httpx
import pydicom
import pytest

from tests.conformance.dicomweb.samples import store

AS_STORED = {"Accept": "application/dicom; transfer-syntax=*"}
_NOT_DICOM = {".py", ".md", ".txt", ".json", ".rst", ".xml", ".pyc", ".npy", ".npz", ".raw", ".jpg", ".icc"}
_BATCH = 20


def real_files() -> Iterator[Path]:
    """The files that are, or look like, DICOM."""
    folders = [Path(str(pydicom.__file__)).parent / "data"]
    extra = importlib.util.find_spec("data_store") or importlib.util.find_spec("pydicom_data")
    if extra is not None and extra.origin:
        folders.append(Path(extra.origin).parent)
    for folder in folders:
        for path in sorted(folder.rglob("*")):
            if path.is_file() and path.suffix.lower() not in _NOT_DICOM and path.stat().st_size > 200:
                yield path


FILES = list(real_files())
BATCHES = [FILES[start : start + _BATCH] for start in range(0, len(FILES), _BATCH)]


def test_there_are_files():
    assert len(FILES) > 100


@pytest.mark.parametrize("batch", BATCHES, ids=lambda batch: batch[0].name)
async def test_stored_and_back(web: httpx.AsyncClient, batch: list[Path]):
    """10.5 and 10.4: whatever is answered as stored comes back with the same SHA-256."""
    sent = [path.read_bytes() for path in batch]
    answer = await store(web, *sent)
    assert answer.status_code in (200, 202, 409), answer.text
    report = answer.json()
    stored = [item["00081190"]["Value"][0] for item in report.get("00081199", {}).get("Value", [])]
    refused = report.get("00081198", {}).get("Value", []) + report.get("0008119A", {}).get("Value", [])
    assert len(stored) + len(refused) == len(sent)
    assert all(item["00081197"]["Value"][0] and item["00000902"]["Value"][0] for item in refused)
    digests = {hashlib.sha256(data).hexdigest() for data in sent}
    for url in stored:
        back = await web.get(url, headers=AS_STORED)
        assert back.status_code == 200
        assert hashlib.sha256(back.content).hexdigest() in digests
        metadata = await web.get(f"{url}/metadata")
        assert metadata.status_code == 200
        (model,) = metadata.json()
        found = await web.get(f"/dicomweb/instances?SOPInstanceUID={model['00080018']['Value'][0]}")
        assert len(found.json()) == 1
