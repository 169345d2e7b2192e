"""A doctor asks for access: product rows 4 and 7. Known and unknown addresses answer alike."""

from __future__ import annotations

from datetime import timedelta

import pytest

from server.access.action import STUDY_READ, Verb
from server.access.actor import Actor, ActorKind
from server.accounts import people as accounts
from server.accounts import verification
from server.audit.who import Who
from server.core import clock
from server.core.errors import Conflict, Forbidden, TooManyRequests, Unprocessable
from server.records.people import register_patient
from server.sharing import request, share
from server.sharing.model import State
from tests.factories import Person
from tests.sharing_steps import actor_of, consent_reach, invite_and_accept, mails_to, text_of, work


async def sees(house, doctor, patient) -> bool:
    reach = await house.gate.reach_for_actor(actor_of(doctor), STUDY_READ)
    return await house.gate.reaches_patient(reach, patient.fhir_id)


async def shares(house, pat) -> list[share.Share]:
    return await share.list_for_patient(house, pat.fhir_id, reach=await consent_reach(house, pat, Verb.READ))


async def test_a_patient_allows_a_request(house, pat, doc):
    await request.ask(house, pat.email.upper(), message="before Tuesday", actor=actor_of(doc))
    await work(house)
    [mail] = await mails_to(house, pat.email)
    assert doc.name in text_of(mail)
    [waiting] = await shares(house, pat)
    assert (waiting.state, waiting.message, waiting.name) == (State.REQUESTED, "before Tuesday", doc.name)
    assert not await sees(house, doc, pat)
    granted = await share.grant(
        house, waiting.id, rights=("images",), actor=actor_of(pat), reach=await consent_reach(house, pat)
    )
    assert granted.state is State.ACTIVE
    assert await sees(house, doc, pat)
    [asked] = await request.asked_by(house, actor=actor_of(doc))
    assert (asked.state, asked.patient_id) == (State.ACTIVE, pat.fhir_id)
    with pytest.raises(Conflict):
        await share.refuse(house, waiting.id, actor=actor_of(pat), reach=await consent_reach(house, pat))


async def test_a_patient_refuses_a_request(house, pat, doc):
    await request.ask(house, pat.email, actor=actor_of(doc))
    await work(house)
    [waiting] = await shares(house, pat)
    refused = await share.refuse(
        house, waiting.id, actor=actor_of(pat), reach=await consent_reach(house, pat)
    )
    assert refused.state is State.DECLINED
    assert not await sees(house, doc, pat)


async def test_known_and_unknown_addresses_look_the_same_to_the_doctor(house, pat, doc):
    for email in (pat.email, "nobody@example.org"):
        assert await request.ask(house, email, actor=actor_of(doc)) is None
    await work(house)
    unknown, known = await request.asked_by(house, actor=actor_of(doc))
    assert (known.state, known.patient_id) == (unknown.state, unknown.patient_id) == (State.REQUESTED, None)
    assert len(await mails_to(house, pat.email)) == len(await mails_to(house, "nobody@example.org")) == 1
    clock.travel(timedelta(hours=336))
    await work(house)
    assert {each.state for each in await request.asked_by(house, actor=actor_of(doc))} == {State.EXPIRED}


async def test_a_new_patient_finds_the_request_waiting(house, doc):
    """Row 7: asked by mail, signed up, and the request is there."""
    await request.ask(house, "New.Patient@example.org", actor=actor_of(doc))
    await work(house)
    [mail] = await mails_to(house, "new.patient@example.org")
    assert "/sign-up" in text_of(mail)
    account = await accounts.add(
        house.db,
        email="new.patient@example.org",
        name="Nel New",
        role="patient",
        password=None,
        verified=False,
    )
    patient_id = await register_patient(house, who=Who(), name="Nel New", account_id=account.id)
    assert await request.take_up(house, account.id) == 0  # the address is not confirmed yet
    await verification.ask(house, account)
    [_, mail] = await mails_to(house, account.email)
    await verification.confirm(house, text_of(mail).partition("/verify/")[2].split()[0])
    await work(house)  # the page that confirms knows nothing of requests
    assert await request.take_up(house, account.id) == 0
    nel = Person(account.id, account.email, account.name, "patient", patient_id)
    [waiting] = await shares(house, nel)
    assert waiting.state is State.REQUESTED


async def test_only_registered_doctors_with_a_confirmed_address_ask(house, pat, make):
    account = await accounts.add(
        house.db, email="d@example.org", name="D", role="doctor", password=None, verified=True
    )
    for actor in (actor_of(pat), Actor(ActorKind.NOBODY), Actor(ActorKind.DOCTOR, account_id=account.id)):
        with pytest.raises(Forbidden):
            await request.ask(house, "x@example.org", actor=actor)


async def test_asking_again_or_of_whom_one_sees_makes_no_second_share(house, pat, doc):
    await request.ask(house, pat.email, actor=actor_of(doc))
    await request.ask(house, pat.email, actor=actor_of(doc))
    await work(house)
    assert len(await shares(house, pat)) == 1
    assert len(await mails_to(house, pat.email)) == 1


async def test_asking_whom_one_sees_already_changes_nothing(house, pat, doc):
    await invite_and_accept(house, pat, doc)
    before = await mails_to(house, pat.email)
    await request.ask(house, pat.email, actor=actor_of(doc))
    await work(house)
    assert len(await shares(house, pat)) == 1
    assert len(await mails_to(house, pat.email)) == len(before)


async def test_asking_for_oneself_does_nothing(house, doc):
    await register_patient(house, who=Who(), name="Bo Reader", account_id=doc.account_id)
    await request.ask(house, doc.email, actor=actor_of(doc))
    await work(house)
    assert await mails_to(house, doc.email) == []


async def test_a_doctor_does_not_fish_for_addresses(house, doc):
    for n in range(request.LIMIT.free):
        await request.ask(house, f"person{n}@nowhere.example", actor=actor_of(doc))
    with pytest.raises(TooManyRequests):
        await request.ask(house, "one.more@nowhere.example", actor=actor_of(doc))


async def test_what_is_no_address_is_refused(house, doc):
    with pytest.raises(Unprocessable):
        await request.ask(house, "no address", actor=actor_of(doc))
