"""Regions at sign-up (decision 11)."""

from __future__ import annotations

from pathlib import Path

import httpx

from server.core.settings import Region
from server.storage.sql import Statement
from tests.conftest import serving
from tests.flows.portal_steps import PASSWORD, submit

OVERSEAS = Region(name="United States", address="https://us.example.org")


async def test_a_region_is_chosen_before_anything_is_typed(database_url: str, tmp_path: Path):
    """Rows 64-65: where there are several regions one must be chosen; another one goes on at its own address."""
    async with (
        serving(database_url, tmp_path / "eu", region="Europe", regions=(OVERSEAS,)) as server,
        httpx.AsyncClient(base_url=server.url) as browser,
    ):
        first = (await browser.get("/sign-up")).text
        assert 'id="email"' not in first
        assert "https://us.example.org/sign-up?region=United+States" in first
        assert "Europe" in first
        person = {
            "name": "Ada Moor",
            "email": "ada@example.org",
            "birth_date": "1980-02-29",
            "password": PASSWORD,
        }
        skipped = await browser.post("/sign-up", data=person)
        assert "Where should your data be kept?" in skipped.text
        elsewhere = await browser.post("/sign-up", data=person | {"region": "United States"})
        assert "Where should your data be kept?" in elsewhere.text
        assert await server.services.db.fetch_val(_accounts(), {}) == 0
        done = await submit(browser, "/sign-up?region=Europe", "/sign-up", **person)
        assert done.status_code == 303, done.text
        assert await server.services.db.fetch_val(_accounts(), {}) == 1


async def test_a_single_region_asks_nothing(client: httpx.AsyncClient):
    """Row 64: with one region there is nothing to choose; its name stands on every page."""
    page = (await client.get("/sign-up")).text
    assert 'id="email"' in page
    assert "Your data is stored in: local" in page


def _accounts() -> Statement:
    return Statement("count", "SELECT count(*) FROM account")
