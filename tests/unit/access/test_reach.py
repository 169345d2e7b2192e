"""Who sees what: the policy's lanes asked of living rows, for every kind of caller."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date, timedelta
from uuid import UUID, uuid4

import pytest

from server.access.action import STUDY_DELETE, STUDY_READ, STUDY_SEARCH, STUDY_STORE, Action, Right, Verb
from server.access.actor import NOBODY, Actor, ActorKind, Credential
from server.access.policy import decide
from server.access.reach import NOTHING, Reach
from server.access.scopes import Scopes
from server.audit.who import Who
from server.core import clock
from server.records.people import Registration, register_organization, register_patient, register_practitioner
from server.storage.sql import Statement

STUDIES = Statement("studies", "SELECT study_uid FROM study WHERE {reach} ORDER BY study_uid")
RESOURCES = Statement(
    "resources", "SELECT type || '/' || id AS name FROM resource WHERE type = :type AND {reach}"
)
PATIENTS = Statement("patients", "SELECT id FROM patient WHERE {reach}")
SQL = Statement
MODALITY = "http://dicom.nema.org/resources/ontology/DCM"


@dataclass
class World:
    """Two patients; one of them has a CT, an MR, one that differs, one not hers, one deleted."""

    services: object
    ada: str
    ada_account: UUID
    other: str
    other_account: UUID
    doctor: str
    doctor_account: UUID
    hospital: str

    def patient(self, **more) -> Actor:
        return Actor(ActorKind.PATIENT, account_id=self.ada_account, **more)

    def stranger(self) -> Actor:
        return Actor(ActorKind.PATIENT, account_id=self.other_account)

    def reader(self, **more) -> Actor:
        return Actor(ActorKind.DOCTOR, account_id=self.doctor_account, practitioner_id=self.doctor, **more)

    def system(self, **more) -> Actor:
        return Actor(ActorKind.CLIENT, client_id="pacs", organization_id=self.hospital, **more)

    async def studies(
        self, actor: Actor, action: Action = STUDY_READ, right: Right | None = None
    ) -> list[str]:
        reach = Reach(action, decide(actor, action, right), actor.credential)
        return [
            row["study_uid"] for row in await self.services.db.fetch_all(STUDIES, {}, reach=reach.studies())
        ]

    async def resources(self, actor: Actor, type: str, verb: Verb = Verb.READ) -> list[str]:
        action = Action(type, verb)
        reach = Reach(action, decide(actor, action), actor.credential)
        rows = await self.services.db.fetch_all(RESOURCES, {"type": type}, reach=reach.resources())
        return sorted(row["name"] for row in rows)

    async def do(self, sql: str, **values) -> None:
        await self.services.db.execute(Statement("one", sql), values)

    async def share(self, **given) -> str:
        values = {
            "patient_id": self.ada,
            "id": str(uuid4()),
            "practitioner_id": self.doctor,
            "organization_id": None,
            "name": "Dr",
            "state": "active",
            "rights": ["images", "reports"],
            "studies": None,
            "until": None,
            "created_at": clock.now(),
        } | given
        names = ", ".join(values)
        await self.do(
            f"INSERT INTO share ({names}) VALUES ({', '.join(':' + name for name in values)})", **values
        )
        return values["id"]


@pytest.fixture
async def world(services) -> World:
    db, now, who = services.db, clock.now(), Who(name="test")
    accounts = {}
    for name, role in (("ada", "patient"), ("other", "patient"), ("doctor", "doctor")):
        accounts[name] = uuid4()
        values = {
            "id": accounts[name],
            "email": f"{name}@example.org",
            "name": name,
            "role": role,
            "now": now,
        }
        await db.execute(
            Statement(
                "account",
                "INSERT INTO account (id, email, email_folded, name, role, password_hash, created_at)"
                " VALUES (:id, :email, :email, :name, :role, '', :now)",
            ),
            values,
        )
    hospital = await register_organization(services, name="Hospital")
    made = World(
        services,
        await register_patient(services, who=who, name="Ada Moor", account_id=accounts["ada"]),
        accounts["ada"],
        await register_patient(services, who=who, name="Oth Er", account_id=accounts["other"]),
        accounts["other"],
        await register_practitioner(
            services,
            account_id=accounts["doctor"],
            name="Doc",
            email="d@example.org",
            registration=Registration(),
            verified=True,
        ),
        accounts["doctor"],
        hospital,
    )
    for patient, uid, modalities, standing, deleted, organization in (
        (made.ada, "1.1", ["CT"], "mine", None, hospital),
        (made.ada, "1.2", ["MR", "PT"], "mine", None, None),
        (made.ada, "1.3", ["CT"], "differs", None, None),
        (made.ada, "1.4", ["CT"], "not-mine", None, None),
        (made.ada, "1.5", ["CT"], "mine", now, None),
        (made.other, "2.1", ["CT"], "mine", None, None),
    ):
        await made.do(
            "INSERT INTO study (patient_id, study_uid, fhir_id, standing, deleted_at, organization_id, modalities,"
            " created_at, updated_at) VALUES (:patient, :uid, :id, :standing, :deleted, :org, :modalities, :now, :now)",
            patient=patient,
            uid=uid,
            id=str(uuid4()),
            standing=standing,
            deleted=deleted,
            org=organization,
            modalities=modalities,
            now=now,
        )
    return made


async def test_the_owner_sees_what_is_hers_and_what_waits_for_her_word(world):
    assert await world.studies(world.patient()) == ["1.1", "1.2", "1.3"]


async def test_a_stranger_and_nobody_see_nothing_of_hers(world):
    assert await world.studies(world.stranger()) == ["2.1"]
    assert await world.studies(NOBODY) == []
    assert await world.studies(Actor(ActorKind.OPERATOR, account_id=world.doctor_account)) == []
    assert not NOTHING
    rows = await world.services.db.fetch_all(STUDIES, {}, reach=NOTHING.studies())
    assert rows == []


async def test_a_doctor_sees_what_is_shared_while_it_is(world):
    assert await world.studies(world.reader()) == []
    share = await world.share()
    assert await world.studies(world.reader()) == ["1.1", "1.2"]
    await world.do("UPDATE share SET state = 'ended' WHERE id = :id", id=share)
    assert await world.studies(world.reader()) == []


@pytest.mark.parametrize("state", ["requested", "invited", "declined", "withdrawn", "expired", "ended"])
async def test_only_an_active_share_opens(world, state):
    await world.share(state=state)
    assert await world.studies(world.reader()) == []


async def test_a_share_ends_at_its_chosen_end(world):
    await world.share(until=clock.now() + timedelta(hours=1))
    assert await world.studies(world.reader()) == ["1.1", "1.2"]
    clock.travel(timedelta(hours=1, seconds=1))
    assert await world.studies(world.reader()) == []


async def test_chosen_studies_only_and_never_one_that_differs(world):
    await world.share(studies=["1.2", "1.3"])
    assert await world.studies(world.reader()) == ["1.2"]


async def test_rights_of_a_share(world):
    await world.share(rights=["reports"])
    assert await world.studies(world.reader()) == []
    await world.share(rights=["images"])
    assert await world.studies(world.reader()) == ["1.1", "1.2"]
    assert await world.studies(world.reader(), right=Right.DOWNLOAD) == []
    assert await world.studies(world.reader(), STUDY_STORE) == []
    assert await world.studies(world.reader(), STUDY_DELETE) == []
    await world.share(rights=["images", "download", "add"], studies=["1.1"])
    assert await world.studies(world.reader(), right=Right.DOWNLOAD) == ["1.1"]
    assert await world.studies(world.reader(), STUDY_STORE) == ["1.1"]


async def test_restriction_closes_others_not_the_owner(world):
    await world.share()
    await world.do("UPDATE patient SET state = 'restricted' WHERE id = :id", id=world.ada)
    assert await world.studies(world.reader()) == []
    assert await world.studies(world.system()) == []
    assert await world.studies(world.system(trusted=True)) == ["2.1"]
    assert await world.studies(world.patient()) == ["1.1", "1.2", "1.3"]
    await world.do("UPDATE patient SET state = 'erasing' WHERE id = :id", id=world.ada)
    assert await world.studies(world.patient()) == []


async def test_a_suspended_doctor_sees_nothing(world):
    await world.share()
    await world.do("UPDATE practitioner SET verification = 'suspended' WHERE id = :id", id=world.doctor)
    assert await world.studies(world.reader()) == []


async def test_a_system_sees_what_its_organization_brought_or_what_is_shared_with_it(world):
    assert await world.studies(world.system()) == ["1.1"]
    await world.share(practitioner_id=None, organization_id=world.hospital)
    assert await world.studies(world.system()) == ["1.1", "1.2"]
    assert await world.studies(world.system(trusted=True)) == ["1.1", "1.2", "2.1"]


@pytest.mark.parametrize(
    ("scope", "context", "seen"),
    [
        ("patient/*.cruds", "ada", ["1.1", "1.2", "1.3"]),
        ("patient/ImagingStudy.r", "ada", ["1.1", "1.2", "1.3"]),
        ("patient/ImagingStudy.s", "ada", []),
        ("patient/Patient.r", "ada", []),
        ("patient/ImagingStudy.r", "other", []),
        ("patient/ImagingStudy.r", None, []),
        ("user/ImagingStudy.r", None, ["1.1", "1.2", "1.3"]),
        ("system/ImagingStudy.r", "ada", []),
        (f"patient/ImagingStudy.r?modality={MODALITY}|CT", "ada", ["1.1", "1.3"]),
        ("patient/ImagingStudy.r?modality=PT", "ada", ["1.2"]),
        ("patient/ImagingStudy.r?modality=http://other.example|CT", "ada", []),
        (
            "patient/ImagingStudy.r?modality=CT patient/ImagingStudy.r?modality=MR",
            "ada",
            ["1.1", "1.2", "1.3"],
        ),
        ("patient/ImagingStudy.r?modality=CT user/Patient.r", "ada", ["1.1", "1.3"]),
    ],
)
async def test_a_token_never_sees_more_than_its_scopes_and_its_user(world, scope, context, seen):
    patient = {"ada": world.ada, "other": world.other, None: None}[context]
    actor = world.patient(scopes=Scopes.parse(scope), context_patient=patient)
    assert await world.studies(actor) == seen


async def test_a_doctors_token_never_exceeds_the_shares(world):
    scoped = world.reader(scopes=Scopes.parse("patient/*.cruds user/*.cruds"), context_patient=world.ada)
    assert await world.studies(scoped) == []
    await world.share(studies=["1.2"])
    assert await world.studies(scoped) == ["1.2"]
    elsewhere = replace(scoped, scopes=Scopes.parse("patient/*.cruds"), context_patient=world.other)
    assert await world.studies(elsewhere) == []


async def test_a_root_narrows_to_its_patient(world):
    reach = Reach(STUDY_SEARCH, decide(world.system(trusted=True), STUDY_SEARCH)).at(world.other)
    rows = await world.services.db.fetch_all(STUDIES, {}, reach=reach.studies())
    assert [row["study_uid"] for row in rows] == ["2.1"]


async def test_a_dead_session_or_grant_reaches_nothing(world):
    now, session = clock.now(), uuid4()
    await world.do(
        "INSERT INTO session (id, secret_hash, account_id, csrf_token, created_at, seen_at, confirmed_at, idle_until,"
        " expires_at) VALUES (:id, 'x', :account, '', :now, :now, :now, :later, :later)",
        id=session,
        account=world.ada_account,
        now=now,
        later=now + timedelta(minutes=30),
    )
    actor = world.patient(credential=Credential(session_id=session))
    assert len(await world.studies(actor)) == 3
    await world.do("UPDATE session SET ended_at = created_at WHERE id = :id", id=session)
    assert await world.studies(actor) == []
    assert await world.studies(world.patient(credential=Credential(grant_id=uuid4()))) == []


async def test_resources_follow_the_patient_the_type_and_the_study(world):
    from server.records import store

    async def put(type: str, id: str, patient: str, study: str | None = None) -> None:
        body = {"resourceType": type, "id": id, "status": "final"}
        await store.put(world.services.db, body, patient_id=patient, study_uid=study, author="server")

    await put("ImagingStudy", "ct", world.ada, "1.1")
    await put("ImagingStudy", "differs", world.ada, "1.3")
    await put("ImagingStudy", "gone", world.ada, "1.5")
    await put("DiagnosticReport", "on-ct", world.ada, "1.1")
    await put("DiagnosticReport", "loose", world.ada)
    await put("ImagingStudy", "theirs", world.other, "2.1")

    assert await world.resources(world.patient(), "ImagingStudy") == [
        "ImagingStudy/ct",
        "ImagingStudy/differs",
    ]
    assert await world.resources(world.patient(), "Patient") == [f"Patient/{world.ada}"]
    assert await world.resources(world.reader(), "Patient") == []
    share = await world.share(rights=["images"], studies=["1.1"])
    assert await world.resources(world.reader(), "ImagingStudy") == ["ImagingStudy/ct"]
    assert await world.resources(world.reader(), "Patient") == [f"Patient/{world.ada}"]
    assert await world.resources(world.reader(), "DiagnosticReport") == []
    await world.do("UPDATE share SET rights = '{images,reports}' WHERE id = :id", id=share)
    assert await world.resources(world.reader(), "DiagnosticReport") == ["DiagnosticReport/on-ct"]
    narrowed = world.patient(
        scopes=Scopes.parse("patient/ImagingStudy.rs?modality=MR patient/DiagnosticReport.rs"),
        context_patient=world.ada,
    )
    assert await world.resources(narrowed, "ImagingStudy") == []
    assert len(await world.resources(narrowed, "DiagnosticReport")) == 2
    assert await world.resources(world.reader(), "AuditEvent") == []


async def test_of_the_consents_the_doctor_sees_the_own_one_only(world):
    from server.records import store

    share = await world.share()
    for consent in (share, "another"):
        body = {"resourceType": "Consent", "id": consent, "status": "active"}
        await store.put(world.services.db, body, patient_id=world.ada, author="server")
    assert await world.resources(world.reader(), "Consent") == [f"Consent/{share}"]
    assert len(await world.resources(world.patient(), "Consent")) == 2
    assert await world.resources(world.reader(), "Consent", Verb.UPDATE) == []


async def test_a_system_finds_the_endpoint_of_what_it_brought(world):
    from server.records import store

    for patient in (world.ada, world.other):
        body = {"resourceType": "Endpoint", "id": f"wado-{patient}", "status": "active"}
        await store.put(world.services.db, body, patient_id=patient, author="server")
    assert await world.resources(world.system(), "Endpoint") == [f"Endpoint/wado-{world.ada}"]


async def test_a_doctor_who_is_a_patient_too_wears_one_hat_and_chooses_among_both_through_an_index(world):
    await world.share(studies=["1.2"])
    await world.do(
        "INSERT INTO holder (patient_id, account_id, since) VALUES (:patient, :account, :now)",
        patient=world.other,
        account=world.doctor_account,
        now=clock.now(),
    )
    holder = Actor(ActorKind.PATIENT, account_id=world.doctor_account)
    both = replace(holder, practitioner_id=world.doctor)
    assert await world.studies(world.reader()) == ["1.2"]
    assert await world.studies(holder) == ["2.1"]
    assert await world.studies(both) == ["1.2", "2.1"]
    reach = Reach(STUDY_READ, decide(both, STUDY_READ))
    explained = Statement("explain", "EXPLAIN SELECT study_uid FROM study WHERE {reach}")
    await world.do("SET enable_seqscan = off")  # the table is tiny: is there an index that answers?
    plan = [row[0] for row in await world.services.db.fetch_all(explained, {}, reach=reach.studies())]
    assert any("patient_id = ANY" in line and "Index Cond" in line for line in plan), plan


async def test_a_profile_that_somebody_owns_is_no_longer_who_brought_its(world):
    await world.do(
        "INSERT INTO patient_identifier (organization_id, value, patient_id) VALUES (:hospital, '7', :patient)",
        hospital=world.hospital,
        patient=world.ada,
    )
    for verb in (Verb.READ, Verb.UPDATE, Verb.DELETE):
        assert await world.resources(world.system(), "Patient", verb) == []
    assert await world.studies(world.system()) == ["1.1"]
    assert await world.studies(world.system(), STUDY_DELETE) == []
    await world.do("UPDATE patient SET claimed_at = NULL WHERE id = :id", id=world.ada)
    for verb in (Verb.READ, Verb.UPDATE, Verb.DELETE):
        assert await world.resources(world.system(), "Patient", verb) == [f"Patient/{world.ada}"]
    assert await world.studies(world.system(), STUDY_DELETE) == ["1.1"]


async def test_a_project_of_research_reads_what_is_of_those_who_take_part(world: World) -> None:
    """Rows 47, 48, 57: the permission and the project's own yes, asked of living rows; each end closes it at once."""
    project, now = uuid4(), clock.now()
    await world.do(
        "INSERT INTO research_project (id, name, organization, description, purpose, contact, dates, characteristics,"
        " device, descriptors, faces, sealed_key, created_at, approved_at, until) VALUES (:id, 'p', 'o', 'd',"
        " 'education', 'c', true, true, false, true, false, '', :now, :now, :until)",
        id=project, now=now, until=now + timedelta(days=9),
    )  # fmt: skip
    actor = Actor(ActorKind.PROJECT, project_id=str(project))
    assert await world.studies(actor) == []

    async def permit(given: bool, account: UUID = world.ada_account) -> None:
        await world.do(
            "INSERT INTO permission (account_id, purpose, given, at, text_hash, text_version, language, channel)"
            " VALUES (:account, 'education', :given, :now, '', 1, 'en', 'account')",
            account=account, given=given, now=clock.now(),
        )  # fmt: skip

    async def join() -> None:
        await world.do(
            "INSERT INTO research_member (id, patient_id, account_id, project_id, pseudonym, joined_at, text_hash,"
            " text_version, language, given_at) VALUES (:id, :patient, :account, :project, :pseudonym, :now, '', 1,"
            " 'en', :now)",
            id=uuid4(), patient=world.ada, account=world.ada_account, project=project, pseudonym=str(uuid4()),
            now=clock.now(),
        )  # fmt: skip

    await join()
    assert await world.studies(actor) == []  # without the permission for research of its kind
    await permit(True)
    await permit(True, world.other_account)
    mine = await world.studies(Actor(ActorKind.PATIENT, account_id=world.ada_account))
    seen = await world.studies(actor)
    assert seen
    assert set(seen) < set(mine)  # not the one that differs
    assert await world.resources(actor, "DiagnosticReport") == []
    assert await world.studies(actor, STUDY_DELETE) == await world.studies(actor, STUDY_STORE) == []
    closings = (
        (
            "UPDATE patient SET state = 'restricted' WHERE id = :ada",
            "UPDATE patient SET state = 'active' WHERE id = :ada",
        ),
        (
            "UPDATE holder SET as_what = 'guardian' WHERE patient_id = :ada",
            "UPDATE holder SET as_what = 'self' WHERE patient_id = :ada",
        ),
        ("UPDATE research_project SET ended_at = created_at", "UPDATE research_project SET ended_at = NULL"),
        (
            "UPDATE research_project SET approved_at = NULL",
            "UPDATE research_project SET approved_at = created_at",
        ),
    )
    for close, reopen in closings:
        values = {"ada": world.ada} if ":ada" in close else {}
        await world.do(close, **values)
        assert await world.studies(actor) == [], close
        await world.do(reopen, **values)
        assert await world.studies(actor) == seen
    await permit(False)
    await permit(True)
    assert await world.studies(actor) == []  # taken back is left; given again joins nothing
    await join()
    assert await world.studies(actor) == seen
    await world.do(
        "INSERT INTO merger (id, patient_id, source_id, merged_at) VALUES (:id, :other, :ada, :now)",
        id=uuid4(), other=world.other, ada=world.ada, now=clock.now(),
    )  # fmt: skip
    assert await world.studies(actor) == []  # what became part of another record has no page to leave from
    await join()
    await world.do("DELETE FROM study WHERE patient_id = :ada", ada=world.ada)
    await world.do("DELETE FROM research_member WHERE patient_id = :ada", ada=world.ada)  # as an erasure does
    gone = Statement("gone", "SELECT pseudonym FROM research_withdrawal WHERE project_id = :project")
    assert len(await world.services.db.fetch_all(gone, {"project": project})) == 3


async def test_what_is_left_out_of_a_condition_opened_nothing_more(world, monkeypatch):
    """`widest` of lanes against all of them, over living rows: every caller, type and interaction."""
    from server.access import reach as reaching
    from server.records import store

    for type in (
        "Patient",
        "ImagingStudy",
        "Endpoint",
        "DiagnosticReport",
        "Observation",
        "Consent",
        "Group",
    ):
        for patient, study, author in (
            (world.ada, "1.1", "server"),
            (world.ada, None, f"organization:{world.hospital}"),
            (world.other, "2.1", "server"),
            ("", None, "client:pacs"),
        ):
            body = {"resourceType": type, "id": str(uuid4()), "status": "final"}
            await store.put(world.services.db, body, patient_id=patient, study_uid=study, author=author)
    await world.share(
        practitioner_id=None, organization_id=world.hospital, rights=["images", "add"], studies=["1.1"]
    )
    await world.share(rights=["images", "reports", "download"])
    own = {"scopes": Scopes.parse("patient/*.cruds user/*.rs fhirUser"), "fhir_user": f"Patient/{world.ada}"}
    narrow = Scopes.parse("system/*.cruds system/ImagingStudy.rs?modality=CT system/Endpoint.rs")
    callers = (
        world.patient(context_patient=world.ada, **own),
        world.reader(scopes=Scopes.parse("patient/*.rs user/*.cruds"), context_patient=world.ada),
        world.system(trusted=True),
        world.system(trusted=True, scopes=narrow),
        world.system(trusted=True, scopes=Scopes.parse("system/ImagingStudy.rs?modality=MR")),
        world.system(scopes=narrow),
    )

    async def seen() -> list[object]:
        reaching._condition.cache_clear()
        found: list[object] = []
        for caller in callers:
            for verb in Verb:
                found.append(await world.studies(caller, Action("ImagingStudy", verb)))
                for type in ("Patient", "ImagingStudy", "Endpoint", "DiagnosticReport", "Consent", "Group"):
                    found.append(await world.resources(caller, type, verb))
        return found

    kept = await seen()
    with monkeypatch.context() as patched:
        patched.setattr(reaching, "widest", lambda lanes: lanes)
        everything = await seen()
    reaching._condition.cache_clear()
    assert kept == everything
    assert len({str(each) for each in kept}) > 10


async def test_an_endpoint_by_a_filter_of_several_days_is_of_its_own_studies(world):
    """A scope of two days opens no Endpoint where only somebody else's study is of one of them."""
    from server.records import store

    for patient, name in ((world.ada, "hers"), (world.other, "theirs")):
        body = {"resourceType": "Endpoint", "id": name, "status": "active"}
        await store.put(world.services.db, body, patient_id=patient, study_uid=None, author="server")
    when = "UPDATE study SET study_date = :day WHERE study_uid = :uid"
    await world.do(when, day=date(2021, 1, 1), uid="2.1")
    scope = Scopes.parse("patient/ImagingStudy.rs?started=2020-01-01,2021-01-01")
    hers = world.patient(scopes=scope, context_patient=world.ada)
    assert await world.resources(hers, "Endpoint") == []
    await world.do(when, day=date(2020, 1, 1), uid="1.1")
    assert await world.resources(hers, "Endpoint") == ["Endpoint/hers"]
