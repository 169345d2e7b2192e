"""A house without surfaces: services on a fresh database, a patient, doctors."""

from __future__ import annotations

import pytest
from pwdlib import PasswordHash
from pwdlib.hashers.argon2 import Argon2Hasher

from server.access.running import running_services
from tests.factories import People, Person


@pytest.fixture(autouse=True)
def _quick_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody signs in here: the people need no hash that is slow to make."""
    quick = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8, parallelism=1),))
    monkeypatch.setattr("server.accounts.passwords._hasher", quick)


@pytest.fixture
async def house(settings):
    async with running_services(settings) as services:
        yield services


@pytest.fixture
def make(house) -> People:
    return People(house)


@pytest.fixture
async def pat(make) -> Person:
    return await make.patient()


@pytest.fixture
async def doc(make) -> Person:
    return await make.doctor()
