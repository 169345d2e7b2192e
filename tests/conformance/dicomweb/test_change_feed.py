"""The change feed: each change once, in order, within the reach; in the form of Microsoft's DICOM service."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest

from server.access.action import STUDY_SEARCH
from server.access.actor import Actor, ActorKind
from server.core import clock
from server.imaging import changes
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer
from tests.factories import People, bearer


async def feed(client: httpx.AsyncClient, root: str = "/dicomweb", **query: Any) -> list[dict[str, Any]]:
    answer = await client.get(f"{root}/changefeed", params={"includemetadata": "false", **query})
    assert answer.status_code == 200, answer.text
    found: list[dict[str, Any]] = answer.json()
    return found


def told(entries: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    return [(each["Action"], each["State"], each["SopInstanceUid"]) for each in entries]


@pytest.mark.parametrize("root", ["pooled", "own"])
async def test_a_store_is_told(web: httpx.AsyncClient, owner: Owner, root: str):
    one = instance()
    two = instance(study=one.study, series=one.series, InstanceNumber=2)
    await store(web, one, two)
    entries = await feed(web, "/dicomweb" if root == "pooled" else owner.root)
    assert told(entries) == [("create", "current", each) for each in sorted((one.sop, two.sop))]
    assert set(entries[0]) == {
        "Sequence", "StudyInstanceUid", "SeriesInstanceUid", "SopInstanceUid", "Action", "Timestamp", "State",
    }  # fmt: skip
    assert entries[1]["Sequence"] == entries[0]["Sequence"] + 1
    assert (entries[0]["StudyInstanceUid"], entries[0]["SeriesInstanceUid"]) == (one.study, one.series)
    assert entries[0]["Timestamp"].endswith("Z")


async def test_what_follows_an_offset(web: httpx.AsyncClient):
    samples = [instance() for _ in range(5)]
    await store(web, *samples)
    first = await feed(web, limit=2)
    rest = await feed(web, offset=first[-1]["Sequence"])
    seen = [each["SopInstanceUid"] for each in first + rest]
    assert sorted(seen) == sorted(each.sop for each in samples)
    assert await feed(web, offset=rest[-1]["Sequence"]) == []
    assert [each["Sequence"] for each in first + rest] == sorted(each["Sequence"] for each in first + rest)


async def test_metadata(web: httpx.AsyncClient, stored: Sample, owner: Owner):
    (entry,) = (await web.get("/dicomweb/changefeed")).json()
    assert entry["Metadata"]["00080018"]["Value"] == [stored.sop]
    assert owner.root in entry["Metadata"]["7FE00010"]["BulkDataURI"]


async def test_latest(web: httpx.AsyncClient):
    assert (await web.get("/dicomweb/changefeed/latest")).status_code == 204
    one, two = instance(), instance()
    await store(web, one)
    await store(web, two)
    answer = (await web.get("/dicomweb/changefeed/latest?includemetadata=false")).json()
    assert answer == (await feed(web))[-1]
    assert answer["SopInstanceUid"] == two.sop
    await web.delete(f"/dicomweb/studies/{one.study}")
    assert (await web.get("/dicomweb/changefeed/latest")).json()["Action"] == "delete"


async def test_a_time_range(web: httpx.AsyncClient, stored: Sample):
    (entry,) = await feed(web)
    at = entry["Timestamp"]
    assert await feed(web, startTime=at, endTime="9999-01-01") == [entry]
    assert await feed(web, endTime=at) == []
    assert await feed(web, starttime="0001-01-01T00:00:00Z") == [entry]


async def test_deleting_and_coming_back(web: httpx.AsyncClient, stored: Sample):
    other = instance(study=stored.study)
    await store(web, other)
    await web.delete(f"/dicomweb{other.path}")
    assert told(await feed(web)) == [
        ("create", "current", stored.sop),
        ("create", "deleted", other.sop),
        ("delete", "deleted", other.sop),
    ]
    await web.delete(f"/dicomweb/studies/{stored.study}")
    await store(web, stored)
    assert told(await feed(web)) == [
        ("create", "replaced", stored.sop),
        ("create", "deleted", other.sop),
        ("delete", "deleted", other.sop),
        ("delete", "replaced", stored.sop),
        ("create", "current", stored.sop),
    ]


async def test_the_same_bytes_again_are_no_change(web: httpx.AsyncClient, stored: Sample):
    await store(web, stored)
    assert len(await feed(web)) == 1


async def test_nothing_appears_behind_what_was_read(
    server: RunningServer, web: httpx.AsyncClient, owner: Owner
):
    """A transaction that began first and ends last comes after what was read in between."""
    early, late = instance(), instance()
    await store(web, early, late)
    before = (await feed(web))[-1]["Sequence"]
    db, began, go_on = server.services.db, asyncio.Event(), asyncio.Event()

    async def slow() -> None:
        async with db.transaction():
            await changes.note(
                db, changes.Change.CREATE, owner.person.fhir_id, early.study, now=clock.now(), is_open=True
            )
            began.set()
            await go_on.wait()

    writing = asyncio.create_task(slow())
    await began.wait()
    await changes.note(
        db, changes.Change.CREATE, owner.person.fhir_id, late.study, now=clock.now(), is_open=True
    )
    (read,) = await feed(web, offset=before)
    go_on.set()
    await writing
    (after,) = await feed(web, offset=read["Sequence"])
    assert (read["SopInstanceUid"], after["SopInstanceUid"]) == (late.sop, early.sop)


async def test_many_write_and_one_reads(web: httpx.AsyncClient, server: RunningServer):
    """Stores at once, while a reader follows: it sees each instance exactly once."""
    samples = [instance() for _ in range(24)]
    seen: list[str] = []
    offset = 0
    writing = [asyncio.create_task(store(web, *samples[at : at + 3])) for at in range(0, 24, 3)]
    while not all(task.done() for task in writing) or await feed(web, offset=offset):
        for entry in await feed(web, offset=offset, limit=5):
            offset = entry["Sequence"]
            seen.append(entry["SopInstanceUid"])
    assert sorted(seen) == sorted(each.sop for each in samples)


async def test_a_number_is_never_given_twice(server: RunningServer, web: httpx.AsyncClient, owner: Owner):
    """Rows with the highest numbers may be gone, with the study that was purged; the next number is higher."""
    one = instance()
    await store(web, one)
    last = (await feed(web))[-1]["Sequence"]
    async with server.services.db.raw() as connection:
        await connection.execute("DELETE FROM change WHERE study_uid = $1", one.study)
    await store(web, instance())
    assert (await feed(web))[-1]["Sequence"] > last


async def test_a_doctor_sees_what_was_lent(
    web: httpx.AsyncClient, people: People, owner: Owner, server: RunningServer
):
    """Chosen studies only; and what went before the share began was never there for the doctor."""
    lent, kept, gone = instance(), instance(), instance()
    await store(web, lent, kept, gone)
    also_gone = instance(study=lent.study)
    await store(web, also_gone)
    await web.delete(f"/dicomweb{also_gone.path}")
    await web.delete(f"/dicomweb/studies/{gone.study}")
    doctor = await people.doctor()
    await people.share(owner.person, doctor, studies=[lent.study])
    headers = bearer(await people.token(doctor, "user/*.rs"))
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as his:
        assert told(await feed(his)) == [("create", "current", lent.sop)]
        await web.delete(f"/dicomweb/studies/{lent.study}")
        assert told(await feed(his)) == [("delete", "deleted", lent.sop)]
    assert len(await feed(web)) == 7


async def test_an_ended_share_tells_nothing(
    web: httpx.AsyncClient, people: People, owner: Owner, stored: Sample
):
    stranger = bearer(await people.token(await people.doctor(), "user/*.rs"))
    assert (await web.get("/dicomweb/changefeed", headers=stranger)).json() == []
    assert (await web.get(f"{owner.root}/changefeed", headers=stranger)).json() == []
    assert (await web.get(f"{owner.root}/changefeed/latest", headers=stranger)).status_code == 204


async def test_what_was_never_open_is_told_to_its_holder_only(
    web: httpx.AsyncClient, people: People, owner: Owner, server: RunningServer
):
    """A study that differs from the profile, deleted: no doctor learns that there was one (decision 9)."""
    doctor = await people.doctor()
    await people.share(owner.person, doctor)
    other = instance(PatientName="Somebody^Else")
    await store(web, other)
    await web.delete(f"/dicomweb/studies/{other.study}")
    headers = bearer(await people.token(doctor, "user/*.rs"))
    assert (await web.get("/dicomweb/changefeed", headers=headers)).json() == []
    assert len(await feed(web)) == 2


@pytest.mark.parametrize(
    "query",
    ["offset=-1", "offset=x", "limit=0", "limit=-1", "startTime=x", "endTime=0001-01-01T00:00:00%2B14:00", "other=1",
     "includemetadata=perhaps", "offset=99999999999999999999"],
)  # fmt: skip
async def test_parameters_that_cannot_be(web: httpx.AsyncClient, query: str):
    assert (await web.get(f"/dicomweb/changefeed?{query}")).status_code == 400


async def test_needs_the_scope_to_search(web: httpx.AsyncClient, people: People, owner: Owner):
    headers = bearer(await people.token(owner.person, "patient/ImagingStudy.r"))
    assert (await web.get("/dicomweb/changefeed", headers=headers)).status_code == 403


def test_nobody_reaches_nothing() -> None:
    """No lane: the condition is false, whatever the row."""
    from server.access.past import past
    from server.access.reach import Reach

    assert past(Reach(STUDY_SEARCH)).sql == "false"
    assert Actor(ActorKind.NOBODY)
