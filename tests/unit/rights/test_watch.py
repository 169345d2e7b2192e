"""The watch over the log: each rule finds what it is for, once, and not what is usual (product row 50)."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest

from server.accounts import sessions
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock
from server.core.settings import WrongSetting, read_settings
from server.jobs.queue import Periodic
from server.rights import incidents, watch
from tests.factories import People
from tests.sharing_steps import actor_of, mails_to, text_of


@pytest.fixture
def crowd(services):
    return People(services)


def who(person) -> Who:
    return actor_of(person).who()


async def found(services, operator) -> dict[str, incidents.Incident]:
    await watch.run(services)
    return {each.rule: each for each in await incidents.listed(services, actor=actor_of(operator))}


async def sign_in_at(services, person, hours: float, address: str) -> None:
    """A session begun some hours from now (or ago)."""
    before = clock._offset
    clock.travel(before + timedelta(hours=hours))
    await sessions.start(services.db, person.account_id, address=address)
    clock.travel(before)


async def test_mass_download(services, crowd):
    """Many records in an hour: an incident with the records, one mail, the metric; it grows and is not doubled."""
    olga, doctor, owner = await crowd.operator(), await crowd.doctor(), await crowd.patient()
    for _ in range(200):
        await services.audit.record(Event.STUDY_DOWNLOADED, who=who(owner), patient_id=owner.fhir_id)
    patients = [await crowd.patient() for _ in range(15)]
    for each in patients[:14]:
        await services.audit.record(Event.STUDY_DOWNLOADED, who=who(doctor), patient_id=each.fhir_id)
    assert await found(services, olga) == {}  # the owner's own, and 14 records, are usual
    metric = incidents.ALERTS.labels("mass-download")._value.get()
    await services.audit.record(Event.RECORD_EXPORTED, who=who(doctor), patient_id=patients[14].fhir_id)
    one = (await found(services, olga))["mass-download"]
    assert (one.account_id, one.count, one.patients) == (doctor.account_id, 15, 15)
    assert incidents.ALERTS.labels("mass-download")._value.get() == metric + 1
    clock.travel(timedelta(minutes=5))
    await services.audit.record(Event.STUDY_DOWNLOADED, who=who(doctor), patient_id=patients[0].fhir_id)
    again = await found(services, olga)
    assert len(again) == 1
    assert (again["mass-download"].id, again["mass-download"].count) == (one.id, 16)
    mails = await mails_to(services, olga.email)
    assert len(mails) == 1
    assert doctor.name not in text_of(mails[0])
    clock.travel(timedelta(hours=26))
    assert len(await found(services, olga)) == 1
    story = await incidents.story(services, one.id, actor=actor_of(olga))
    assert sorted(story.patients) == sorted(each.fhir_id for each in patients)


async def test_a_busy_system_is_no_incident(services, crowd):
    olga, patient, system = await crowd.operator(), await crowd.patient(), await crowd.backend()
    of_system = Who(role="client", client_id=system.client_id)
    for _ in range(100):
        await services.audit.record(Event.STUDY_DOWNLOADED, who=of_system, patient_id=patient.fhir_id)
    assert await found(services, olga) == {}


async def test_refusals_and_wrong_passwords(services, crowd):
    olga, doctor, patient = await crowd.operator(), await crowd.doctor(), await crowd.patient()
    for number in range(10):
        assert ("many-refusals" in await found(services, olga)) is False
        await services.audit.record(
            Event.ACCESS_REFUSED,
            who=who(doctor),
            patient_id=patient.fhir_id if number % 2 else None,
            outcome=Outcome.REFUSED,
        )
    for _ in range(10):
        await services.audit.record(
            Event.SIGN_IN_FAILED, who=who(patient), patient_id=patient.fhir_id, outcome=Outcome.REFUSED
        )
    for _ in range(99):
        await services.audit.record(Event.SIGN_IN_FAILED, who=Who(role="nobody"), patient_id=None)
    seen = await found(services, olga)
    assert set(seen) == {"many-refusals", "guessing"}
    assert seen["guessing"].account_id == patient.account_id
    assert seen["many-refusals"].patients == 1
    await services.audit.record(Event.SIGN_IN_FAILED, who=Who(role="nobody"), patient_id=None)
    await watch.run(services)
    rows = await incidents.listed(services, actor=actor_of(olga))
    assert sorted(each.rule for each in rows) == ["guessing", "guessing", "many-refusals"]


async def test_places_hours_and_shared_credentials(services, crowd):
    """Staff from a new neighbourhood, at night, and from two networks at once; patients travel as they like."""
    olga, doctor, patient = await crowd.operator(), await crowd.doctor(), await crowd.patient()
    noon = clock.now().replace(hour=12, minute=0, second=0) + timedelta(days=1)
    clock.travel(noon - clock.now())
    for day in range(25):
        for person in (doctor, patient):
            await sign_in_at(services, person, -24 * (day + 1), f"192.0.2.{day}")
    await sign_in_at(services, doctor, 0, "192.0.7.7")  # the same neighbourhood
    assert await found(services, olga) == {}
    await sessions.end_all(services.db, doctor.account_id)
    for person in (doctor, patient):
        await sign_in_at(services, person, 0.01, "203.0.113.9")
    clock.travel(clock._offset + timedelta(minutes=1))
    seen = await found(services, olga)
    assert set(seen) == {"unusual-place"}
    assert seen["unusual-place"].account_id == doctor.account_id
    for person in (doctor, patient):
        await sign_in_at(services, person, 0.01, "192.0.2.9")
    clock.travel(clock._offset + timedelta(minutes=1))
    seen = await found(services, olga)
    assert set(seen) == {"unusual-place", "shared-credentials"}
    clock.travel(clock._offset + timedelta(hours=14))  # two in the morning
    await sign_in_at(services, doctor, 0, "192.0.2.9")
    await sign_in_at(services, patient, 0, "192.0.2.9")
    seen = await found(services, olga)
    assert set(seen) == {"unusual-place", "shared-credentials", "unusual-hour"}


async def test_emergencies_and_spent_keys_are_looked_at(services, crowd):
    from server.rights import emergency

    olga, patient = await crowd.operator(), await crowd.patient()
    await emergency.begin(
        services, patient.fhir_id, reason="unconscious in the ward tonight", actor=actor_of(olga)
    )
    await services.audit.record(Event.TOKEN_REUSED, who=who(patient), patient_id=patient.fhir_id)
    seen = await found(services, olga)
    assert set(seen) == {"emergency", "token-reused"}
    assert seen["emergency"].patients == 1


def test_it_runs_every_minute():
    [turn] = watch.KIT.periodic
    assert isinstance(turn, Periodic)
    assert turn.every == timedelta(minutes=1)


def test_neighbourhoods():
    assert watch.area_of("192.0.2.7") == watch.area_of("192.0.200.1") == "192.0.0.0/16"
    assert watch.area_of("2001:db8:1:2::/64") == "2001:db8::/32"
    assert watch.area_of("unix") == "unix"


async def test_limits_are_settings(services, crowd):
    """LIGHTBOX_WATCH over the defaults; names that are none stop the start."""
    olga, doctor = await crowd.operator(), await crowd.doctor()
    strict = replace(services, settings=services.settings.model_copy(update={"watch": (("refusals", 2),)}))
    for _ in range(2):
        await services.audit.record(Event.ACCESS_REFUSED, who=who(doctor), patient_id=None)
    assert await found(services, olga) == {}
    assert set(await found(strict, olga)) == {"many-refusals"}
    assert read_settings(watch="wrong=3, looks_records=7").watch_limits["looks_records"] == 7
    with pytest.raises(WrongSetting):
        read_settings(watch="everything=1")
