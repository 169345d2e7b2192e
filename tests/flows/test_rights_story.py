"""Rights: erasure, restriction, holds, disclosures, withdrawal, policy versions; each with its row of the product."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from uuid import UUID

import httpx
import pytest

from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.audit import chain, heads
from server.core import clock
from server.core.errors import Conflict, Forbidden, NotFound
from server.imaging.verify import verify
from server.jobs.worker import Worker
from server.rights import (
    consents,
    disclosures,
    erasure,
    erasure_steps,
    holdings,
    holds,
    policy,
    proof,
    restriction,
)
from server.rights.background import KITS
from server.storage.backup import back_up, keys_file
from server.storage.sql import Statement
from server.storage.tables import all_tables
from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of, mails_to, text_of
from tests.waiting import tries

DAY = timedelta(days=1)


@pytest.fixture
def crowd(fresh_server: RunningServer) -> People:
    return People(fresh_server.services)


def operator(person: Person) -> Actor:
    return Actor(ActorKind.OPERATOR, account_id=person.account_id, name=person.name)


async def reach_of(services: Services, person: Person, action: object = erasure.PATIENT_DELETE) -> Reach:
    return await services.gate.reach_for_actor(actor_of(person), action)  # type: ignore[arg-type]


async def work(services: Services) -> None:
    await Worker(services, KITS).drain()


async def store_one(server: RunningServer, person: Person) -> str:
    token, sample = await People(server.services).token(person), instance()
    async with httpx.AsyncClient(base_url=server.url, headers=bearer(token), timeout=60) as web:
        assert (await store(web, sample)).status_code == 200
    return sample.study


async def add_film(server: RunningServer, person: Person) -> None:
    """A Binary large enough to lie in the object store."""
    headers = bearer(await People(server.services).token(person)) | {
        "Content-Type": "video/mp4",
        "X-Security-Context": f"Patient/{person.fhir_id}",
    }
    async with httpx.AsyncClient(base_url=server.url, headers=headers) as web:
        assert (await web.post("/fhir/Binary", content=b"\1" * 100_000)).status_code == 201


async def erased(services: Services, person: Person, **given: object) -> UUID:
    reach = await reach_of(services, person)
    [erasure_id] = await erasure.ask(services, actor=actor_of(person), reach=reach, **given)  # type: ignore[arg-type]
    if not given.get("wait"):
        await finished(services, erasure_id)
    return erasure_id


async def finished(services: Services, erasure_id: UUID) -> str:
    """Until it is over: the server's own worker may be at it."""
    async for _ in tries():
        await erasure_steps.advance(services, erasure_id)
        row = await erasure.state_of(services, erasure_id)
        if row["step"] in ("done", "taken-back"):
            return str(row["step"])
    raise AssertionError(row["step"])


async def mentions(services: Services, value: str) -> list[str]:
    """Every table in which a row holds this text, wherever."""
    found = []
    for table in await all_tables(services.db):
        text = Statement("find", f"SELECT count(*) FROM {table.quoted} AS row WHERE row::text LIKE :what")
        if await services.db.fetch_val(text, {"what": f"%{value}%"}):
            found.append(table.full)
    return found


async def test_erasure_leaves_nothing_but_a_tombstone(fresh_server: RunningServer, crowd: People) -> None:
    """Row 54: the account and everything in it goes, whoever had access is told, the log stays whole."""
    services = fresh_server.services
    ada, other, bo = await crowd.patient("Ada Moor"), await crowd.patient("Still Here"), await crowd.doctor()
    await store_one(fresh_server, ada)
    await store_one(fresh_server, other)
    await add_film(fresh_server, ada)
    assert (await verify(services.db, services.objects, services.keyring)).objects == 3
    await crowd.share(ada, bo)
    erasure_id = await erased(services, ada)
    row = await erasure.state_of(services, erasure_id)
    assert row["step"] == "done"
    assert await mentions(services, ada.fhir_id) == []
    assert await mentions(services, str(ada.account_id)) == []
    assert await mentions(services, ada.email) == []
    assert [text_of(mail) for mail in await mails_to(services, bo.email) if "has deleted it" in text_of(mail)]
    [proof] = [mail for mail in await mails_to(services, ada.email) if "/erased/" in text_of(mail)]
    assert str(erasure_id) in text_of(proof)
    keys = await heads.public_keys(services.db)
    [kid] = keys
    assert heads.is_signed(keys, kid, row["proof"], row["signature"])
    assert b"Moor" not in row["proof"]
    report = await verify(services.db, services.objects, services.keyring)
    assert report.clean
    assert (report.objects, report.strays) == (1, [])
    assert (await chain.verify(services.db))[1] == []


async def test_erasing_one_profile_keeps_the_account(fresh_server: RunningServer, crowd: People) -> None:
    """Row 54: a profile alone; who signs in stays."""
    services, ada = fresh_server.services, await crowd.patient()
    await store_one(fresh_server, ada)
    await erased(services, ada, patient_id=ada.fhir_id)
    assert await mentions(services, ada.fhir_id) == []
    assert "public.account" in await mentions(services, str(ada.account_id))


async def test_each_step_can_be_repeated(
    fresh_server: RunningServer, crowd: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Decision 24: a step that dies at its end is done again, and what is closed is closed from the first on."""
    services, ada = fresh_server.services, await crowd.patient()
    await store_one(fresh_server, ada)
    reach = await reach_of(services, ada)
    [erasure_id] = await erasure.ask(services, actor=actor_of(ada), reach=reach)
    real, died = dict(erasure_steps._NEXT), []

    def dying(step: str) -> erasure_steps.Step:
        async def work_and_die(kit: Services, row: object) -> None:
            await real[step][1](kit, row)  # type: ignore[arg-type]
            died.append(step)
            raise RuntimeError(step)

        return work_and_die

    for step in real:
        monkeypatch.setitem(erasure_steps._NEXT, step, (real[step][0], dying(step)))
        with pytest.raises(RuntimeError):
            await erasure_steps.advance(services, erasure_id)
        monkeypatch.setitem(erasure_steps._NEXT, step, real[step])
        if step != "waiting":
            with pytest.raises(NotFound):
                await erasure.ask(services, actor=actor_of(ada), reach=reach, patient_id=ada.fhir_id)
    assert await finished(services, erasure_id) == "done"
    assert set(died) == set(real)
    assert await mentions(services, ada.fhir_id) == []


async def test_a_cooling_off_can_be_used(fresh_server: RunningServer, crowd: People) -> None:
    """Row 54: until it is over the wish can be taken back, by its owner."""
    services, ada, bo = fresh_server.services, await crowd.patient(), await crowd.patient("Bo Else")
    first = await erased(services, ada, wait=erasure.COOLING_OFF)
    assert (await erasure.state_of(services, first))["step"] == "waiting"
    with pytest.raises(NotFound):
        await erasure.take_back(services, first, actor=actor_of(bo))
    with pytest.raises(Conflict):
        await erased(services, ada)
    await erasure.take_back(services, first, actor=actor_of(ada))
    second = await erased(services, ada, wait=erasure.COOLING_OFF)
    clock.travel(erasure.COOLING_OFF)
    assert await finished(services, first) == "taken-back"
    assert await finished(services, second) == "done"


async def test_a_hold_beats_erasure(fresh_server: RunningServer, crowd: People) -> None:
    """Row 54: a legal hold refuses with its reason, also one that comes in the cooling-off; its owner is told."""
    services, ada, ops = fresh_server.services, await crowd.patient(), await crowd.operator()
    until = {"review_at": clock.now() + 90 * DAY, "actor": operator(ops)}
    placed = await holds.place(
        services, ada.fhir_id, authority="District Court", scope="All images", reason="Case 12", **until
    )
    reach = await reach_of(services, ada)
    [profile] = await holdings.profiles(services, actor=actor_of(ada), reach=reach)
    assert profile.holds[0].reason == "Case 12"
    with pytest.raises(erasure.Held):
        await erased(services, ada)
    assert [mail for mail in await mails_to(services, ada.email) if "legal hold" in text_of(mail)]
    await holds.release(services, placed, actor=operator(ops))
    waiting = await erased(services, ada, wait=DAY)
    await holds.place(services, ada.fhir_id, authority="Court", scope="All", reason="Case 13", **until)
    clock.travel(2 * DAY)
    assert await finished(services, waiting) == "taken-back"
    assert await services.db.fetch_val(Statement("n", "SELECT count(*) FROM patient")) == 1
    with pytest.raises(Forbidden):
        await holds.place(services, ada.fhir_id, authority="a", scope="b", reason="c",
                          review_at=clock.now() + DAY, actor=actor_of(ada))  # fmt: skip


async def test_restriction_closes_the_record_to_everybody_else(
    fresh_server: RunningServer, crowd: People
) -> None:
    """Row 55: others' reads and shares are refused at once, the owner's pages and storing go on."""
    services, ada, bo = fresh_server.services, await crowd.patient("Ada Moor"), await crowd.doctor()
    ops = await crowd.operator()
    study = await store_one(fresh_server, ada)
    await crowd.share(ada, bo)
    doctor = bearer(await crowd.token(bo, "user/*.cruds"))
    app = bearer(await crowd.token(ada))
    path = f"/dicomweb/studies/{study}/metadata"
    async with httpx.AsyncClient(base_url=fresh_server.url, timeout=60) as web:
        assert (await web.get(path, headers=doctor)).status_code == 200
        reach = await reach_of(services, ada, restriction.PATIENT_UPDATE)
        await restriction.begin(services, ada.fhir_id, reach=reach, actor=actor_of(ada))
        assert (await web.get(path, headers=doctor)).status_code == 404
        assert (await web.get(path, headers=app)).status_code == 404
        assert (await store(web, instance(), **app)).status_code == 200
        await crowd.session(web, ada)
        assert (await web.get(path)).status_code == 200
        with pytest.raises(Conflict):
            await crowd.share(ada, await crowd.doctor("Cy Other"))
        await restriction.end(services, ada.fhir_id, reach=reach, actor=actor_of(ada))
        assert (await web.get(path, headers=doctor)).status_code == 200
    await restriction.begin_by_operator(services, ada.fhir_id, actor=operator(ops), why="asked by letter")
    with pytest.raises(Conflict):
        await restriction.end(services, ada.fhir_id, reach=reach, actor=actor_of(ada))
    await restriction.end_by_operator(services, ada.fhir_id, actor=operator(ops))


async def test_a_disclosure_is_told_or_its_notice_suspended(
    fresh_server: RunningServer, crowd: People
) -> None:
    """Row 49: a mail at once; where an authority suspends it nothing shows, and the mail comes on the date."""
    services, ada, ops = fresh_server.services, await crowd.patient(), await crowd.operator()
    reach = await reach_of(services, ada, restriction.PATIENT_UPDATE)
    facts = {"disclosed_at": clock.now(), "recipient": "Police", "description": "One CT", "purpose": "Case 7",
             "legal_basis": "Order 7/26", "actor": operator(ops)}  # fmt: skip
    await disclosures.add(services, ada.fhir_id, **facts)
    assert len(await disclosures.of_patient(services, reach=reach)) == 1
    until = clock.now() + 30 * DAY
    await disclosures.add(services, ada.fhir_id, **facts, suspended_until=until, suspended_by="Court")
    await work(services)
    assert len(await disclosures.of_patient(services, reach=reach)) == 1
    assert len(await mails_to(services, ada.email)) == 1
    assert len(await chain_events(services, ada)) == 2  # the first one, made and told
    clock.travel(31 * DAY)
    await work(services)
    assert len(await mails_to(services, ada.email)) == 2
    told = await disclosures.of_patient(services, reach=reach)
    assert [each.notified_to for each in told] == [1, 1]
    assert len(await disclosures.listed(services, actor=operator(ops))) == 2


async def chain_events(services: Services, person: Person) -> list[str]:
    """What the log of the record says of disclosures."""
    rows = await services.db.fetch_all(
        Statement(
            "events",
            "SELECT event FROM audit_event JOIN pseudonym ON pseudonym = chain"
            " WHERE subject = 'patient:' || :id::text AND event LIKE 'rights:disclosure%'",
        ),
        {"id": person.fhir_id},
    )
    return [row["event"] for row in rows]


async def test_every_consent_is_withdrawn_at_once(fresh_server: RunningServer, crowd: People) -> None:
    """Row 57: one act ends every share and every app; the next request of each is refused."""
    services, ada, bo = fresh_server.services, await crowd.patient("Ada Moor"), await crowd.doctor()
    study = await store_one(fresh_server, ada)
    await crowd.share(ada, bo)
    doctor, app = bearer(await crowd.token(bo, "user/*.cruds")), bearer(await crowd.token(ada))
    reach = await reach_of(services, ada, consents.CONSENT_UPDATE)
    assert {each.kind for each in await consents.given(services, actor=actor_of(ada), reach=reach)} == {
        "share",
        "app",
    }
    assert await consents.withdraw_all(services, actor=actor_of(ada), reach=reach) >= 2
    assert await consents.given(services, actor=actor_of(ada), reach=reach) == []
    async with httpx.AsyncClient(base_url=fresh_server.url, timeout=60) as web:
        path = f"/dicomweb/studies/{study}/metadata"
        assert (await web.get(path, headers=doctor)).status_code == 404
        assert (await web.get(path, headers=app)).status_code == 401


async def test_a_new_policy_is_told_and_asks(
    fresh_server: RunningServer, crowd: People, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rows 36, 59-60: a version bump mails everybody once and asks; no answer means no, the last word holds."""
    services, ada = fresh_server.services, await crowd.patient()
    await policy.announce(services)
    assert await mails_to(services, ada.email) == []
    asks = policy.Version(99, clock.now().date(), "Something new.", "May a machine decide?")
    monkeypatch.setattr(policy, "VERSIONS", (*policy.VERSIONS, asks))
    for _ in range(2):
        await policy.announce(services)
    [mail] = await mails_to(services, ada.email)
    assert "no answer means no" in text_of(mail)
    assert not await policy.agreed(services, ada.account_id, asks)
    said = {"language": "en", "who": actor_of(ada).who(), "patient_id": ada.fhir_id}
    await policy.answer(services, ada.account_id, asks, agreed=True, **said)
    assert await policy.agreed(services, ada.account_id, asks)
    await policy.answer(services, ada.account_id, asks, agreed=False, **said)
    assert not await policy.agreed(services, ada.account_id, asks)


async def test_a_doctor_leaves(fresh_server: RunningServer, crowd: People) -> None:
    """Row 54: an account without a profile goes too; shares with it end, the patient's log keeps who looked."""
    services, ada, bo = fresh_server.services, await crowd.patient("Ada Moor"), await crowd.doctor()
    share = await crowd.share(ada, bo)
    headers = bearer(await crowd.token(bo, "user/*.cruds")) | {"Content-Type": "application/fhir+json"}
    member = {"entity": {"reference": f"Patient/{ada.fhir_id}"}}
    group = {"resourceType": "Group", "type": "person", "actual": True, "name": "My list", "member": [member]}
    async with httpx.AsyncClient(base_url=fresh_server.url, headers=headers) as web:
        assert (await web.post("/fhir/Group", json=group)).status_code == 201
    await erased(services, bo)
    lists = Statement("lists", "SELECT count(*) FROM resource_version WHERE type = 'Group'")
    assert await services.db.fetch_val(lists) == 0  # what was only theirs goes with them
    assert sorted(await mentions(services, str(bo.account_id))) == [
        "public.resource",
        "public.resource_version",
    ]  # as author
    state = Statement("state", "SELECT state FROM share WHERE id = :id")
    assert await services.db.fetch_val(state, {"id": share}) == "ended"
    assert (await chain.verify(services.db))[1] == []


async def test_verify_shows_that_somebody_is_erased(
    fresh_server: RunningServer, crowd: People, tmp_path: Path
) -> None:
    """Beyond the seed 9: not in this server, and not in a backup made before once its keys file is destroyed."""
    services, ada, other = (
        fresh_server.services,
        await crowd.patient("Ada Moor"),
        await crowd.patient("Still Here"),
    )
    await store_one(fresh_server, ada)
    before, after = tmp_path / "before", tmp_path / "after"
    await back_up(services.db, services.objects, services.keyring, before)
    erasure_id = await erased(services, ada)
    await back_up(services.db, services.objects, services.keyring, after)
    for asked in (ada.fhir_id, str(erasure_id)):
        found = await proof.of_erasure(services, asked)
        assert found["proof_signed"]
        assert (found["rows"], found["readable"]) == ({}, False)
        with_keys = await proof.of_erasure(services, asked, backup=before, keys=keys_file(before))
        assert with_keys["backup"]["rows"] > 0
        assert with_keys["readable"]
        aged_out = await proof.of_erasure(services, asked, backup=before, keys=keys_file(after))
        assert not aged_out["readable"]
        assert (await proof.of_erasure(services, asked, backup=after))["backup"]["rows"] == 0
    with pytest.raises(NotFound):
        await proof.of_erasure(services, other.fhir_id)
