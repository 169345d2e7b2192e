"""A patient with a profile, and what a store into it needs."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import pytest

from server.access.action import STUDY_READ, STUDY_STORE
from server.access.actor import Actor, ActorKind
from server.access.policy import decide
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people as accounts
from server.audit.who import Who
from server.imaging.report import StoreReport
from server.imaging.store import receive
from server.records import people as records

from .samples import parts


@dataclass(frozen=True)
class Holder:
    """Someone with a profile."""

    services: Services
    actor: Actor
    patient_id: str

    @property
    def storing(self) -> Reach:
        return Reach(STUDY_STORE, decide(self.actor, STUDY_STORE))

    @property
    def reading(self) -> Reach:
        return Reach(STUDY_READ, decide(self.actor, STUDY_READ))

    async def store(
        self, *contents: bytes, study_uid: str | None = None, mine: bool = False, chunk: int = 65_536
    ) -> StoreReport:
        return await receive(
            self.services,
            parts(contents, chunk),
            reach=self.storing,
            actor=self.actor,
            patient_id=None,
            study_uid=study_uid,
            mine=mine,
        )


MakeHolder = Callable[..., Awaitable[Holder]]


@pytest.fixture
def make_holder(services: Services) -> MakeHolder:
    async def make(
        name: str = "Ada Moor", birth_date: str | None = "1980-02-29", email: str = "a@example.org"
    ) -> Holder:
        account = await accounts.add(
            services.db,
            email=email,
            name=name,
            role="patient",
            password="a long enough pass phrase",
            verified=True,
            by_operator=True,
        )
        patient_id = await records.register_patient(
            services, who=Who(name="test"), name=name, birth_date=birth_date, account_id=account.id
        )
        return Holder(services, Actor(ActorKind.PATIENT, account.id, name=name), patient_id)

    return make


@pytest.fixture
async def holder(make_holder: MakeHolder) -> Holder:
    return await make_holder()
