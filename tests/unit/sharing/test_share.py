"""Shares between a patient and a doctor: product rows 4-6 and 30-35."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import orjson
import pytest

from server.access.action import STUDY_READ, Right, Verb
from server.access.actor import Actor, ActorKind, Credential
from server.access.reach import NOTHING
from server.accounts import attempts, sessions
from server.accounts import people as accounts
from server.core import clock
from server.core.errors import (
    AlreadyStored,
    Conflict,
    Forbidden,
    Gone,
    NotFound,
    TooManyRequests,
    Unprocessable,
)
from server.records import store
from server.sharing import invitation, share
from server.sharing.consent_json import STATE
from server.sharing.model import State
from server.storage.sql import Statement
from tests.sharing_steps import (
    actor_of,
    consent_reach,
    invitation_to,
    invite,
    invite_and_accept,
    mails_to,
    text_of,
    work,
)

WAITS = timedelta(hours=336)
A_MOMENT = timedelta(seconds=1)


async def consent(house, pat, share_id) -> dict:
    reach = await consent_reach(house, pat, Verb.READ)
    return orjson.loads((await store.read(house.db, "Consent", share_id, reach=reach)).json)


async def state_of(house, pat, share_id) -> State:
    return (await share.get(house, share_id, reach=await consent_reach(house, pat, Verb.READ))).state


async def events(house) -> list[str]:
    rows = await house.db.fetch_all(Statement("t", "SELECT event FROM audit_event ORDER BY at"))
    return [row["event"] for row in rows if row["event"].startswith("share:")]


async def sees(house, doctor, patient, right: Right | None = None) -> bool:
    reach = await house.gate.reach_for_actor(actor_of(doctor), STUDY_READ, right=right)
    return await house.gate.reaches_patient(reach, patient.fhir_id)


async def test_an_invitation_gives_nothing_until_it_is_accepted(house, pat, doc):
    """Rows 31, 32, 34; decided: access starts at accept, not at mail."""
    made, secret = await invite(house, pat, doc.email)
    assert made.state is State.INVITED
    assert not await sees(house, doc, pat)
    accepted = await invitation.accept(house, secret, actor=actor_of(doc))
    assert (accepted.id, accepted.state, accepted.practitioner_id) == (made.id, State.ACTIVE, doc.fhir_id)
    assert await sees(house, doc, pat)
    assert await events(house) == ["share:invitation:sent", "share:invitation:accepted"]
    [mail] = await mails_to(house, pat.email)
    assert "accepted" in mail["Subject"]


async def test_the_consent_follows_the_share(house, pat, doc):
    made, secret = await invite(house, pat, doc.email)
    waiting = await consent(house, pat, made.id)
    assert waiting["status"] == "proposed"
    assert waiting["contained"][0]["telecom"] == [{"system": "email", "value": doc.email}]
    await invitation.accept(house, secret, actor=actor_of(doc))
    active = await consent(house, pat, made.id)
    assert (active["status"], active["meta"]["versionId"]) == ("active", "2")
    assert "contained" not in active
    assert active["provision"]["actor"][0]["reference"]["reference"] == f"Practitioner/{doc.fhir_id}"
    await share.end(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    ended = await consent(house, pat, made.id)
    assert ended["status"] == "inactive"
    assert ended["extension"] == [{"url": STATE, "valueCode": "ended"}]
    assert "end" in ended["provision"]["period"]


async def test_ending_is_at_once(house, pat, doc):
    """Row 6."""
    share_id = await invite_and_accept(house, pat, doc)
    assert await sees(house, doc, pat)
    await share.end(house, share_id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    assert not await sees(house, doc, pat)
    assert await state_of(house, pat, share_id) is State.ENDED
    assert "ended sharing" in "".join(text_of(mail) for mail in await mails_to(house, doc.email))
    with pytest.raises(Conflict):
        await share.end(house, share_id, actor=actor_of(pat), reach=await consent_reach(house, pat))


@pytest.mark.parametrize("moved", [WAITS - A_MOMENT, WAITS - timedelta(minutes=1), timedelta(0)])
async def test_before_336_hours_the_link_works(house, pat, doc, moved):
    """Row 33."""
    _, secret = await invite(house, pat, doc.email)
    clock.travel(moved)
    assert await invitation.look(house, secret)
    assert (await invitation.accept(house, secret, actor=actor_of(doc))).state is State.ACTIVE


@pytest.mark.parametrize("moved", [WAITS, WAITS + A_MOMENT, WAITS * 3])
async def test_from_336_hours_on_it_is_expired_and_can_be_sent_again(house, pat, doc, moved):
    """Row 33; before and after the job has written it down."""
    made, secret = await invite(house, pat, doc.email)
    clock.travel(moved)
    assert await state_of(house, pat, made.id) is State.EXPIRED
    assert await invitation.look(house, secret) is None
    with pytest.raises(Gone):
        await invitation.accept(house, secret, actor=actor_of(doc))
    await work(house)
    assert (await consent(house, pat, made.id))["status"] == "inactive"
    assert "share:invitation:expired" in await events(house)
    await work(house)
    assert (await events(house)).count("share:invitation:expired") == 1
    await share.resend(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    fresh = await invitation_to(house, doc.email)
    with pytest.raises(Gone):
        await invitation.accept(house, secret, actor=actor_of(doc))
    assert (await invitation.accept(house, fresh, actor=actor_of(doc))).state is State.ACTIVE


async def test_the_336_hours_are_to_the_microsecond(house, pat, doc, monkeypatch):
    made, secret = await invite(house, pat, doc.email)
    monkeypatch.setattr(clock, "now", lambda: made.waits_until - timedelta(microseconds=1))
    assert await invitation.look(house, secret)
    monkeypatch.setattr(clock, "now", lambda: made.waits_until)
    assert await invitation.look(house, secret) is None
    assert made.waits_until - made.created_at < WAITS + A_MOMENT


async def test_withdrawing_kills_the_link_at_once(house, pat, doc):
    """Row 35."""
    made, secret = await invite(house, pat, doc.email)
    await share.withdraw(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    assert await invitation.look(house, secret) is None
    with pytest.raises(Gone):
        await invitation.accept(house, secret, actor=actor_of(doc))
    assert await state_of(house, pat, made.id) is State.WITHDRAWN
    assert not await sees(house, doc, pat)


async def test_dead_links_answer_alike(house, pat, make):
    doctors = [await make.doctor() for _ in range(3)]
    answers = set()
    secrets = ["made up", *[(await invite(house, pat, each.email))[1] for each in doctors]]
    shares = await share.list_for_patient(
        house, pat.fhir_id, reach=await consent_reach(house, pat, Verb.READ)
    )
    await share.withdraw(house, shares[0].id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    await invitation.decline(house, secrets[2])
    await invitation.accept(house, secrets[1], actor=actor_of(doctors[0]))
    for secret in secrets:
        with pytest.raises(Gone) as refusal:
            await invitation.accept(house, secret, actor=actor_of(doctors[2]))
        answers.add(str(refusal.value))
        assert await invitation.look(house, secret) is None
    assert len(answers) == 1


async def test_a_mail_scanner_opens_the_link_and_nothing_happens(house, pat, doc):
    made, secret = await invite(house, pat, doc.email)
    before = await consent(house, pat, made.id)
    for _ in range(5):
        seen = await invitation.look(house, secret)
        assert seen is not None
        assert not hasattr(seen, "share")  # nothing of the patient for a stranger
    assert await invitation.offer(house, secret, actor=Actor(ActorKind.NOBODY)) is None
    assert await consent(house, pat, made.id) == before
    assert await state_of(house, pat, made.id) is State.INVITED


async def test_of_two_accepts_at_once_one_wins(house, pat, doc):
    _, secret = await invite(house, pat, doc.email)
    accepting = [invitation.accept(house, secret, actor=actor_of(doc)) for _ in range(4)]
    answers = await asyncio.gather(*accepting, return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["Gone", "Gone", "Gone", "Share"]
    assert (await events(house)).count("share:invitation:accepted") == 1


async def test_accept_and_withdraw_at_once_leave_one_outcome(house, pat, doc):
    for _ in range(5):
        made, secret = await invite(house, pat, doc.email)
        reach = await consent_reach(house, pat)
        answers = await asyncio.gather(
            invitation.accept(house, secret, actor=actor_of(doc)),
            share.withdraw(house, made.id, actor=actor_of(pat), reach=reach),
            return_exceptions=True,
        )
        won = [each for each in answers if isinstance(each, share.Share)]
        assert len(won) == 1, answers
        state = await state_of(house, pat, made.id)
        assert state is won[0].state
        assert await sees(house, doc, pat) == (state is State.ACTIVE)
        expected = {"active": "active", "withdrawn": "inactive"}[state]
        assert (await consent(house, pat, made.id))["status"] == expected
        if state is State.ACTIVE:
            await share.end(house, made.id, actor=actor_of(pat), reach=reach)


async def test_only_the_invited_confirmed_doctors_account_accepts(house, pat, doc, make):
    """Row 45; decided: the accepting account's verified e-mail equals the invited one."""
    _, secret = await invite(house, pat, doc.email)
    other = await make.doctor()
    patient = await make.patient()
    for wrong in (other, patient, pat):
        with pytest.raises(Forbidden):
            await invitation.accept(house, secret, actor=actor_of(wrong))
        assert await invitation.offer(house, secret, actor=actor_of(wrong)) is None
    with pytest.raises(Forbidden):
        await invitation.accept(house, secret, actor=Actor(ActorKind.NOBODY))
    assert (await invitation.offer(house, secret, actor=actor_of(doc))).inviter == pat.name
    assert await invitation.accept(house, secret, actor=actor_of(doc))


async def test_an_unconfirmed_address_does_not_accept_until_the_link_proves_it(house, pat):
    from server.records import people as records

    account = await accounts.add(
        house.db, email="New.Doc@example.org", name="Nia New", role="doctor", password=None, verified=False
    )
    fhir_id = await records.register_practitioner(
        house,
        account_id=account.id,
        name=account.name,
        email=account.email,
        registration=records.Registration(),
        verified=False,
    )
    actor = Actor(ActorKind.DOCTOR, account_id=account.id, practitioner_id=fhir_id, name=account.name)
    _, secret = await invite(house, pat, "new.doc@EXAMPLE.org")
    with pytest.raises(Forbidden):
        await invitation.accept(house, secret, actor=actor)
    assert await invitation.waiting(house, actor=actor) == []
    assert not await invitation.prove_address(house, "made up", actor=actor)
    assert await invitation.prove_address(house, secret, actor=actor)
    assert await invitation.accept(house, secret, actor=actor)


async def test_the_link_of_one_proves_no_address_of_another(house, pat, doc, make):
    _, secret = await invite(house, pat, doc.email)
    assert not await invitation.prove_address(house, secret, actor=actor_of(await make.doctor()))


async def test_a_suspended_doctor_does_not_accept(house, pat, doc):
    _, secret = await invite(house, pat, doc.email)
    await house.db.execute(Statement("t", "UPDATE practitioner SET verification = 'suspended'"))
    with pytest.raises(Forbidden):
        await invitation.accept(house, secret, actor=actor_of(doc))


async def test_a_signed_out_doctor_does_not_accept(house, pat, doc):
    _, secret = await invite(house, pat, doc.email)
    session, _ = await sessions.start(house.db, doc.account_id)
    actor = Actor(
        ActorKind.DOCTOR,
        account_id=doc.account_id,
        practitioner_id=doc.fhir_id,
        credential=Credential(session_id=session.id),
    )
    await sessions.end_all(house.db, doc.account_id)
    with pytest.raises(Forbidden):
        await invitation.accept(house, secret, actor=actor)


async def test_waiting_invitations_are_accepted_without_the_link(house, pat, doc, make):
    made, _ = await invite(house, pat, doc.email)
    other = await make.doctor()
    [offer] = await invitation.waiting(house, actor=actor_of(doc))
    assert (offer.share.id, offer.inviter) == (made.id, pat.name)
    assert await invitation.waiting(house, actor=actor_of(other)) == []
    for stranger in (other, pat):
        with pytest.raises(NotFound):
            await invitation.accept_waiting(house, made.id, actor=actor_of(stranger))
        with pytest.raises(NotFound):
            await invitation.decline_waiting(house, made.id, actor=actor_of(stranger))
    assert (await invitation.accept_waiting(house, made.id, actor=actor_of(doc))).state is State.ACTIVE


async def test_declined_is_not_withdrawn(house, pat, doc):
    made, secret = await invite(house, pat, doc.email)
    await invitation.decline(house, secret)
    assert await state_of(house, pat, made.id) is State.DECLINED
    assert (await consent(house, pat, made.id))["status"] == "rejected"
    assert "declined" in (await mails_to(house, pat.email))[-1]["Subject"]
    with pytest.raises(Gone):
        await invitation.accept(house, secret, actor=actor_of(doc))


async def test_inviting_twice_resends(house, pat, doc):
    first, old = await invite(house, pat, doc.email)
    clock.travel(timedelta(days=3))
    second, new = await invite(house, pat, doc.email.upper(), rights=("images",))
    assert first.id == second.id
    assert second.rights == {Right.IMAGES}
    assert second.waits_until - first.waits_until >= timedelta(days=3)
    with pytest.raises(Gone):
        await invitation.accept(house, old, actor=actor_of(doc))
    assert await invitation.accept(house, new, actor=actor_of(doc))
    with pytest.raises(AlreadyStored):
        await invite(house, pat, doc.email)


async def test_what_time_has_ended_does_not_stand_in_the_way(house, pat, doc):
    """Also before the job has written down that it is over."""
    reach = await consent_reach(house, pat)
    made, secret = await invite(house, pat, doc.email)
    until = clock.now() + timedelta(days=1)
    await share.change(
        house, made.id, rights=("images",), studies=None, until=until, actor=actor_of(pat), reach=reach
    )
    await invitation.accept(house, secret, actor=actor_of(doc))
    clock.travel(timedelta(days=2))
    again, secret = await invite(house, pat, doc.email)
    assert again.id != made.id
    await invitation.accept(house, secret, actor=actor_of(doc))
    await work(house)
    assert await sees(house, doc, pat)
    assert await state_of(house, pat, made.id) is State.ENDED


async def test_two_invitations_of_one_doctor_at_once_are_one(house, pat, doc):
    await asyncio.gather(invite(house, pat, doc.email), invite(house, pat, doc.email))
    shares = await share.list_for_patient(
        house, pat.fhir_id, reach=await consent_reach(house, pat, Verb.READ)
    )
    assert len(shares) == 1


async def test_after_the_end_the_doctor_can_be_invited_again(house, pat, doc):
    first = await invite_and_accept(house, pat, doc)
    await share.end(house, first, actor=actor_of(pat), reach=await consent_reach(house, pat))
    second = await invite_and_accept(house, pat, doc)
    assert first != second
    assert await sees(house, doc, pat)


async def test_nobody_fills_mailboxes(house, pat, monkeypatch):
    monkeypatch.setattr("server.sharing.acts.INVITATIONS", attempts.Limit("invitations", free=2, longest=60))
    for n in range(2):
        await invite(house, pat, f"doctor{n}@example.org")
    with pytest.raises(TooManyRequests):
        await invite(house, pat, "doctor3@example.org")


async def test_sharing_with_oneself_is_refused(house, pat):
    with pytest.raises(Unprocessable):
        await invite(house, pat, pat.email)


async def test_a_doctor_who_is_the_patient_does_not_accept_their_own(house, pat, doc):
    """The profile is held by the doctor's account as well: nothing to share."""
    _, secret = await invite(house, pat, doc.email)
    await house.db.execute(
        Statement(
            "t", "INSERT INTO holder (patient_id, account_id, since) VALUES (:patient, :account, :now)"
        ),
        {"patient": pat.fhir_id, "account": doc.account_id, "now": clock.now()},
    )
    with pytest.raises(Forbidden):
        await invitation.accept(house, secret, actor=actor_of(doc))


async def test_one_doctor_invited_by_two_addresses(house, pat, doc):
    """The account has one address: the other invitation waits for whoever confirms that one."""
    _, secret = await invite(house, pat, doc.email)
    _, other = await invite(house, pat, "bo.private@example.org")
    with pytest.raises(Forbidden):
        await invitation.accept(house, other, actor=actor_of(doc))
    assert await invitation.accept(house, secret, actor=actor_of(doc))


async def test_a_stranger_reaches_no_share(house, pat, doc, make):
    made, _ = await invite(house, pat, doc.email)
    for stranger in (doc, await make.patient(), await make.doctor()):
        reach, actor = await consent_reach(house, stranger), actor_of(stranger)
        read = await consent_reach(house, stranger, Verb.READ)
        assert await share.list_for_patient(house, pat.fhir_id, reach=read) == []
        for act in (share.withdraw, share.end, share.resend, share.refuse, share.grant):
            with pytest.raises(NotFound):
                await act(house, made.id, actor=actor, reach=reach)
        with pytest.raises(NotFound):
            await share.get(house, made.id, reach=read)
        with pytest.raises(NotFound):
            await share.invite(
                house,
                pat.fhir_id,
                name="X",
                email="x@example.org",
                actor=actor,
                reach=await consent_reach(house, stranger, Verb.CREATE),
            )
    with pytest.raises(NotFound):
        await share.end(house, made.id, actor=actor_of(pat), reach=NOTHING)
    assert await state_of(house, pat, made.id) is State.INVITED


async def test_an_unsuitable_invitation_leaves_nothing(house, pat):
    wrong = [
        {"email": "not an address"},
        {"name": "  "},
        {"rights": ()},
        {"rights": ("everything",)},
        {"studies": []},
        {"studies": ["1.2.3"]},
        {"message": "x" * 2001},
    ]
    for each in wrong:
        with pytest.raises(Unprocessable):
            await invite(house, pat, **({"email": "doc@example.org"} | each))
    reach = await consent_reach(house, pat, Verb.READ)
    assert await share.list_for_patient(house, pat.fhir_id, reach=reach) == []
    assert await mails_to(house, "doc@example.org") == []
    assert await events(house) == []


async def test_a_share_ends_at_its_chosen_end(house, pat, doc):
    until = clock.now() + timedelta(days=30)
    share_id = await invite_and_accept(house, pat, doc)
    await share.change(
        house,
        share_id,
        rights=("images",),
        studies=None,
        until=until,
        actor=actor_of(pat),
        reach=await consent_reach(house, pat),
    )
    assert await sees(house, doc, pat)
    assert not await sees(house, doc, pat, Right.DOWNLOAD)
    clock.travel(timedelta(days=30, seconds=1))
    assert not await sees(house, doc, pat)
    assert await state_of(house, pat, share_id) is State.ENDED
    await work(house)
    ended = await share.get(house, share_id, reach=await consent_reach(house, pat, Verb.READ))
    assert (ended.stored_state, ended.ended_at) == (State.ENDED, until)


async def test_the_doctor_can_give_it_back(house, pat, doc, make):
    share_id = await invite_and_accept(house, pat, doc)
    with pytest.raises(NotFound):
        await invitation.give_back(house, share_id, actor=actor_of(await make.doctor()))
    await invitation.give_back(house, share_id, actor=actor_of(doc))
    assert not await sees(house, doc, pat)
    assert await state_of(house, pat, share_id) is State.ENDED


async def test_a_doctors_list_has_whom_they_see(house, pat, doc, make):
    other = await make.patient("Bea Loft")
    await invite_and_accept(house, pat, doc)
    share_id = await invite_and_accept(house, other, doc)
    await invite(house, await make.patient(), doc.email)
    patients = await share.list_for_practitioner(house, actor=actor_of(doc))
    assert {each.name for each in patients} == {pat.name, "Bea Loft"}
    await share.end(house, share_id, actor=actor_of(other), reach=await consent_reach(house, other))
    [left] = await share.list_for_practitioner(house, actor=actor_of(doc))
    assert left.share.patient_id == pat.fhir_id


async def test_the_patient_sees_who_the_doctor_is_and_when_they_looked(house, pat, doc):
    """Row 5."""
    made, secret = await invite(house, pat, doc.email, name="Dr Typed")
    assert (await share.doctor_of(house, made)).name == "Dr Typed"
    accepted = await invitation.accept(house, secret, actor=actor_of(doc))
    known = await share.doctor_of(house, accepted)
    assert (known.name, known.specialty, known.registration_number) == (doc.name, "Radiology", "1234567")
    assert known.verification == "verified"
    await share.note_look(house, pat.fhir_id, doc.fhir_id)
    looked = await share.get(house, made.id, reach=await consent_reach(house, pat, Verb.READ))
    assert looked.last_looked_at is not None


async def test_no_mail_names_a_patient_or_repeats_the_message(house, pat, doc):
    made, secret = await invite(house, pat, doc.email, message="my knee MRI, see you on Tuesday")
    await invitation.accept(house, secret, actor=actor_of(doc))
    await share.end(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    made, secret = await invite(house, pat, doc.email)
    await share.withdraw(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    mails = await mails_to(house, doc.email) + await mails_to(house, pat.email)
    assert len(mails) == 5
    for mail in mails:
        whole = mail.as_string()
        for word in ("Ada", "Moor", "knee", "MRI", pat.fhir_id):
            assert word not in whole


async def test_a_failure_in_the_middle_leaves_nothing(house, pat, doc, monkeypatch):
    """One transaction: share, Consent, event and mail, or none of them."""

    async def broken(*args: object, **kwargs: object) -> None:
        raise RuntimeError

    monkeypatch.setattr("server.sharing.notify.mailer.post", broken)
    with pytest.raises(RuntimeError):
        await invite(house, pat, doc.email)
    for table in ("share", "job"):
        assert await house.db.fetch_val(Statement("t", f"SELECT count(*) FROM {table}")) == 0
    assert (
        await house.db.fetch_val(Statement("t", "SELECT count(*) FROM resource WHERE type = 'Consent'")) == 0
    )
    assert await events(house) == []
