"""What happens to a record while it is part of another one does not stay with it when they are parted."""

from __future__ import annotations

import asyncio
from contextvars import Context
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from server.core import clock
from server.imaging.recount import recount
from server.jobs.queue import Job
from server.records import store
from server.rights import erasure, incidents, restriction
from server.sharing import guest, merged, merging, parting, profile_code
from tests.conformance.dicomweb.samples import Sample, instance
from tests.conftest import RunningServer
from tests.sharing_steps import actor_of, consent_reach

from .test_merging import World, _sql, _world

PROJECT = (
    "INSERT INTO research_project (id, name, organization, description, purpose, contact, dates, characteristics,"
    " device, descriptors, faces, sealed_key, created_at, until) VALUES (:id, 'Lungs', 'University', 'Shadows',"
    " 'education', 'l@university.example', false, false, false, false, false, '', :now, :now)"
)
MEMBER = (
    "INSERT INTO research_member (id, patient_id, account_id, project_id, pseudonym, joined_at, text_hash,"
    " text_version, language, given_at)"
    " VALUES (:member, :patient, :account, :id, :pseudonym, :now, '', 1, 'en', :given)"
)


async def _run(world: World, sql: str, **values: Any) -> None:
    await world.services.db.execute(_sql(sql), values)


async def _value(world: World, sql: str, **values: Any) -> Any:
    return await world.services.db.fetch_val(_sql(sql), values)


async def _hide(world: World, patient_id: str, table: str, **uids: str) -> None:
    where = " AND ".join(f"{name} = :{name}" for name in uids)
    text = f"UPDATE {table} SET deleted_at = :now WHERE patient_id = :patient AND {where}"
    await _run(world, text, patient=patient_id, now=clock.now(), **uids)
    db = world.services.db
    for row in await db.fetch_all(
        _sql("SELECT study_uid FROM study WHERE patient_id = :id"), {"id": patient_id}
    ):
        await recount(db, patient_id, row["study_uid"])


def _samples(number: int) -> list[Sample]:
    """Two of one study, in two series."""
    study = f"1.2.77.{number}"
    return [instance(study, f"{study}.{each}", SOPInstanceUID=f"{study}.{each}.9") for each in (1, 2)]


async def _holder_of(world: World, patient_id: str, sample: Sample) -> set[str]:
    rows = await world.services.db.fetch_all(
        _sql("SELECT patient_id FROM instance WHERE sop_uid = :uid"), {"uid": sample.sop}
    )
    return {row["patient_id"] for row in rows}


async def _refer(world: World, source: str) -> None:
    """A report about a study of which the target holds one image elsewhere: a study is made for the other one."""
    one, other = _samples(5)
    await world.store(source, [one, other])
    await world.store(world.ada.fhir_id, [instance("1.2.77.6", SOPInstanceUID=one.sop)])
    await world.settled()
    text = "SELECT fhir_id FROM study WHERE patient_id = :id AND study_uid = :uid"
    study = await _value(world, text, id=source, uid=one.study)
    report = {
        "resourceType": "DiagnosticReport", "id": str(uuid4()), "status": "final", "code": {"text": "Report"},
        "subject": {"reference": f"Patient/{source}"}, "imagingStudy": [{"reference": f"ImagingStudy/{study}"}],
    }  # fmt: skip
    await store.put(world.services.db, report, patient_id=source, author="server")


async def test_what_the_wrong_person_did_is_undone(server: RunningServer) -> None:
    """Deleted, called not mine, asked to be erased, given to a project: none of it outlives the parting."""
    world = await _world(server, 41)
    ada, source, services = world.ada.fhir_id, world.source, server.services
    whole, mixed, hidden = _samples(1), _samples(2), _samples(3)
    more = [
        instance(one[0].study, f"{one[0].study}.1", SOPInstanceUID=f"{one[0].study}.7")
        for one in (mixed, hidden)
    ]
    extra = instance(whole[0].study, whole[0].series, SOPInstanceUID=f"{whole[0].study}.8")
    await world.store(source, [*whole, extra, *mixed, *hidden])
    await world.store(ada, more)
    await _hide(world, source, "instance", sop_uid=extra.sop)  # before: that stays
    await _hide(world, ada, "series", series_uid=mixed[0].series)
    await _hide(world, source, "study", study_uid=hidden[0].study)
    await _refer(world, source)
    before = await world.snapshot()
    merger_id = await world.merge()

    values = {"patient": source, "account": world.ada.account_id, "as_what": "self", "now": clock.now()}
    assert await services.db.fetch_val(profile_code.QUERIES["claim"], values) is None
    assert not await services.db.execute(profile_code.QUERIES["hold"], values)  # nobody holds it anew

    # What either side had hidden is neither shown nor hidden by the merger.
    assert await _holder_of(world, ada, mixed[0]) == {source}
    assert await _holder_of(world, ada, mixed[1]) == {ada}
    assert {*await _holder_of(world, ada, hidden[0]), *await _holder_of(world, ada, hidden[1])} == {source}

    await _hide(world, ada, "series", series_uid=whole[1].series)
    await _hide(world, ada, "instance", sop_uid=mixed[1].sop)
    await _hide(world, ada, "study", study_uid=whole[0].study)
    await _run(world, "UPDATE study SET standing = 'not-mine' WHERE study_uid = :uid", uid=whole[0].study)
    project, pseudonym, actor = uuid4(), f"P{uuid4()}", actor_of(world.ada)
    now = clock.now()
    await _run(world, PROJECT, id=project, now=now)
    values = {"id": project, "patient": ada, "account": world.ada.account_id, "now": now}
    await _run(world, MEMBER, **values, member=uuid4(), pseudonym=pseudonym, given=now)
    reach = await services.gate.reach_for_actor(actor, erasure.PATIENT_DELETE)
    await erasure.ask(services, actor=actor, reach=reach, patient_id=ada, wait=timedelta(days=9))

    # Parted while the job that gathers what came late waits for the same locks: it brings nothing back.
    job = Job(merger_id, merging.JOB, {"merger": str(merger_id)}, 1)
    async with services.db.transaction():
        await services.db.fetch_all(merged.QUERIES["lock_both"], {"patients": [source, ada]})
        late = asyncio.create_task(merging._gather(services, job), context=Context())
        await asyncio.sleep(0.1)
        await _part(world, merger_id)
    await late

    assert await world.snapshot() == before
    said = "SELECT array_agg(step) FROM erasure WHERE patient_id = :id"
    assert await _value(world, said, id=source) == ["taken-back"]
    assert await _value(world, said, id=ada) == ["waiting"]
    ended = "SELECT why FROM research_member WHERE patient_id = :id AND left_at IS NOT NULL"
    assert await _value(world, ended, id=ada) == "parted"
    gone = "SELECT pseudonym FROM research_withdrawal WHERE project_id = :id"
    assert await _value(world, gone, id=project) == pseudonym


async def _part(world: World, merger_id: UUID) -> None:
    operator = actor_of(await world.people.operator())
    await parting.part(world.services, merger_id, reason="not the same person", actor=operator)


async def test_a_record_of_ones_own_comes_back_with_its_limits(server: RunningServer) -> None:
    """Restricted while they were one, both are afterwards; a guest's Consent says what the link gives all the time."""
    world = await _world(server, 42)
    ada, source, services = world.ada.fhir_id, world.source, server.services
    actor, account, now = actor_of(world.ada), world.ada.account_id, clock.now()
    await world.store(source, samples := _samples(4))
    await _run(world, "UPDATE patient SET claimed_at = :now WHERE id = :id", id=source, now=now)
    text = "INSERT INTO holder (patient_id, account_id, as_what, since) VALUES (:id, :account, 'self', :now)"
    await _run(world, text, id=source, account=account, now=now)
    link = await guest.create(
        services, source, name="Gerda", email="gerda@example.org", rights=["images"], studies=None,
        until=now + timedelta(days=3), actor=actor, reach=await consent_reach(services, world.ada),
    )  # fmt: skip
    await world.settled()
    consent = "SELECT json -> 'provision' -> 'data' IS NOT NULL FROM (SELECT convert_from(json, 'UTF8')::jsonb AS json"
    consent += " FROM resource WHERE type = 'Consent' AND id = :id) AS it"
    assert await _value(world, consent, id=link.id) is False

    merger_id = await merging.join(services, source, ada, actor=actor)
    assert await _value(world, consent, id=link.id) is True
    incident = uuid4()
    opened = "INSERT INTO incident (id, rule, opened_at, seen_until) VALUES (:id, 'reported', :now, :now)"
    await _run(world, opened, id=incident, now=now)
    await _run(world, "INSERT INTO incident_patient VALUES (:id, :patient)", id=incident, patient=source)
    affected = incidents.QUERIES["holders_affected"]
    told = await services.db.fetch_all(affected, {"id": incident, "now": clock.now()})
    assert [row["email"] for row in told] == [world.ada.email]
    await _run(world, "DELETE FROM incident WHERE id = :id", id=incident)

    reach = await services.gate.reach_for_actor(actor, restriction.PATIENT_UPDATE)
    await restriction.begin(services, ada, reach=reach, actor=actor, why="a question")
    await _part(world, merger_id)
    state = "SELECT state || ' ' || restricted_by || ' ' || restricted_why FROM patient WHERE id = :id"
    assert await _value(world, state, id=source) == await _value(world, state, id=ada)
    assert await _value(world, state, id=source) == "restricted patient a question"
    of_studies = "SELECT patient_state FROM study WHERE patient_id = :id AND study_uid = :uid"
    assert await _value(world, of_studies, id=source, uid=samples[0].study) == "restricted"
    assert await _value(world, consent, id=link.id) is False
