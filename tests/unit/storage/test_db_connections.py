"""Which connection a statement runs on: within a transaction the transaction's, however it is planned."""

from __future__ import annotations

from contextlib import nullcontext

import pytest

from server.core.errors import StorageUnavailable
from server.storage.db import Database, planned_by_value, unhurried
from server.storage.sql import Statement

WHO = Statement("who", "SELECT pg_backend_pid()")
PLANS = Statement("plans", "SHOW plan_cache_mode")


@pytest.mark.parametrize("outer", [nullcontext, planned_by_value, unhurried])
@pytest.mark.parametrize("inner", [nullcontext, planned_by_value, unhurried])
async def test_statements_of_a_transaction_have_its_connection(db: Database, outer, inner) -> None:
    with outer():
        async with db.transaction():
            first = await db.fetch_val(WHO)
            with inner():
                assert await db.fetch_val(WHO) == first
                async with db.raw() as connection:
                    assert await connection.fetchval("SELECT pg_backend_pid()") == first


async def test_how_a_statement_is_planned(db: Database) -> None:
    assert await db.fetch_val(PLANS) == "force_generic_plan"
    with planned_by_value():
        assert await db.fetch_val(PLANS) == "auto"
    with unhurried():
        assert await db.fetch_val(PLANS) == "auto"
    assert await db.fetch_val(PLANS) == "force_generic_plan"


async def test_a_database_that_is_not_connected_says_so(database_url: str) -> None:
    with pytest.raises(StorageUnavailable):
        await Database(database_url).fetch_val(WHO)
