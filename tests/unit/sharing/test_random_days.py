"""Random days of a patient and their doctors: whatever happens in whatever order, what must hold holds."""

from __future__ import annotations

import random
from datetime import timedelta

import orjson
import pytest

from server.access.action import STUDY_READ, Verb
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Forbidden, NotFound, TooManyRequests, Unprocessable
from server.records import store
from server.sharing import expiry, invitation, request, share, team
from server.sharing.consent_json import STATE, STATUS
from server.sharing.model import State
from tests.sharing_steps import actor_of, consent_reach, work

STEPS = 40
REFUSALS = (AlreadyStored, Conflict, Forbidden, NotFound, TooManyRequests, Unprocessable)


class Days:
    """What people may do next, and what must be true after."""

    def __init__(self, house, pat, doctors, seed) -> None:
        self.house, self.pat, self.doctors = house, pat, doctors
        self.random = random.Random(seed)
        self.moved = timedelta()

    async def shares(self) -> list[share.Share]:
        reach = await consent_reach(self.house, self.pat, Verb.READ)
        return await share.list_for_patient(self.house, self.pat.fhir_id, reach=reach)

    async def act(self) -> str:
        """One random act; refusals are part of life, anything else is not."""
        acts = [self.invite, self.accept, self.accept, self.decline, self.patients_word, self.change]
        acts += [self.pass_on, self.give_back, self.ask, self.time_passes, self.job]
        chosen = self.random.choice(acts)
        try:
            await chosen()
        except REFUSALS:
            return f"({chosen.__name__})"
        return chosen.__name__

    def doctor(self):
        return self.random.choice(self.doctors)

    async def any_share(self) -> share.Share | None:
        found = await self.shares()
        return self.random.choice(found) if found else None

    async def invite(self) -> None:
        doctor = self.doctor()
        rights = self.random.sample(["images", "reports", "download", "pass-on"], self.random.randint(1, 4))
        until = self.random.choice([None, None, clock.now() + timedelta(days=self.random.randint(1, 40))])
        reach = await consent_reach(self.house, self.pat, Verb.CREATE)
        await share.invite(
            self.house,
            self.pat.fhir_id,
            name=doctor.name,
            email=doctor.email,
            rights=rights,
            until=until,
            actor=actor_of(self.pat),
            reach=reach,
        )

    async def accept(self) -> None:
        actor = actor_of(self.doctor())
        for each in await invitation.waiting(self.house, actor=actor):
            await invitation.accept_waiting(self.house, each.share.id, actor=actor)

    async def decline(self) -> None:
        actor = actor_of(self.doctor())
        for each in await invitation.waiting(self.house, actor=actor):
            await invitation.decline_waiting(self.house, each.share.id, actor=actor)

    async def patients_word(self) -> None:
        if one := await self.any_share():
            word = self.random.choice([share.end, share.withdraw, share.resend, share.grant, share.refuse])
            await word(
                self.house, one.id, actor=actor_of(self.pat), reach=await consent_reach(self.house, self.pat)
            )

    async def change(self) -> None:
        if one := await self.any_share():
            rights = self.random.sample(["images", "reports", "pass-on"], self.random.randint(1, 3))
            until = self.random.choice([None, clock.now() + timedelta(days=self.random.randint(1, 20))])
            reach = await consent_reach(self.house, self.pat)
            await share.change(
                self.house,
                one.id,
                rights=rights,
                studies=None,
                until=until,
                actor=actor_of(self.pat),
                reach=reach,
            )

    async def pass_on(self) -> None:
        giver, taker, one = self.doctor(), self.doctor(), await self.any_share()
        if one is not None:
            await team.pass_on(
                self.house,
                one.id,
                name=taker.name,
                email=taker.email,
                rights=("images",),
                actor=actor_of(giver),
            )

    async def give_back(self) -> None:
        if one := await self.any_share():
            await invitation.give_back(self.house, one.id, actor=actor_of(self.doctor()))

    async def ask(self) -> None:
        await request.ask(self.house, self.pat.email, actor=actor_of(self.doctor()))
        await work(self.house)

    async def time_passes(self) -> None:
        self.moved += timedelta(hours=self.random.choice([1, 24, 24 * 7, 336]))
        clock.travel(self.moved)

    async def job(self) -> None:
        await expiry.run(self.house)

    async def check(self) -> None:
        found = await self.shares()
        reach = await consent_reach(self.house, self.pat, Verb.READ)
        by_id = {each.id: each for each in found}
        for each in found:
            resource = orjson.loads((await store.read(self.house.db, "Consent", each.id, reach=reach)).json)
            assert resource["status"] == STATUS[each.stored_state]
            assert {"url": STATE, "valueCode": each.stored_state} in resource["extension"]
            if each.parent_id and each.state is State.ACTIVE:
                parent = by_id[each.parent_id]
                assert parent.state is State.ACTIVE
                assert each.rights <= parent.rights
        for doctor in self.doctors:
            mine = [each for each in found if each.practitioner_id == doctor.fhir_id]
            expected = any(each.state is State.ACTIVE for each in mine)
            seen = await self.house.gate.reach_for_actor(actor_of(doctor), STUDY_READ)
            images = any(each.state is State.ACTIVE and "images" in each.rights for each in mine)
            assert await self.house.gate.reaches_patient(seen, self.pat.fhir_id) in {expected, images}
            own = [each for each in mine if each.parent_id is None and each.state in ("active", "requested")]
            assert len(own) <= 1


@pytest.mark.parametrize(
    "seed", [pytest.param(seed, marks=pytest.mark.long) if seed > 2 else seed for seed in range(40)]
)
async def test_random_days(house, pat, make, seed):
    doctors = [await make.doctor(f"Doctor {n}") for n in range(3)]
    days, done = Days(house, pat, doctors, seed), []
    for _ in range(STEPS):
        done.append(await days.act())
        try:
            await days.check()
        except AssertionError as exc:
            raise AssertionError(f"after {done}") from exc
