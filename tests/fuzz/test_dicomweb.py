"""Fuzz targets of DICOMweb: multipart bodies, DICOM headers, Accept, searches, metadata that come apart.

Whatever comes in: an answer, or one of our own errors with a status below 500; never another exception, and never
long. A second or two each in CI; `pytest --long tests/fuzz` for ten minutes each (FUZZ_SEED=n begins elsewhere).
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from pydicom.data import get_testdata_file

from server.core.errors import ServerError
from server.core.media import best
from server.dicomweb import qido_sql
from server.dicomweb.dicom_xml import from_xml, to_xml
from server.dicomweb.multipart import read_parts
from server.dicomweb.qido_params import parse
from server.dicomweb.representations import refused, wishes
from server.dicomweb.stow_metadata import compose
from server.imaging.columns import Level
from server.imaging.entry import entry_of
from server.imaging.header import HeaderReader
from server.storage.db import Database
from server.storage.sql import Statement

from .mutate import SEED, mutated

MOST_SECONDS = 5.0  # of one case
HANGS = 60.0  # seconds: nothing comes back
SHORT = 1000  # cases
BUDGET = pytest.mark.parametrize("budget", [SHORT, pytest.param(600.0, marks=pytest.mark.long)])

FILES = (
    "CT_small.dcm", "MR_small_bigendian.dcm", "image_dfl.dcm", "rtplan.dcm", "reportsi.dcm", "nested_priv_SQ.dcm",
    "ExplVR_LitEndNoMeta.dcm", "SC_rgb_jpeg.dcm", "chrH31.dcm", "test-SR.dcm", "UN_sequence.dcm",
)  # fmt: skip


def attempt(case: bytes, act: Callable[[], object]) -> None:
    """Run one case; what it may not do is told with the case itself."""
    began = time.thread_time()  # its own, however busy the machine is
    try:
        act()
    except ServerError as error:
        if error.status >= 500:
            raise AssertionError(f"seed {SEED}: {error} on {case[:2000]!r}") from error
    except Exception as error:
        raise AssertionError(f"seed {SEED}: {type(error).__name__} {error} on {case[:2000]!r}") from error
    assert time.thread_time() - began < MOST_SECONDS, case[:2000]


def sample(name: str) -> bytes:
    path = get_testdata_file(name, download=False)
    return Path(str(path)).read_bytes()[:20_000] if path else b"DICM"


@BUDGET
def test_headers(budget: float) -> None:
    """PS3.5, 7 and 8: lengths that lie, sequences that never end, representations that are none."""
    chance = random.Random(SEED)
    for case in mutated([sample(name) for name in FILES], budget):
        cut = chance.randrange(1, len(case) + 2)

        def act(case: bytes = case, cut: int = cut) -> None:
            reader = HeaderReader()
            reader.feed(case[:cut])
            reader.feed(case[cut:])
            entry_of(reader.finish())

        attempt(case, act)


BODIES = (
    b"--b\r\nContent-Type: application/dicom\r\n\r\nxyz\r\n--b\r\n\r\n\r\n--b--\r\n",
    b"preamble\r\n--b\r\nContent-Type: a/b; c=\"d\"\r\nContent-Location: u\r\n\r\n" + bytes(range(256)) + b"\r\n--b--",
    b"--b\r\nA: b\r\n\r\n--b\r\n--bb\r\n\r\n--b--epilogue",
)  # fmt: skip


@BUDGET
def test_multipart(budget: float) -> None:
    """RFC 2046, 5.1: boundaries that are cut, doubled and lost, in pieces of any length."""
    chance = random.Random(SEED)

    async def read(case: bytes, size: int) -> None:
        async def body() -> AsyncIterator[bytes]:
            for at in range(0, len(case), size):
                yield case[at : at + size]

        async for part in read_parts(body(), "multipart/related; boundary=b"):
            _ = part.media_type
            if chance.randrange(4):
                async for _ in part:
                    pass

    for case in mutated(BODIES, budget):
        size = chance.choice((1, 3, 64, 100_000))
        attempt(case, lambda case=case, size=size: asyncio.run(read(case, size)))  # type: ignore[misc]


ACCEPTS = (
    b'multipart/related; type="application/dicom"; transfer-syntax=*',
    b"application/dicom+json;q=0.9, */*;q=0.1, text/csv;q=0",
    b'multipart/related;type=image/jpeg;transfer-syntax=1.2.840.10008.1.2.4.50, application/dicom;q="0.5"',
)


@BUDGET
def test_accept(budget: float) -> None:
    """RFC 9110, 12.5.1; PS3.18, 8.7."""
    for case in mutated(ACCEPTS, budget):
        text = case.decode("latin-1")

        def act(text: str = text) -> None:
            wishes(text)
            refused(text)
            best(text, ("application/dicom+json", 'multipart/related; type="application/dicom+xml"'))

        attempt(case, act)


QUERIES = (
    b"PatientName=M*&StudyDate=20240101-20241231&StudyTime=10-11&fuzzymatching=true&limit=5&offset=1",
    b"RequestAttributesSequence.ScheduledProcedureStepID=a?&includefield=all,00100020&ModalitiesInStudy=CT\\MR",
    b"00080050=%22%22&emptyvaluematching=true&multiplevaluematching=true&PatientSize=1.8&StudyInstanceUID=1.2,1.3",
    b"FrameAcquisitionDateTime=20240101101500.5%2B0100-&OperatorsName=x=y=z&NumberOfFrames=1,2&BodyPartExamined=*",
)
TABLES = (
    "SELECT 1 FROM study JOIN series ON series.patient_id = study.patient_id"
    " JOIN instance ON instance.patient_id = study.patient_id WHERE {match} LIMIT 1"
)


@BUDGET
async def test_searches(db: Database, budget: float) -> None:
    """PS3.18, 8.3.4: what parses is a statement that PostgreSQL takes."""
    statement, chance = Statement("all", TABLES), random.Random(SEED)
    for case in mutated(QUERIES, budget):
        pairs = parse_qsl(case.decode("utf-8", "replace"), keep_blank_values=True)
        try:
            query = parse(pairs)
            match = qido_sql.where(query, chance.choice(list(Level)))
            await asyncio.wait_for(db.fetch_all(statement, {}, match=match), HANGS)
        except ServerError as error:
            if error.status >= 500:
                raise AssertionError(f"seed {SEED}: {error} on {case!r}") from error
        except Exception as error:
            raise AssertionError(f"seed {SEED}: {type(error).__name__} {error} on {case!r}") from error


MODELS = (
    b'{"00080016":{"vr":"UI","Value":["1.2"]},"00080018":{"vr":"UI","Value":["1.3"]},"0020000D":{"vr":"UI","Value":["1"]},'
    b'"00100010":{"vr":"PN","Value":[{"Alphabetic":"A^B"}]},"7FE00010":{"vr":"OW","BulkDataURI":"u"}}',
    b'{"0040A730":{"vr":"SQ","Value":[{"0040A160":{"vr":"UT","Value":["x"]}},{}]},"00281050":{"vr":"DS","Value":[1.5]}}',
)


@BUDGET
def test_metadata(budget: float) -> None:
    """PS3.18, F and PS3.19, A: JSON and XML that are to become an instance."""
    import orjson

    for case in mutated(MODELS, type(budget)(budget / 2)):

        def as_json(case: bytes = case) -> None:
            try:
                model = orjson.loads(case)
            except ValueError:
                return
            if isinstance(model, dict):
                compose(model, {})

        attempt(case, as_json)
    documents = [to_xml(orjson.loads(model)) for model in MODELS]
    for case in mutated(documents, type(budget)(budget / 2)):

        def as_xml(case: bytes = case) -> None:
            try:
                from_xml(case)
            except (ValueError, RecursionError):  # what `stow_metadata` turns into 400
                return

        attempt(case, as_xml)
