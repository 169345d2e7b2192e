"""Storing when others store too, when room or the client goes away, and when every value is odd."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset

from server.core.errors import InvalidInput, NotFound, OutOfSpace
from server.imaging import catalogue, store
from server.imaging.header import header_of
from server.imaging.report import FailureReason
from server.storage.sql import Statement
from server.storage.where import TRUE
from server.storage.writer import Pack
from tests.drawn import examples

from .conftest import Holder
from .samples import APart, dataset, made, parts, sample, written

_LEFT = Statement(
    "left", "SELECT (SELECT count(*) FROM pack) AS packs, (SELECT count(*) FROM instance) AS instances"
)
_COUNTS = Statement("counts", "SELECT instance_count, series_count FROM study")


async def test_many_at_once_into_one_study(holder: Holder) -> None:
    contents = [
        made(InstanceNumber=number, SeriesInstanceUID=f"1.2.3.4.{number % 3}") for number in range(40)
    ]
    shared = contents[:5]
    reports = await asyncio.gather(
        *(
            holder.store(*contents[start::8], *shared, made(StudyInstanceUID=f"1.2.{start}"))
            for start in range(8)
        )
    )
    assert not [failure for report in reports for failure in report.failed]
    (row,) = [row for row in await holder.services.db.fetch_all(_COUNTS) if row["instance_count"] > 1]
    assert (row["instance_count"], row["series_count"]) == (40, 3)


async def _receive(holder: Holder, body: AsyncIterator[APart]) -> store.StoreReport:
    return await store.receive(
        holder.services, body, reach=holder.storing, actor=holder.actor, patient_id=None, study_uid=None
    )


async def test_a_client_that_hangs_up_leaves_nothing(holder: Holder) -> None:
    class Gone(Exception):
        pass

    async def broken() -> AsyncIterator[APart]:
        async for part in parts([made(), made()]):
            yield part
        raise Gone

    with pytest.raises(Gone):
        await _receive(holder, broken())
    left = await holder.services.db.fetch_one(_LEFT)
    assert left is not None
    assert (left["packs"], left["instances"]) == (0, 0)


async def test_a_body_that_breaks_keeps_what_came_before(holder: Holder) -> None:
    async def broken() -> AsyncIterator[APart]:
        async for part in parts([made()]):
            yield part
        raise InvalidInput("The body ends before its closing boundary.")

    report = await _receive(holder, broken())
    assert len(report.stored) == 1
    assert [(each.sop_instance_uid, each.reason) for each in report.failed] == [
        (None, FailureReason.PROCESSING)
    ]


async def test_a_body_that_is_none(holder: Holder) -> None:
    async def broken() -> AsyncIterator[APart]:
        raise InvalidInput("This is not multipart.")
        yield APart(b"")

    with pytest.raises(InvalidInput):
        await _receive(holder, broken())


async def test_no_room(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    async def full(self: Pack) -> int:
        raise OutOfSpace()

    monkeypatch.setattr(Pack, "publish", full)
    with pytest.raises(OutOfSpace):
        await holder.store(made())
    monkeypatch.undo()
    left = await holder.services.db.fetch_one(_LEFT)
    assert left is not None
    assert (left["packs"], left["instances"]) == (0, 0)
    assert len((await holder.store(made())).stored) == 1


async def test_no_room_after_a_group(holder: Holder, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was committed stays; the rest is told so (decision 27)."""
    publish = Pack.publish
    seen: list[Pack] = []

    async def full(self: Pack) -> int:
        if self not in seen:
            seen.append(self)
        if len(seen) > 1:
            raise OutOfSpace()
        return await publish(self)

    monkeypatch.setattr(Pack, "publish", full)
    report = await holder.store(*(made(InstanceNumber=number) for number in range(210)))
    assert len(report.stored) == 100
    assert {each.reason for each in report.failed} == {FailureReason.OUT_OF_RESOURCES}
    assert len({each.sop_instance_uid for each in report.failed}) == 110


async def test_a_stranger_patient(holder: Holder) -> None:
    with pytest.raises(NotFound):
        await store.receive(
            holder.services,
            parts([made()]),
            reach=holder.storing,
            actor=holder.actor,
            patient_id="nobody",
            study_uid=None,
        )


def _odd() -> list[bytes]:
    """Values that a database or JSON would choke on."""
    inner = Dataset()
    inner.add_new(0x00091010, "OB", b"y" * 4000)
    data = dataset(PatientID="x", OtherPatientIDsSequence=[inner])
    plain = made()
    return [
        written(data),
        plain.replace(b"A-1 ", b"A\0B\1"),
        plain.replace(b"Moor^Ada", b"M\0\0r^\xff\xfea"),
        plain.replace(b"ACC1", b"\0\0\0\0"),
        plain.replace(b"20240131", b"99999999"),
        plain.replace(b"(\0\x10\0US\2\0\x08\0", b"(\0\x10\0US\2\0\xff\xff"),
        made(PatientComments="z" * 9000, StudyDescription="d" * 64, InstanceNumber=2147483647),
    ]


@pytest.mark.parametrize("number", range(7))
async def test_odd_values(holder: Holder, number: int) -> None:
    report = await holder.store(_odd()[number])
    assert len(report.stored) == 1, report.failed
    page = await catalogue.find_instances(
        holder.services.db, TRUE, reach=holder.reading, limit=5, whole=True, parents=True
    )
    assert len(page.rows) == 1
    again = await holder.store(made(InstanceNumber=2))
    assert len(again.stored) == 1


_FUZZED = [made(), sample("rtplan.dcm")[:3000], sample("MR_small_RLE.dcm"), sample("chrH31.dcm")[:2000]]


@pytest.fixture
async def loop() -> asyncio.AbstractEventLoop:
    """The one that the fixtures live on, for a test that is not a coroutine (hypothesis calls it many times)."""
    return asyncio.get_running_loop()


@settings(
    max_examples=examples(60),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(st.sampled_from(_FUZZED), st.data())
def test_damaged_objects_never_break_a_store(
    holder: Holder, loop: asyncio.AbstractEventLoop, seed: bytes, data: st.DataObject
) -> None:
    """Whatever the header holds, the store answers: stored, or refused with a reason."""
    contents = []
    for _ in range(5):
        content = bytearray(seed)
        for _ in range(data.draw(st.integers(1, 4))):
            at = data.draw(st.integers(140, min(len(content) - 1, 2500)))
            content[at : at + data.draw(st.integers(1, 4))] = data.draw(st.binary(min_size=1, max_size=4))
        contents.append(bytes(content))
    header_of(made())
    report = loop.run_until_complete(holder.store(*contents, mine=True))
    assert len(report.stored) + len(report.failed) == 5


@pytest.mark.long
async def test_gigabytes_stay_out_of_memory(holder: Holder) -> None:
    """A store of many GB takes a bounded amount of memory: what is kept of a part is its header."""

    class Huge(APart):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            data = dataset(Rows=32768, Columns=32768, SOPInstanceUID="1.2.3.99", PixelData=None)
            yield written(data)
            yield b"\xe0\x7f\x10\x00OW\0\0" + (2**31).to_bytes(4, "little")
            block = bytes(range(256)) * 1024
            for _ in range(2**31 // len(block)):
                yield block

    async def body() -> AsyncIterator[APart]:
        yield Huge(b"")
        yield APart(made())

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    report = await _receive(holder, body())
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert len(report.stored) == 2
    assert grown < 100 * 1024  # kB
    (row,) = await catalogue.instances_of(
        holder.services.db, "1.2.3.4", sop_uid="1.2.3.99", reach=holder.reading
    )
    address = catalogue.address_of(holder.services, row)
    last = await holder.services.objects.read(address, row.size - 3, row.size)
    assert (row.size > 2**31, last) == (True, b"\xfd\xfe\xff")
