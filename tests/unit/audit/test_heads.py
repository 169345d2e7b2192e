"""Signed heads, and a role that cannot change the log ("Beyond the seed" 8)."""

from __future__ import annotations

from importlib import resources
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import psycopg
import pytest

from server.access.services import Services
from server.audit import chain, heads
from server.audit.events import Event
from server.audit.log import AuditLog
from server.storage.db import Database
from server.storage.sql import Statement
from tests.factories import People

OFF = Statement("off", "ALTER TABLE audit_event DISABLE TRIGGER audit_event_append_only")
EVENTS = Statement("events", "SELECT chain, seq FROM audit_event ORDER BY chain, seq")


async def exported(services: Services) -> tuple[int, list[str]]:
    count, troubles = await heads.verify(services.db, services.settings.data / heads.FOLDER)
    return count, [each.why for each in troubles]


async def test_a_chain_that_was_removed_whole_shows(services: Services) -> None:
    """Whoever owns the database removes a chain with its head, and all seems whole; the signed file knows better."""
    await People(services).patient()
    assert await heads.export(services) > 0
    await People(services).patient()
    assert await heads.export(services) > 0
    assert await heads.export(services) == 0
    assert await exported(services) == (2, [])
    await services.db.execute(OFF)
    [row, *_] = await services.db.fetch_all(EVENTS)
    await services.db.execute(
        Statement("shorten", "DELETE FROM audit_event WHERE chain = :chain AND seq > 0"),
        {"chain": row["chain"]},
    )
    await services.db.execute(
        Statement("head", "DELETE FROM audit_head WHERE chain = :chain"), {"chain": row["chain"]}
    )
    assert (await chain.verify(services.db))[1] == []
    _, troubles = await exported(services)
    assert any("missing" in each for each in troubles)


async def test_files_that_were_touched_show(services: Services) -> None:
    """Altered, left out, or signed by somebody else."""
    for _ in range(3):
        await People(services).patient()
        await heads.export(services)
    folder = services.settings.data / heads.FOLDER
    files = sorted(folder.glob("*.json"))
    whole = files[1].read_bytes()
    files[1].write_bytes(whole.replace(b'"server"', b'"sArver"'))
    assert "the signature is not right" in (await exported(services))[1]
    files[1].unlink()
    assert (await exported(services))[1] == ["the file before it is missing or was altered"]
    files[1].write_bytes(whole)
    assert await exported(services) == (3, [])
    files[1].write_bytes(b"{}\nnonsense\n")
    assert "it is no file of signed heads" in (await exported(services))[1]


@pytest.mark.parametrize(
    ("act", "why"),
    [
        ("DELETE FROM audit_event WHERE chain = :chain AND seq = 2", "missing or out of order"),
        (
            "UPDATE audit_event SET payload = payload || ' '::bytea WHERE chain = :chain AND seq = 2",
            "altered",
        ),
        (
            "UPDATE audit_event SET seq = CASE seq WHEN 2 THEN 1003 ELSE 2 END WHERE chain = :chain AND seq IN (2, 3)",
            "altered",
        ),
    ],
)
async def test_the_first_row_that_is_wrong_is_named(services: Services, act: str, why: str) -> None:
    """Altered, missing or reordered."""
    patient = (await People(services).patient()).fhir_id
    for _ in range(4):
        await services.audit.record(Event.STUDY_VIEWED, who=None, patient_id=patient)
    await services.db.execute(OFF)
    [at] = [row["chain"] for row in await services.db.fetch_all(EVENTS) if row["seq"] == 5]
    await services.db.execute(Statement("act", act), {"chain": at})
    [broken] = (await chain.verify(services.db))[1]
    assert (broken.chain, broken.seq) == (at, 2)
    assert why in broken.why


async def test_the_servers_role_cannot_change_the_log(services: Services, database_url: str) -> None:
    """`lightbox database-roles`: it adds, and may neither alter nor remove; the rest works as before."""
    sql = resources.files("server.storage").joinpath("roles.sql").read_text()
    with psycopg.connect(database_url, autocommit=True) as owner:
        owner.execute(sql)
    parts = urlsplit(database_url)
    limited = Database(urlunsplit(parts._replace(netloc="lightbox_server:@")), max_size=2)
    await limited.connect()
    try:
        await AuditLog(limited, services.keyring).record(Event.SIGNED_IN, who=None, patient_id=None)
        assert (await chain.verify(limited))[1] == []
        for act in ("UPDATE audit_event SET event = 'x'", "DELETE FROM audit_event", "TRUNCATE audit_event",
                    "DELETE FROM audit_head", "DROP TRIGGER audit_event_append_only ON audit_event",
                    "ALTER TABLE audit_event DISABLE TRIGGER ALL"):  # fmt: skip
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await limited.execute(Statement("act", act))
        await limited.execute(Statement("other", "UPDATE account SET name = name"))
    finally:
        await limited.disconnect()
