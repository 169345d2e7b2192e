"""Whose an object is: decisions 6, 8 and 9."""

from __future__ import annotations

import pytest

from server.access.action import STUDY_STORE
from server.access.actor import Actor, ActorKind
from server.access.policy import decide
from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import NotFound
from server.imaging.entry import Identity
from server.imaging.identity import asserted_value, compare_with_profile
from server.imaging.report import StoreReport
from server.imaging.store import receive
from server.records import people
from server.records.names import givens, spoken
from server.storage.sql import Statement

from .conftest import Holder
from .samples import made, parts

PROFILE = {"name": [{"family": "Moor", "given": ["Ada", "Jane"]}], "birthDate": "1980-02-29"}


@pytest.mark.parametrize(
    ("name", "birth_day", "differs"),
    [
        ("Moor^Ada", "19800229", False),
        ("MOOR^ADA^JANE", "", False),
        ("Möor^Áda", "19800229", False),
        ("Moor", "19800229", False),
        ("Moor^", "", False),
        ("Ada Moor", "", False),
        ("Moor Ada", "", False),
        ("", "19800229", False),
        ("", "", False),
        ("Moor^Eve", "19800229", True),
        ("Other^Ada", "19800229", True),
        ("Moor^Ada", "19800228", True),
        ("", "19790101", True),
    ],
)
def test_when_an_object_differs(name: str, birth_day: str, differs: bool) -> None:
    assert compare_with_profile(Identity(names=(name, "", ""), birth_day=birth_day), PROFILE) is differs


def test_a_profile_without_a_value_differs_from_nothing() -> None:
    identity = Identity(names=("Other^Person", "", ""), birth_day="19800101")
    assert not compare_with_profile(identity, {})
    assert not compare_with_profile(identity, {"birthDate": "1980"})
    assert compare_with_profile(identity, {"birthDate": "1981-01"})


def test_a_given_name_without_a_value_is_none() -> None:
    """FHIR R4, 2.6.2.3: null stands where a part of the name has extensions only."""
    assert (givens({"given": [None, "Ada"]}), spoken({"given": [None], "family": "Moor"})) == (
        ["Ada"],
        "Moor",
    )
    for given in ([None], [None, "Ada"]):
        profile = {"name": [{"family": "Moor", "given": given}]}
        assert not compare_with_profile(Identity(names=("Moor^Ada", "", "")), profile)


def test_another_group_of_the_name_may_agree() -> None:
    profile = {"name": [{"family": "山田", "given": ["太郎"]}]}
    assert not compare_with_profile(Identity(names=("Yamada^Tarou", "山田^太郎", "")), profile)


def test_a_foreign_issuer_never_meets_an_own_number() -> None:
    assert asserted_value(Identity("7"), []) == "7"
    assert asserted_value(Identity("7", "OWN "), ["own"]) == "7"
    assert asserted_value(Identity("7", "Elsewhere"), ["own"]) == "7^^^Elsewhere"
    assert asserted_value(Identity(""), []) == ""


class Hospital:
    """A backend client of an organization."""

    def __init__(self, services: Services, organization_id: str) -> None:
        self.services = services
        self.organization_id = organization_id
        self.actor = Actor(ActorKind.CLIENT, organization_id=organization_id, client_id="pacs", name="PACS")

    async def store(self, *contents: bytes, patient_id: str | None = None) -> StoreReport:
        return await receive(
            self.services,
            parts(contents),
            reach=Reach(STUDY_STORE, decide(self.actor, STUDY_STORE)),
            actor=self.actor,
            patient_id=patient_id,
            study_uid=None,
        )


@pytest.fixture
async def hospital(services: Services) -> Hospital:
    organization = await people.register_organization(services, name="County", issuers=("COUNTY",))
    return Hospital(services, organization)


_ASSERT = Statement("assert", "INSERT INTO patient_identifier VALUES (:organization, :value, :patient)")
_STUDIES = Statement(
    "studies", "SELECT patient_id, study_uid, standing, organization_id FROM study ORDER BY created_at"
)


async def test_an_asserted_identifier_leads_to_its_patient(hospital: Hospital, holder: Holder) -> None:
    values = {"organization": hospital.organization_id, "value": "A-1", "patient": holder.patient_id}
    await hospital.services.db.execute(_ASSERT, values)
    report = await hospital.store(made(PatientName="Maiden^Name"), made(IssuerOfPatientID="County"))
    assert [each.patient_id for each in report.stored] == [holder.patient_id] * 2
    (study,) = await hospital.services.db.fetch_all(_STUDIES)
    assert (study["standing"], study["organization_id"]) == ("mine", hospital.organization_id)


async def test_a_new_number_makes_one_unclaimed_profile(hospital: Hospital, holder: Holder) -> None:
    report = await hospital.store(made(), made(StudyInstanceUID="1.2.9"), made(IssuerOfPatientID="ELSEWHERE"))
    own, again, foreign = [each.patient_id for each in report.stored]
    assert own == again
    assert len({own, foreign, holder.patient_id}) == 3
    later = await hospital.store(made(InstanceNumber=5))
    assert later.stored[0].patient_id == own


async def test_without_a_number_a_study_stays_together(hospital: Hospital) -> None:
    first = await hospital.store(made(PatientID=None))
    again = await hospital.store(made(PatientID=""), made(PatientID=None, StudyInstanceUID="1.2.9"))
    assert first.stored[0].patient_id == again.stored[0].patient_id
    assert again.stored[1].patient_id != again.stored[0].patient_id


async def test_a_hospital_does_not_reach_another_patient(hospital: Hospital, holder: Holder) -> None:
    with pytest.raises(NotFound):
        await hospital.store(made(), patient_id=holder.patient_id)
