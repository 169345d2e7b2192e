"""Passing on within the care team: product row 46."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import orjson
import pytest

from server.access.action import STUDY_READ, Right, Verb
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Forbidden, Gone, NotFound, Unprocessable
from server.records import store, validate
from server.sharing import invitation, share, team
from server.sharing.consent_json import PARENT
from server.sharing.model import State
from tests.sharing_steps import (
    actor_of,
    consent_reach,
    invitation_to,
    invite_and_accept,
    mails_to,
    text_of,
    work,
)

ALLOWED = ("images", "reports", "pass-on")


async def sees(house, doctor, patient, right: Right | None = None) -> bool:
    reach = await house.gate.reach_for_actor(actor_of(doctor), STUDY_READ, right=right)
    return await house.gate.reaches_patient(reach, patient.fhir_id)


async def passed(house, parent_id, giver, taker, rights=("images",)) -> str:
    """Passed on and accepted; the id of the child."""
    child = await team.pass_on(
        house, parent_id, name=taker.name, email=taker.email, rights=rights, actor=actor_of(giver)
    )
    await invitation.accept(house, await invitation_to(house, taker.email), actor=actor_of(taker))
    return child.id


async def end(house, pat, share_id):
    return await share.end(house, share_id, actor=actor_of(pat), reach=await consent_reach(house, pat))


async def change(house, pat, share_id, **terms):
    terms = {"rights": ALLOWED, "studies": None, "until": None} | terms
    reach = await consent_reach(house, pat)
    return await share.change(house, share_id, **terms, actor=actor_of(pat), reach=reach)


async def states(house, pat) -> dict[str, State]:
    reach = await consent_reach(house, pat, Verb.READ)
    return {each.id: each.state for each in await share.list_for_patient(house, pat.fhir_id, reach=reach)}


@pytest.fixture
async def colleague(make):
    return await make.doctor("Col League")


@pytest.fixture
async def third(make):
    return await make.doctor("Thi Rd")


async def test_a_colleague_sees_what_was_passed_on_and_the_patient_sees_the_chain(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    child = await passed(house, parent, doc, colleague)
    assert await sees(house, colleague, pat, Right.IMAGES)
    assert not await sees(house, colleague, pat, Right.REPORTS)
    reach = await consent_reach(house, pat, Verb.READ)
    seen = await share.get(house, child, reach=reach)
    assert (seen.parent_id, seen.practitioner_id) == (parent, colleague.fhir_id)
    resource = orjson.loads((await store.read(house.db, "Consent", child, reach=reach)).json)
    assert {"url": PARENT, "valueReference": {"reference": f"Consent/{parent}"}} in resource["extension"]
    await validate.check(resource)
    mails = [text_of(mail) for mail in await mails_to(house, pat.email)]
    assert any("pass it on" in text for text in mails)
    [listed] = await team.passed_on(house, parent, actor=actor_of(doc))
    assert listed.id == child


async def test_ending_the_parent_ends_the_whole_line(house, pat, doc, colleague, third):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    child = await passed(house, parent, doc, colleague, rights=("images", "pass-on"))
    grandchild = await passed(house, child, colleague, third)
    waiting = await team.pass_on(
        house, child, name="W", email="w@example.org", actor=actor_of(colleague), rights=("images",)
    )
    secret = await invitation_to(house, "w@example.org")
    assert await sees(house, third, pat)
    await end(house, pat, parent)
    for doctor in (doc, colleague, third):
        assert not await sees(house, doctor, pat)
    assert await states(house, pat) == {
        parent: State.ENDED,
        child: State.ENDED,
        grandchild: State.ENDED,
        waiting.id: State.WITHDRAWN,
    }
    assert await invitation.look(house, secret) is None
    reach = await consent_reach(house, pat, Verb.READ)
    resource = orjson.loads((await store.read(house.db, "Consent", grandchild, reach=reach)).json)
    assert resource["status"] == "inactive"


async def test_ending_a_child_leaves_the_parent(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    child = await passed(house, parent, doc, colleague)
    await end(house, pat, child)
    assert not await sees(house, colleague, pat)
    assert await sees(house, doc, pat)
    again = await passed(house, parent, doc, colleague)
    await team.take_back(house, again, actor=actor_of(doc))
    assert not await sees(house, colleague, pat)
    with pytest.raises(Conflict):
        await team.take_back(house, again, actor=actor_of(doc))


async def test_what_the_patient_narrows_shrinks_below(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    child = await passed(house, parent, doc, colleague, rights=("images", "reports"))
    until = clock.now() + timedelta(days=2)
    await change(house, pat, parent, rights=("images", "pass-on"), until=until)
    assert await sees(house, colleague, pat, Right.IMAGES)
    assert not await sees(house, colleague, pat, Right.REPORTS)
    reach = await consent_reach(house, pat, Verb.READ)
    assert (await share.get(house, child, reach=reach)).until == until
    await change(house, pat, parent, rights=("images",))
    assert not await sees(house, colleague, pat)
    assert await sees(house, doc, pat)


async def test_the_chosen_end_of_the_parent_is_that_of_the_child(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    await change(house, pat, parent, until=clock.now() + timedelta(days=2))
    await passed(house, parent, doc, colleague)
    clock.travel(timedelta(days=2, seconds=1))
    assert not await sees(house, colleague, pat)
    await work(house)
    assert set((await states(house, pat)).values()) == {State.ENDED}


async def test_the_doctor_giving_back_ends_what_was_passed_on(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    await passed(house, parent, doc, colleague)
    await invitation.give_back(house, parent, actor=actor_of(doc))
    assert not await sees(house, colleague, pat)


async def test_only_what_the_patient_allowed_is_passed_on(house, pat, doc, colleague, third):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    plain = await invite_and_accept(house, pat, third, rights=("images",))
    arguments = {"name": "C", "email": colleague.email}
    with pytest.raises(Forbidden):
        await team.pass_on(house, plain, **arguments, rights=("images",), actor=actor_of(third))
    with pytest.raises(Unprocessable):
        await team.pass_on(house, parent, **arguments, rights=("download",), actor=actor_of(doc))
    for stranger in (third, colleague, pat):
        with pytest.raises(NotFound):
            await team.pass_on(house, parent, **arguments, rights=("images",), actor=actor_of(stranger))
    for own in (doc.email, pat.email):
        with pytest.raises(Unprocessable):
            await team.pass_on(house, parent, name="X", email=own, rights=("images",), actor=actor_of(doc))
    await end(house, pat, parent)
    with pytest.raises(NotFound):
        await team.pass_on(house, parent, **arguments, rights=("images",), actor=actor_of(doc))


async def test_the_doctor_does_not_learn_who_else_sees_the_patient(house, pat, doc, colleague):
    """Passing on to somebody who sees the patient already looks like passing on to anybody."""
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    own = await invite_and_accept(house, pat, colleague)
    child = await passed(house, parent, doc, colleague)
    await end(house, pat, parent)
    assert (await states(house, pat))[child] is State.ENDED
    assert await sees(house, colleague, pat), "the patient's own share does not hang on the doctor's"
    assert (await states(house, pat))[own] is State.ACTIVE


async def test_passing_on_twice_resends(house, pat, doc, colleague):
    parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
    arguments = {"name": "C", "email": colleague.email, "rights": ("images",), "actor": actor_of(doc)}
    first = await team.pass_on(house, parent, **arguments)
    old = await invitation_to(house, colleague.email)
    assert (await team.pass_on(house, parent, **arguments)).id == first.id
    with pytest.raises(Gone):
        await invitation.accept(house, old, actor=actor_of(colleague))
    await invitation.accept(house, await invitation_to(house, colleague.email), actor=actor_of(colleague))
    with pytest.raises(AlreadyStored):
        await team.pass_on(house, parent, **arguments)


async def test_passing_on_while_the_patient_ends_leaves_nothing_open(house, pat, doc, colleague, third):
    for _ in range(4):
        parent = await invite_and_accept(house, pat, doc, rights=ALLOWED)
        child = await passed(house, parent, doc, colleague, rights=("images", "pass-on"))
        await asyncio.gather(
            team.pass_on(
                house, child, name="T", email=third.email, rights=("images",), actor=actor_of(colleague)
            ),
            team.pass_on(house, parent, name="T", email=third.email, rights=("images",), actor=actor_of(doc)),
            end(house, pat, parent),
            return_exceptions=True,
        )
        living = {
            key: state for key, state in (await states(house, pat)).items() if state in ("active", "invited")
        }
        assert living == {}
        assert not await sees(house, colleague, pat)
