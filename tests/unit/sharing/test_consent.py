"""Consents through FHIR are shares, and the other way round (decision 5; fhir.md, "Consent = share")."""

from __future__ import annotations

import asyncio
from copy import deepcopy
from datetime import UTC, datetime, timedelta

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.access.action import STUDY_READ, Right, Verb
from server.core import clock
from server.core.errors import Conflict, Gone, NotFound, PreconditionFailed, Unprocessable
from server.records import store, validate
from server.sharing import consent, invitation, share
from server.sharing.consent_json import (
    RIGHT,
    STATE,
    NotEnforceable,
    consent_of,
    end_of_moment,
    start_of_moment,
    terms_of,
)
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


def a_consent(patient, *, status: str = "active", practitioner: str | None = None, email: str = "") -> dict:
    """What an app posts."""
    consent = {
        "resourceType": "Consent",
        "status": status,
        "scope": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient.fhir_id}"},
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {
            "type": "permit",
            "actor": [
                {
                    "role": {
                        "coding": [
                            {
                                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                                "code": "IRCP",
                            }
                        ]
                    },
                    "reference": {"reference": f"Practitioner/{practitioner}" if practitioner else "#doctor"},
                }
            ],
        },
    }
    if not practitioner:
        doctor = {
            "resourceType": "Practitioner",
            "id": "doctor",
            "name": [{"family": "Reader", "given": ["Bo"]}],
        }
        consent["contained"] = [doctor | {"telecom": [{"system": "email", "value": email}]}]
    return consent


async def post(house, pat, resource) -> dict:
    reach = await consent_reach(house, pat, Verb.CREATE)
    stored = await consent.create(house, resource, actor=actor_of(pat), reach=reach, patient_id=pat.fhir_id)
    return orjson.loads(stored.json)


async def put(house, pat, resource, **more) -> dict:
    reach = await consent_reach(house, pat)
    stored = await consent.update(
        house, resource, actor=actor_of(pat), reach=reach, patient_id=pat.fhir_id, **more
    )
    return orjson.loads(stored.json)


async def read(house, pat, consent_id) -> dict:
    reach = await consent_reach(house, pat, Verb.READ)
    return orjson.loads((await store.read(house.db, "Consent", consent_id, reach=reach)).json)


async def the_share(house, pat, share_id) -> share.Share:
    return await share.get(house, share_id, reach=await consent_reach(house, pat, Verb.READ))


async def shares(house, pat) -> list[share.Share]:
    return await share.list_for_patient(house, pat.fhir_id, reach=await consent_reach(house, pat, Verb.READ))


async def sees(house, doctor, patient, right: Right | None = None) -> bool:
    reach = await house.gate.reach_for_actor(actor_of(doctor), STUDY_READ, right=right)
    return await house.gate.reaches_patient(reach, patient.fhir_id)


def state_in(resource) -> str:
    return next(each["valueCode"] for each in resource["extension"] if each["url"] == STATE)


async def test_active_and_registered_holds_at_once_and_the_doctor_is_told(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    assert (made["status"], state_in(made), made["meta"]["versionId"]) == ("active", "active", "1")
    assert await sees(house, doc, pat)
    assert await sees(house, doc, pat, Right.DOWNLOAD)
    assert not await sees(house, doc, pat, Right.ADD)
    [mail] = await mails_to(house, doc.email)
    assert "given you access" in mail["Subject"]
    assert await read(house, pat, made["id"]) == made


async def test_an_e_mail_waits_for_accept_however_active_it_was_posted(house, pat, doc):
    made = await post(house, pat, a_consent(pat, email=doc.email))
    assert (made["status"], state_in(made), made["meta"]["versionId"]) == ("proposed", "invited", "1")
    assert not await sees(house, doc, pat)
    await invitation.accept(house, await invitation_to(house, doc.email), actor=actor_of(doc))
    accepted = await read(house, pat, made["id"])
    assert accepted["status"] == "active"
    assert "contained" not in accepted
    assert accepted["provision"]["actor"][0]["reference"]["reference"] == f"Practitioner/{doc.fhir_id}"
    assert await sees(house, doc, pat)


async def test_proposed_and_registered_is_an_invitation(house, pat, doc):
    made = await post(house, pat, a_consent(pat, status="proposed", practitioner=doc.fhir_id))
    assert made["status"] == "proposed"
    assert not await sees(house, doc, pat)
    [offer] = await invitation.waiting(house, actor=actor_of(doc))
    assert offer.share.id == made["id"]
    assert (await put(house, pat, made | {"status": "active"}))["status"] == "active"
    assert await sees(house, doc, pat)
    with pytest.raises(Gone):
        await invitation.accept(house, await invitation_to(house, doc.email), actor=actor_of(doc))


@pytest.mark.parametrize("word", ["inactive", "rejected", "entered-in-error"])
async def test_inactive_ends_at_once(house, pat, doc, word):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    ended = await put(house, pat, made | {"status": word})
    assert (ended["status"], state_in(ended), ended["meta"]["versionId"]) == (word, "ended", "2")
    assert not await sees(house, doc, pat)
    assert (await the_share(house, pat, made["id"])).state is State.ENDED
    assert any("ended sharing" in text_of(mail) for mail in await mails_to(house, doc.email))


async def test_what_the_portal_shared_is_ended_through_fhir(house, pat, doc):
    share_id = await invite_and_accept(house, pat, doc)
    await put(house, pat, await read(house, pat, share_id) | {"status": "inactive"})
    assert not await sees(house, doc, pat)


async def test_what_waits_is_withdrawn_through_fhir(house, pat, doc):
    made, secret = await invite(house, pat, doc.email)
    withdrawn = await put(house, pat, await read(house, pat, made.id) | {"status": "inactive"})
    assert state_in(withdrawn) == "withdrawn"
    with pytest.raises(Gone):
        await invitation.accept(house, secret, actor=actor_of(doc))


async def test_what_fhir_shared_is_ended_by_the_portal(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id) | {"language": "de"})
    await share.end(house, made["id"], actor=actor_of(pat), reach=await consent_reach(house, pat))
    ended = await read(house, pat, made["id"])
    assert (ended["status"], ended["language"]) == ("inactive", "de")


async def test_deleting_ends(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    reach = await consent_reach(house, pat, Verb.DELETE)
    with pytest.raises(PreconditionFailed):
        await consent.delete(house, made["id"], actor=actor_of(pat), reach=reach, if_match=7)
    assert await sees(house, doc, pat)
    await consent.delete(house, made["id"], actor=actor_of(pat), reach=reach, if_match=1)
    assert not await sees(house, doc, pat)
    with pytest.raises(Gone):
        await read(house, pat, made["id"])


async def test_extra_elements_are_kept(house, pat, doc):
    sent = a_consent(pat, email=doc.email) | {
        "language": "fr",
        "identifier": [{"system": "urn:x", "value": "7"}],
        "text": {"status": "generated", "div": '<div xmlns="http://www.w3.org/1999/xhtml">x</div>'},
        "extension": [{"url": "http://example.org/x", "valueDecimal": 1.5}],
        "verification": [{"verified": True}],
    }
    sent["provision"]["extension"] = [{"url": "http://example.org/y", "valueString": "y"}]
    sent["provision"]["period"] = {"start": "2020-01"}
    made = await post(house, pat, deepcopy(sent))
    await invitation.accept(house, await invitation_to(house, doc.email), actor=actor_of(doc))
    accepted = await read(house, pat, made["id"])
    for resource in (made, accepted):
        for name in ("language", "identifier", "text", "verification", "policy", "category", "scope"):
            assert resource[name] == sent[name]
        assert sent["extension"][0] in resource["extension"]
        assert sent["provision"]["extension"][0] in resource["provision"]["extension"]
        assert resource["provision"]["period"] == {"start": "2020-01"}
    assert made["contained"] == sent["contained"]


NARROWER = {
    "a nested deny": {"provision": [{"type": "deny"}]},
    "a security label": {"securityLabel": [{"code": "R"}]},
    "a class": {"class": [{"code": "DiagnosticReport"}]},
    "a code": {"code": [{"text": "x"}]},
    "a data period": {"dataPeriod": {"start": "2020"}},
    "a deny": {"type": "deny"},
    "no type": {"type": None},
    "another purpose": {"purpose": [{"code": "HRESCH"}]},
    "a later start": {"period": {"start": "2999-01-01"}},
    "an unknown action": {"action": [{"coding": [{"code": "dance"}]}]},
    "related data": {"data": [{"meaning": "related", "reference": {"reference": "ImagingStudy/x"}}]},
    "other data": {"data": [{"meaning": "instance", "reference": {"reference": "Observation/x"}}]},
    "a study that is not there": {
        "data": [{"meaning": "instance", "reference": {"reference": "ImagingStudy/x"}}]
    },
    "nobody": {"actor": []},
    "a modifier": {"modifierExtension": [{"url": "http://example.org/not", "valueBoolean": True}]},
}


@pytest.mark.parametrize("narrower", NARROWER.values(), ids=NARROWER.keys())
async def test_active_and_more_than_can_be_enforced_is_refused_whole(house, pat, doc, narrower):
    resource = a_consent(pat, practitioner=doc.fhir_id)
    resource["provision"] |= narrower
    with pytest.raises(Unprocessable) as refusal:
        await post(house, pat, resource)
    assert isinstance(refusal.value, NotEnforceable)
    assert await shares(house, pat) == []
    assert not await sees(house, doc, pat)
    assert (
        await house.db.fetch_val(Statement("t", "SELECT count(*) FROM resource WHERE type = 'Consent'")) == 0
    )


async def test_the_same_not_active_is_kept_and_grants_nothing(house, pat, doc):
    resource = a_consent(pat, status="proposed", practitioner=doc.fhir_id)
    resource["provision"] |= NARROWER["a nested deny"]
    kept = await post(house, pat, resource)
    assert kept["provision"] == resource["provision"]
    assert await shares(house, pat) == []
    with pytest.raises(NotEnforceable):
        await put(house, pat, kept | {"status": "active"})
    assert not await sees(house, doc, pat)


async def test_a_consent_about_something_else_is_kept_and_grants_nothing(house, pat, doc):
    resource = a_consent(pat, practitioner=doc.fhir_id)
    resource["scope"]["coding"][0]["code"] = "research"
    kept = await post(house, pat, resource)
    assert kept["status"] == "active"
    assert await shares(house, pat) == []
    assert not await sees(house, doc, pat)


@pytest.mark.parametrize(
    "recipient",
    ["Practitioner/nobody", "Organization/nobody", "Patient/x", "http://x.org/Practitioner/1", "#gone"],
)
async def test_an_unknown_recipient_is_refused(house, pat, recipient):
    resource = a_consent(pat, practitioner="x")
    resource["provision"]["actor"][0]["reference"]["reference"] = recipient
    with pytest.raises(NotEnforceable):
        await post(house, pat, resource)


async def test_an_organization_sees_at_once(house, pat, make):
    provider = await make.provider()
    resource = a_consent(pat, practitioner="x")
    resource["provision"]["actor"][0]["reference"] = {"reference": f"Organization/{provider.fhir_id}"}
    made = await post(house, pat, resource)
    assert made["status"] == "active"
    assert (await the_share(house, pat, made["id"])).organization_id == provider.fhir_id
    again = deepcopy(resource)
    with pytest.raises(Conflict):
        await post(house, pat, again)


async def test_one_living_consent_for_a_recipient(house, pat, doc):
    await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    for resource in (a_consent(pat, practitioner=doc.fhir_id), a_consent(pat, email=doc.email)):
        with pytest.raises(Conflict):
            await post(house, pat, resource)
    assert len(await shares(house, pat)) == 1


async def test_two_consents_at_once_are_one(house, pat, doc):
    both = [post(house, pat, a_consent(pat, practitioner=doc.fhir_id)) for _ in range(3)]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["Conflict", "Conflict", "dict"]


async def test_sharing_with_oneself_is_refused(house, pat, doc):
    with pytest.raises(Unprocessable):
        await post(house, pat, a_consent(pat, email=pat.email))
    await house.db.execute(
        Statement(
            "t", "INSERT INTO holder (patient_id, account_id, since) VALUES (:patient, :account, :now)"
        ),
        {"patient": pat.fhir_id, "account": doc.account_id, "now": clock.now()},
    )
    with pytest.raises(Unprocessable):
        await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))


async def test_a_stranger_writes_no_consent(house, pat, doc, make):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    for stranger in (doc, await make.patient()):
        reach = await consent_reach(house, stranger, Verb.CREATE)
        actor = actor_of(stranger)
        with pytest.raises(Unprocessable):
            await consent.create(
                house, a_consent(pat, email="x@example.org"), actor=actor, reach=reach, patient_id=pat.fhir_id
            )
        reach = await consent_reach(house, stranger)
        with pytest.raises(NotFound):
            await consent.update(
                house, made | {"status": "inactive"}, actor=actor, reach=reach, patient_id=pat.fhir_id
            )
        reach = await consent_reach(house, stranger, Verb.DELETE)
        with pytest.raises(NotFound):
            await consent.delete(house, made["id"], actor=actor, reach=reach)
    assert await sees(house, doc, pat)


async def test_the_terms_change_and_the_recipient_does_not(house, pat, doc, make):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    until = (clock.now() + timedelta(days=2)).date().isoformat()
    made["provision"] |= {"extension": [{"url": RIGHT, "valueCode": "images"}], "period": {"end": until}}
    changed = await put(house, pat, made)
    assert changed["provision"]["period"]["end"] == until
    now = await the_share(house, pat, made["id"])
    assert (now.rights, now.until) == ({Right.IMAGES}, end_of_moment(until))
    assert not await sees(house, doc, pat, Right.DOWNLOAD)
    other = await make.doctor()
    changed["provision"]["actor"][0]["reference"] = {"reference": f"Practitioner/{other.fhir_id}"}
    with pytest.raises(Unprocessable):
        await put(house, pat, changed)
    assert not await sees(house, other, pat)
    clock.travel(timedelta(days=3, seconds=1))
    assert not await sees(house, doc, pat)
    await work(house)
    assert (await read(house, pat, made["id"]))["status"] == "inactive"


async def test_what_holds_is_not_proposed_again(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    with pytest.raises(Unprocessable):
        await put(house, pat, made | {"status": "proposed"})
    assert await sees(house, doc, pat)


async def test_what_is_over_begins_anew(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    ended = await put(house, pat, made | {"status": "inactive"})
    ended["provision"]["period"].pop("end")
    assert (await put(house, pat, ended | {"status": "active"}))["status"] == "active"
    assert await sees(house, doc, pat)


async def test_an_expired_one_is_proposed_again(house, pat, doc):
    made = await post(house, pat, a_consent(pat, email=doc.email))
    clock.travel(timedelta(hours=336))
    await work(house)
    old = await read(house, pat, made["id"])
    assert state_in(old) == "expired"
    old["provision"]["period"].pop("end")
    again = await put(house, pat, old | {"status": "proposed"})
    assert state_in(again) == "invited"
    assert await invitation.accept(house, await invitation_to(house, doc.email), actor=actor_of(doc))


async def test_a_put_that_changes_nothing_makes_no_version_and_no_mail(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    assert await put(house, pat, made) == made
    assert len(await mails_to(house, doc.email)) == 1


async def test_if_match_is_asked_before_anything_happens(house, pat, doc):
    made = await post(house, pat, a_consent(pat, practitioner=doc.fhir_id))
    with pytest.raises(PreconditionFailed):
        await put(house, pat, made | {"status": "inactive"}, if_match=9)
    assert await sees(house, doc, pat)


async def test_every_consent_we_make_is_valid_and_reads_back_as_its_share(house, pat, doc):
    made, secret = await invite(house, pat, doc.email, rights=("images", "pass-on"))
    steps = [await read(house, pat, made.id)]
    await invitation.accept(house, secret, actor=actor_of(doc))
    steps.append(await read(house, pat, made.id))
    await share.end(house, made.id, actor=actor_of(pat), reach=await consent_reach(house, pat))
    steps.append(await read(house, pat, made.id))
    for each in steps:
        await validate.check(each)
    waiting, active = (terms_of(each) for each in steps[:2])
    assert (waiting.recipient, waiting.email) == (None, doc.email)
    assert active.recipient == f"Practitioner/{doc.fhir_id}"
    assert waiting.rights == active.rights == {Right.IMAGES, Right.PASS_ON}


@given(
    state=st.sampled_from(State),
    rights=st.sets(st.sampled_from(Right), min_size=1),
    bound=st.booleans(),
    until=st.none() | st.datetimes(min_value=datetime(2031, 1, 1), max_value=datetime(2090, 1, 1)),  # noqa: DTZ001
)
def test_share_to_consent_to_terms_loses_nothing(state, rights, bound, until):
    when = datetime(2030, 1, 1, tzinfo=UTC)
    until = until.replace(tzinfo=UTC, microsecond=0) if until else None
    one = share.Share(
        id="c1",
        patient_id="p1",
        practitioner_id="d1" if bound else None,
        organization_id=None,
        name="Bo",
        email="bo@example.org",
        stored_state=state,
        rights=frozenset(rights),
        studies=None,
        message="",
        created_at=when,
        waits_until=None,
        accepted_at=None,
        until=until,
        ended_at=None,
        last_looked_at=None,
        parent_id=None,
    )
    made = consent_of(one, {})
    try:
        clock.travel(when + timedelta(days=1) - datetime.now(UTC))
        terms = terms_of(made)
    finally:
        clock.travel(timedelta())
    assert (terms.rights, terms.until) == (one.rights, until)
    assert (terms.recipient, terms.email) == (("Practitioner/d1", "") if bound else (None, "bo@example.org"))
    assert consent_of(one, {}, made) == made


@pytest.mark.parametrize(
    ("text", "start", "end"),
    [
        ("2026", "2026-01-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2026-12", "2026-12-01T00:00:00+00:00", "2027-01-01T00:00:00+00:00"),
        ("2024-02", "2024-02-01T00:00:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("2024-02-29", "2024-02-29T00:00:00+00:00", "2024-03-01T00:00:00+00:00"),
        ("2026-05-04T10:11:12.5Z", "2026-05-04T10:11:12.500000+00:00", "2026-05-04T10:11:12.500000+00:00"),
        ("2026-05-04T10:11:12+02:00", "2026-05-04T10:11:12+02:00", "2026-05-04T10:11:12+02:00"),
    ],
)
def test_partial_moments(text, start, end):
    assert start_of_moment(text).isoformat() == start
    assert end_of_moment(text).isoformat() == end
