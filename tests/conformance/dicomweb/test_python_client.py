"""The Python dicomweb-client, unchanged, with its own calls and their defaults."""

from __future__ import annotations

import asyncio
import io
from collections.abc import Callable
from typing import Any

import httpx
import pydicom
import pytest
from dicomweb_client import DICOMwebClient
from pydicom import dcmread

from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, file, instance, multiframe, store
from tests.conftest import RunningServer
from tests.factories import bearer


async def call(method: Callable[..., Any], *args: Any, **named: Any) -> Any:
    """Run a blocking call beside the server, which lives on this event loop."""

    def run() -> Any:
        result = method(*args, **named)
        return list(result) if hasattr(result, "__next__") else result

    return await asyncio.to_thread(run)


async def test_store_instances(dicomweb: DICOMwebClient):
    datasets = [dcmread(io.BytesIO(instance().data)) for _ in range(3)]
    answer = await call(dicomweb.store_instances, datasets)
    assert len(answer.ReferencedSOPSequence) == 3
    assert not hasattr(answer, "FailedSOPSequence")


async def test_store_a_large_body_in_chunks(dicomweb: DICOMwebClient):
    dicomweb.set_chunk_size(10_000)
    answer = await call(dicomweb.store_instances, [dcmread(io.BytesIO(multiframe(500, 32).data))])
    assert len(answer.ReferencedSOPSequence) == 1


async def test_search(dicomweb: DICOMwebClient, stored: Sample):
    (study,) = await call(
        dicomweb.search_for_studies, search_filters={"PatientID": "P-1"}, fields=["StudyTime"]
    )
    assert study["0020000D"]["Value"] == [stored.study]
    (series,) = await call(dicomweb.search_for_series, stored.study)
    assert series["0020000E"]["Value"] == [stored.series]
    (found,) = await call(dicomweb.search_for_instances, stored.study, stored.series, limit=5, offset=0)
    assert found["00080018"]["Value"] == [stored.sop]
    assert len(await call(dicomweb.search_for_series)) == 1
    assert len(await call(dicomweb.search_for_instances, fuzzymatching=True)) == 1


async def test_search_for_what_remains(web: httpx.AsyncClient, dicomweb: DICOMwebClient):
    await store(web, *(instance() for _ in range(5)))
    assert len(await call(dicomweb.search_for_studies, limit=2, get_remaining=True)) == 5


@pytest.mark.parametrize(
    "media_types", [None, (("application/dicom", "*"),), (("application/dicom", "1.2.840.10008.1.2.1"),)]
)
async def test_retrieve(dicomweb: DICOMwebClient, stored: Sample, media_types: Any):
    (one,) = await call(dicomweb.retrieve_study, stored.study, media_types=media_types)
    (two,) = await call(dicomweb.retrieve_series, stored.study, stored.series, media_types=media_types)
    three = await call(
        dicomweb.retrieve_instance, stored.study, stored.series, stored.sop, media_types=media_types
    )
    assert {each.SOPInstanceUID for each in (one, two, three)} == {stored.sop}
    (four,) = await call(dicomweb.iter_study, stored.study, media_types=media_types)
    assert four.PixelData == dcmread(io.BytesIO(stored.data)).PixelData


async def test_retrieve_metadata(dicomweb: DICOMwebClient, stored: Sample):
    study = await call(dicomweb.retrieve_study_metadata, stored.study)
    series = await call(dicomweb.retrieve_series_metadata, stored.study, stored.series)
    one = await call(dicomweb.retrieve_instance_metadata, stored.study, stored.series, stored.sop)
    assert study == series == [one]
    dataset = pydicom.Dataset.from_json(one, bulk_data_uri_handler=lambda tag, vr, uri: b"")
    assert dataset.StudyDescription == "CT Chest"


@pytest.mark.parametrize(
    "media_types",
    [None, ("application/octet-stream",), (("application/octet-stream", "1.2.840.10008.1.2.1"),)],
)
async def test_retrieve_frames(web: httpx.AsyncClient, dicomweb: DICOMwebClient, media_types: Any):
    sample = multiframe(5)
    await store(web, sample)
    of = (sample.study, sample.series, sample.sop)
    frames = await call(dicomweb.retrieve_instance_frames, *of, [1, 4], media_types=media_types)
    assert [frame[:1] for frame in frames] == [b"\1", b"\4"]
    assert len(await call(dicomweb.iter_instance_frames, *of, [2], media_types=media_types)) == 1


@pytest.mark.parametrize(
    "media_types",
    [
        (("image/jp2", "1.2.840.10008.1.2.4.90"),),
        ("image/*",),
        (("image/jp2", "*"), ("application/octet-stream", "*")),
        None,
    ],
)
async def test_retrieve_compressed_frames(web: httpx.AsyncClient, dicomweb: DICOMwebClient, media_types: Any):
    data = file("emri_small_jpeg_2k_lossless.dcm")
    made = dcmread(io.BytesIO(data))
    await store(web, data)
    of = (made.StudyInstanceUID, made.SeriesInstanceUID, made.SOPInstanceUID)
    frames = await call(dicomweb.retrieve_instance_frames, *of, [1, 10], media_types=media_types)
    assert len(frames) == 2
    if media_types is None:
        assert {len(frame) for frame in frames} == {64 * 64 * 2}


async def test_rendered(dicomweb: DICOMwebClient, stored: Sample):
    of = (stored.study, stored.series, stored.sop)
    png = await call(dicomweb.retrieve_instance_rendered, *of, media_types=("image/png",))
    assert png.startswith(b"\x89PNG")
    jpeg = await call(dicomweb.retrieve_instance_frames_rendered, *of, [1], media_types=("image/jpeg",))
    assert jpeg.startswith(b"\xff\xd8")
    series = await call(
        dicomweb.retrieve_series_rendered, stored.study, stored.series, media_types=("image/jpeg",)
    )
    assert series.startswith(b"\xff\xd8")
    default = await call(dicomweb.retrieve_instance_rendered, *of)
    assert default


async def test_bulkdata(dicomweb: DICOMwebClient, stored: Sample):
    metadata = await call(dicomweb.retrieve_instance_metadata, stored.study, stored.series, stored.sop)
    uri = metadata["7FE00010"]["BulkDataURI"]
    expected = dcmread(io.BytesIO(stored.data)).PixelData
    assert await call(dicomweb.retrieve_bulkdata, uri) == [expected]
    assert await call(dicomweb.iter_bulkdata, uri, media_types=("application/octet-stream",)) == [expected]
    part = await call(dicomweb.retrieve_bulkdata, uri, byte_range=(0, 9))
    assert part[0][:10] == expected[:10]


async def test_delete(dicomweb: DICOMwebClient, stored: Sample):
    await call(dicomweb.delete_instance, stored.study, stored.series, stored.sop)
    assert await call(dicomweb.search_for_instances, stored.study) == []


async def test_delete_series_and_study(web: httpx.AsyncClient, dicomweb: DICOMwebClient):
    one = instance()
    await store(web, one, instance(study=one.study))
    await call(dicomweb.delete_series, one.study, one.series)
    assert len(await call(dicomweb.search_for_series, one.study)) == 1
    await call(dicomweb.delete_study, one.study)
    assert await call(dicomweb.search_for_studies) == []


async def test_at_the_root_of_the_patient(server: RunningServer, owner: Owner, stored: Sample):
    client = DICOMwebClient(f"{server.url}{owner.root}", headers=bearer(owner.token))
    assert len(await call(client.search_for_studies)) == 1
    assert len(await call(client.retrieve_study_metadata, stored.study)) == 1
