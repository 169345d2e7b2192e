"""A house without surfaces: services on a fresh database, a patient, doctors."""

from __future__ import annotations

import pytest

from server.access.running import running_services
from tests.factories import People, Person


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
