"""Merging and parting records: parting brings back exactly what was, whatever both held; killed or not."""

from __future__ import annotations

import hashlib
import os
import random
from pathlib import Path
from typing import Any

import httpx
import orjson
import pytest

from server.access.action import Action, Verb
from server.access.services import Services
from server.audit import chain
from server.audit.reading import events_of, sealed_events_of
from server.imaging import rebuild
from server.imaging.verify import verify
from server.jobs.queue import Job
from server.records.people import register_patient
from server.rights import erasure, erasure_steps, export, traces
from server.sharing import made_profile, merging, parting
from server.storage.backup import back_up, keys_file
from server.storage.db import Database
from server.storage.restore import restore
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer, serving
from tests.databases import create_database, drop_database
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of
from tests.waiting import tries

STUDIES = ("1.2.3.1", "1.2.3.2", "1.2.3.3")
TABLES = (
    "holder",
    "study",
    "series",
    "instance",
    "resource",
    "share",
    "patient_identifier",
    "hold",
    "upload",
)
WITHOUT = "- ARRAY['updated_at', 'fhir_stale', 'version', 'last_updated', 'content_hash', 'key', 'wrapped_key', 'json']"


def _sql(text: str) -> Statement:
    return Statement("test", text)


class World:
    """A patient, a doctor who made another record of the same person, and what is stored in both."""

    def __init__(self, server: RunningServer, people: People, ada: Person, doctor: Person, source: str):
        self.server, self.people, self.ada, self.doctor, self.source = server, people, ada, doctor, source

    @property
    def services(self) -> Services:
        return self.server.services

    async def store(self, patient_id: str, samples: list[Sample]) -> None:
        who = self.ada if patient_id == self.ada.fhir_id else self.doctor
        scope = "patient/*.cruds" if who is self.ada else "user/*.cruds"
        headers = bearer(await self.people.token(who, scope))
        async with httpx.AsyncClient(base_url=self.server.url, timeout=30) as client:
            root = f"/patients/{patient_id}/dicomweb"
            answer = await store(client, *samples, root=root, **headers)
            assert answer.status_code == 200, answer.text

    async def settled(self) -> None:
        """Everything that follows from the studies is made."""
        rows = await self.services.db.fetch_all(
            _sql("SELECT patient_id, study_uid FROM study WHERE fhir_stale")
        )
        for row in rows:
            await rebuild.rebuild(self.services, row["patient_id"], row["study_uid"])

    async def snapshot(self) -> dict[str, Any]:
        """All that is of either record, without what counts versions; and the data keys, unwrapped."""
        await self.settled()
        db, found = self.services.db, {}
        for patient_id in (self.ada.fhir_id, self.source):
            for table in TABLES:
                text = f"SELECT to_jsonb(row) {WITHOUT} AS it FROM {table} AS row WHERE patient_id = :id"
                rows = await db.fetch_all(_sql(text), {"id": patient_id})
                found[f"{table} of {patient_id}"] = sorted(row["it"] for row in rows)
            text = (
                "SELECT type, id, json FROM resource WHERE patient_id = :id AND NOT deleted ORDER BY type, id"
            )
            for row in await db.fetch_all(_sql(text), {"id": patient_id}):
                content = orjson.loads(row["json"])
                content.pop("meta")
                found[f"{row['type']}/{row['id']}"] = content
            text = (
                "SELECT sop_uid, wrapped_key, wrapped FROM instance JOIN keys.patient_key USING (patient_id)"
                " WHERE patient_id = :id ORDER BY sop_uid"
            )
            for row in await db.fetch_all(_sql(text), {"id": patient_id}):
                key = self.services.keyring.unwrap(row["wrapped"], row["wrapped_key"])
                found[f"key of {patient_id} {row['sop_uid']}"] = key
            found[f"state of {patient_id}"] = await db.fetch_val(
                _sql("SELECT state || coalesce(claimed_at::text, '') FROM patient WHERE id = :id"),
                {"id": patient_id},
            )
        return found

    async def merge(self) -> Any:
        async with self.services.db.transaction():
            return await merging.merge(
                self.services,
                self.source,
                self.ada.fhir_id,
                whole=False,
                claiming=True,
                actor=actor_of(self.ada),
            )


def _objects(seed: int) -> tuple[list[Sample], list[Sample]]:
    """What each record holds: some of it both do, alike or under one UID with other content."""
    dice = random.Random(seed)
    mine, theirs = [], []
    for number in range(6):
        study = dice.choice(STUDIES)
        first = instance(
            f"{study}.{seed}", f"{study}.{seed}.{dice.randint(1, 2)}", SOPInstanceUID=f"1.2.9.{seed}.{number}"
        )
        match dice.choice(("mine", "theirs", "both", "other")):
            case "mine":
                mine.append(first)
            case "theirs":
                theirs.append(first)
            case "both":
                mine.append(first)
                theirs.append(first)
            case "other":
                other = instance(
                    f"{dice.choice(STUDIES)}.{seed}", SOPInstanceUID=first.sop, SeriesDescription="Other"
                )
                mine.append(first)
                theirs.append(other)
    return mine, theirs


async def _world(server: RunningServer, seed: int) -> World:
    people = People(server.services)
    ada, doctor = await people.patient("Ada Moor"), await people.doctor("Dora Dale")
    async with server.services.db.transaction():
        source = await register_patient(
            server.services, who=actor_of(doctor).who(), name="Ada Moor", birth_date="1980-02-29"
        )
        await made_profile._share(server.services, source, actor_of(doctor), doctor.email)
    world = World(server, people, ada, doctor, source)
    mine, theirs = _objects(seed)
    if mine:
        await world.store(ada.fhir_id, mine)
    if theirs:
        await world.store(source, theirs)
    return world


async def _is_whole(services: Services) -> bool:
    report = await verify(services.db, services.objects, services.keyring)
    return report.clean and (await chain.verify(services.db))[1] == []


async def test_parting_is_the_inverse_of_merging(
    fresh_server: RunningServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 7, over records that overlap in many ways; a merge that dies in the middle leaves no trace."""
    services = fresh_server.services
    for seed in range(3):
        world = await _world(fresh_server, seed)
        before = await world.snapshot()
        if seed == 0:
            with monkeypatch.context() as patched:
                patched.setattr(merging, "_close", _dies)
                with pytest.raises(RuntimeError):
                    await world.merge()
            assert await world.snapshot() == before
        merger_id = await world.merge()
        await world.settled()
        held = {each.sop for part in _objects(seed) for each in part}
        there = await services.db.fetch_all(
            _sql("SELECT sop_uid FROM instance WHERE patient_id = :id"), {"id": world.ada.fhir_id}
        )
        assert {row["sop_uid"] for row in there} == held
        assert await _is_whole(services)
        operator = actor_of(await world.people.operator())
        await parting.part(services, merger_id, reason="not the same person", actor=operator)
        assert await world.snapshot() == before, seed
    assert await _is_whole(services)


async def _dies(*given: Any) -> None:
    raise RuntimeError


async def test_erasure_backup_and_latecomers(
    fresh_server: RunningServer, cluster: str, tmp_path: Path
) -> None:
    """What came at the very moment follows; a backup holds both chains and keys; erasure leaves nothing of either."""
    services, world = fresh_server.services, await _world(fresh_server, 7)
    late, first = instance(SOPInstanceUID="1.2.9.99"), instance(SOPInstanceUID="1.2.9.98")
    second = instance(first.study, first.series, SOPInstanceUID=first.sop, SeriesDescription="Other")
    await world.store(world.ada.fhir_id, [first])
    await world.store(world.source, [late, second])
    merger_id = await world.merge()
    text = "UPDATE study SET patient_id = :source WHERE patient_id = :target AND study_uid = :uid"
    values = {"source": world.source, "target": world.ada.fhir_id}
    await services.db.execute(_sql(text), values | {"uid": late.study})
    await services.db.execute(  # as a store of that moment would have left it
        _sql("UPDATE instance SET wrapped_key = :key WHERE patient_id = :source AND study_uid = :uid"),
        {"source": world.source, "uid": late.study, "key": await _as_of_source(world, late)},
    )
    await merging._gather(services, Job(merger_id, merging.JOB, {"merger": str(merger_id)}, 1))
    at = {"id": world.ada.fhir_id, "uid": late.sop}
    assert await services.db.fetch_val(
        _sql("SELECT true FROM instance WHERE patient_id = :id AND sop_uid = :uid"), at
    )
    assert await _is_whole(services)

    actor = actor_of(world.ada)
    reach = await services.gate.reach_for_actor(actor, export.PATIENT_READ)
    copy = await export.ask(services, world.ada.fhir_id, reach=reach, actor=actor)
    state = _sql("SELECT state FROM data_export WHERE id = :id")
    async for _ in tries():  # the server's own worker makes it
        if (found := await services.db.fetch_val(state, {"id": copy})) != "preparing":
            break
    assert found == "ready"
    of_both = (
        "SELECT sha256 FROM data_export_file WHERE path LIKE 'OTHER/%' AND path LIKE '%' || :uid || '.dcm'"
    )
    assert (
        await services.db.fetch_val(_sql(of_both), {"uid": second.sop})
        == hashlib.sha256(second.data).digest()
    )
    await back_up(services.db, services.objects, services.keyring, tmp_path / "night")
    name, data = f"t_merged_{os.getpid()}", tmp_path / "elsewhere"
    data.mkdir()
    (data / "master.key").write_bytes(services.settings.key_file.read_bytes())
    try:
        async with serving(create_database(cluster, name), data) as there:
            file = tmp_path / "night"
            await restore(
                there.services.db, there.services.objects, there.services.keyring, file, keys_file(file)
            )
            assert await _is_whole(there.services)
            reach = await there.services.gate.reach_for_actor(
                actor_of(world.ada), Action("AuditEvent", Verb.SEARCH)
            )
            told = await events_of(
                there.services.db, there.services.keyring, reach=reach.patients(), limit=200
            )
            assert {each.who.name for each in told} >= {"Ada Moor", "Dora Dale"}
            for oldest in (True, False):  # by the chains of both, or by the log of all: the same
                by_chain, by_time = [
                    await sealed_events_of(
                        there.services.db,
                        reach=reach.patients(),
                        limit=9,
                        offset=2,
                        oldest_first=oldest,
                        few=few,
                    )
                    for few in (True, False)
                ]
                assert by_chain == by_time
                assert len(by_chain) == 9
    finally:
        drop_database(cluster, name)

    reach = await services.gate.reach_for_actor(actor, erasure.PATIENT_DELETE)
    asked = await erasure.ask(services, actor=actor, reach=reach, patient_id=world.ada.fhir_id)
    under_way = await services.db.fetch_all(_sql("SELECT id FROM erasure WHERE done_at IS NULL"))
    assert len(under_way) == 2
    assert len(asked) == 1
    for row in under_way:
        while not await erasure_steps.advance(services, row["id"]):
            pass
    for patient_id in (world.ada.fhir_id, world.source):
        assert await traces.traces(services, patient_id) == {}
    assert await services.db.fetch_val(_sql("SELECT count(*) FROM keys.patient_key")) == 0
    assert await _is_whole(services)


async def _as_of_source(world: World, sample: Sample) -> bytes:
    keys = {
        row["patient_id"]: row["wrapped"]
        for row in await world.services.db.fetch_all(_sql("SELECT * FROM keys.patient_key"))
    }
    wrapped = await world.services.db.fetch_val(
        _sql("SELECT wrapped_key FROM instance WHERE sop_uid = :uid"), {"uid": sample.sop}
    )
    keyring = world.services.keyring
    return keyring.wrap(keys[world.source], keyring.unwrap(keys[world.ada.fhir_id], wrapped))


async def test_what_hangs_on_a_study_goes_with_it(db: Database) -> None:
    """Whoever adds a table that refers to studies or series lets it follow them to another patient (migration 0003)."""
    rows = await db.fetch_all(
        _sql(
            "SELECT conrelid::regclass::text AS child FROM pg_constraint WHERE contype = 'f'"
            " AND confrelid IN ('study'::regclass, 'series'::regclass) AND confupdtype <> 'c'"
        )
    )
    assert [row["child"] for row in rows] == []
