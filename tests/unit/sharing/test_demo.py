"""The demo: its people can sign in, its images are the patient's, and it is added once."""

from __future__ import annotations

import pytest

from server.access.action import STUDY_SEARCH
from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.accounts import people as accounts
from server.imaging import catalogue
from server.records import people as records
from server.sharing import demo
from server.storage.where import TRUE


async def images(services: Services) -> int:
    account = await accounts.find_by_email(services.db, demo.PATIENT.email)
    assert account
    actor = Actor(ActorKind.PATIENT, account_id=account.id)
    reach = await services.gate.reach_for_actor(actor, STUDY_SEARCH)
    page = await catalogue.find_instances(services.db, TRUE, reach=reach, limit=100, offset=0)
    return len(page.rows)


async def test_everybody_is_there(services: Services) -> None:
    await demo.seed(services)
    for person in demo.PEOPLE:
        account = await accounts.authenticate(services.db, person.email, person.password, "127.0.0.1")
        assert (account.role, account.verified) == (person.role, True)
        has_identity = await records.fhir_id_of_account(services, account.id) is not None
        assert has_identity == (person.role != "operator")


async def test_every_sample_is_stored_as_the_patients_own(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    await demo.seed(services)
    assert await images(services) == len(demo.SAMPLES)
    assert caplog.records == []


async def test_a_second_start_adds_nothing(services: Services) -> None:
    await demo.seed(services)
    before = await images(services)
    await demo.seed(services)
    assert await images(services) == before


async def test_a_start_cut_short_is_completed(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    async def killed(*_: object) -> None:
        raise RuntimeError("killed")

    with monkeypatch.context() as broken:
        broken.setattr(demo, "_practitioner", killed)
        with pytest.raises(RuntimeError, match="killed"):
            await demo.seed(services)
    await demo.seed(services)
    assert await images(services) == len(demo.SAMPLES)
    assert await accounts.find_by_email(services.db, demo.OPERATOR.email)
