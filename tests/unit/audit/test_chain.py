"""The audit log is a chain that shows every change."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from uuid import UUID

import orjson
import psycopg
import pytest

from server.audit import chain, reading
from server.audit.events import Event, Outcome
from server.audit.log import AuditLog
from server.audit.who import Who
from server.core import clock
from server.storage.db import Database
from server.storage.keyring import KeyRing, KeyUnusable
from server.storage.sql import Statement
from server.storage.where import TRUE

WHO = Who(name="Dr Who", role="doctor", account_id=UUID(int=7), address="192.0.2.7")


@pytest.fixture
def audit(db: Database, tmp_path) -> AuditLog:
    return AuditLog(db, KeyRing.load(tmp_path / "key", create=True))


def _as_owner(url: str, *statements: str) -> None:
    """What somebody with the owner's rights over the database could do."""
    with psycopg.connect(url) as connection:
        connection.execute("ALTER TABLE audit_event DISABLE TRIGGER USER")
        for statement in statements:
            connection.execute(statement)


async def _three(audit: AuditLog) -> None:
    for number in range(3):
        await audit.record(Event.SIGNED_IN, who=WHO, patient_id=None, detail={"number": number})


async def test_an_untouched_chain_is_proved(audit, db):
    await _three(audit)
    assert await chain.verify(db) == (3, [])


async def test_writers_at_once_do_not_fork_the_chain(audit, db):
    await asyncio.gather(*(audit.record(Event.SIGNED_IN, who=WHO, patient_id=None) for _ in range(20)))
    assert await chain.verify(db) == (20, [])


@pytest.mark.parametrize(
    ("change", "seq", "why"),
    [
        ("UPDATE audit_event SET payload = payload || ' ' WHERE seq = 2", 2, "altered"),
        ("UPDATE audit_event SET at = at + interval '1 s' WHERE seq = 2", 2, "column"),
        ("UPDATE audit_event SET outcome = 'failed' WHERE seq = 3", 3, "column"),
        ("DELETE FROM audit_event WHERE seq = 2", 2, "missing"),
        ("DELETE FROM audit_event WHERE seq = 3", 3, "missing"),
        ("DELETE FROM audit_head", 0, "head"),
        ("UPDATE audit_head SET hash = sha256('x')", 3, "head"),
    ],
)
async def test_every_change_shows(audit, db, database_url, change, seq, why):
    await _three(audit)
    _as_owner(database_url, change)
    _, breaks = await chain.verify(db)
    assert [(found.seq, why in found.why) for found in breaks] == [(seq, True)]


async def test_the_table_refuses_changes(audit, database_url):
    await _three(audit)
    for statement in (
        "UPDATE audit_event SET outcome = ''",
        "DELETE FROM audit_event",
        "TRUNCATE audit_event",
    ):
        with psycopg.connect(database_url) as connection, pytest.raises(psycopg.errors.RaiseException):
            connection.execute(statement)


async def test_a_folded_event_is_recorded_once_also_by_another_process(audit, db, tmp_path):
    other = AuditLog(db, KeyRing.load(tmp_path / "key", create=False))
    for log in (audit, other, audit):
        await log.record(Event.STUDY_VIEWED, who=WHO, patient_id=None, fold="a caller, a study, an hour")
    assert await chain.verify(db) == (1, [])


async def test_a_folded_event_that_was_rolled_back_is_recorded_by_the_next(audit, db):
    with pytest.raises(ZeroDivisionError):  # noqa: PT012 - the transaction is what fails
        async with db.transaction():
            await audit.record(Event.STUDY_VIEWED, who=WHO, patient_id=None, fold="rolled back")
            raise ZeroDivisionError
    assert await chain.verify(db) == (0, [])
    await audit.record(Event.STUDY_VIEWED, who=WHO, patient_id=None, fold="rolled back")
    assert await chain.verify(db) == (1, [])


async def test_events_that_may_wait_are_written_in_a_group(audit, db):
    for _ in range(5):
        audit.record_later(Event.STUDY_SEARCHED, who=WHO, patient_id=None)
    await audit.close()
    assert await chain.verify(db) == (5, [])


async def test_a_flush_that_is_given_up_loses_nothing(audit, db):
    for number in range(20):
        audit.record_later(Event.STUDY_SEARCHED, who=WHO, patient_id=None, detail={"number": number})
    flush = asyncio.create_task(audit.flush())
    await asyncio.sleep(0.004)
    flush.cancel()
    await asyncio.gather(flush, return_exceptions=True)
    await audit.close()
    count, faults = await chain.verify(db)
    assert count >= 20
    assert faults == []


async def test_events_about_many_patients_are_links_like_any_other(services):
    from server.records.people import register_patient

    one, other = [await register_patient(services, who=WHO, name=name) for name in ("Ada Moor", "Bo Linden")]
    before, _ = await chain.verify(services.db)
    about = [(one, {"study": "1"}), (other, {"study": "2"}), (one, {"study": "3"})]
    await asyncio.gather(
        services.audit.record_all(Event.STUDY_STORED, who=WHO, about=about),
        services.audit.record(Event.STUDY_VIEWED, who=WHO, patient_id=one),
    )
    assert await chain.verify(services.db) == (before + 4, [])
    events = await reading.events_of(services.db, services.keyring, reach=TRUE)
    stored = sorted(
        (each.patient_id, each.detail["study"]) for each in events if each.event.endswith("stored")
    )
    assert stored == sorted([(one, "1"), (other, "2"), (one, "3")])


async def test_details_are_sealed_and_open_for_the_patient(services):
    from server.records.people import register_patient

    patient = await register_patient(services, who=WHO, name="Ada Moor")
    await services.audit.record(
        Event.STUDY_VIEWED,
        who=WHO,
        patient_id=patient,
        outcome=Outcome.REFUSED,
        detail={"study": "1.2.3"},
    )
    events = await reading.events_of(services.db, services.keyring, reach=TRUE)
    newest = events[0]
    assert (newest.event, newest.outcome, newest.patient_id) == ("imaging:study:viewed", "refused", patient)
    assert (newest.who.name, newest.who.address, newest.detail) == ("Dr Who", "192.0.2.7", {"study": "1.2.3"})
    assert newest.at <= clock.now()
    async with services.db.raw() as connection:
        payloads = [row["payload"] for row in await connection.fetch("SELECT payload FROM audit_event")]
    assert payloads
    assert not any(b"Who" in payload or b"1.2.3" in payload for payload in payloads)


async def test_what_the_systems_log_says_of_an_account_goes_with_it(db, settings):
    """Row 54: sealed by a key of the account; when that is destroyed no master key opens it, and the chain is whole."""
    keyring = KeyRing.load(settings.key_file, create=False)
    audit = AuditLog(db, keyring)
    account = await db.fetch_val(
        Statement(
            "account",
            "INSERT INTO account (id, role, email, email_folded, password_hash, name, created_at)"
            " VALUES (gen_random_uuid(), 'patient', 'a@b.example', 'a@b.example', '', 'Ada Moor', :now) RETURNING id",
        ),
        {"now": clock.now()},
    )
    who = Who(name="Ada Moor", role="patient", account_id=account)
    await audit.record(Event.SIGNED_IN, who=who, patient_id=None)
    held = await db.fetch_val(Statement("key", "SELECT wrapped FROM keys.account_key"))
    assert b"Ada Moor" in await _opened(db, keyring, held)
    with pytest.raises(KeyUnusable):
        await _opened(db, keyring, None)
    await db.execute(Statement("drop", "DELETE FROM account"))
    await db.execute(Statement("drop", "DELETE FROM keys.account_key"))
    await audit.record(Event.SIGNED_IN, who=who, patient_id=None)  # late: nobody is named again
    assert b"Ada" not in await _opened(db, keyring, None)
    assert await db.fetch_val(Statement("none", "SELECT count(*) FROM keys.account_key")) == 0
    assert await chain.verify(db) == (2, [])


async def _opened(db: Database, keyring: KeyRing, held: bytes | None) -> bytes:
    """The sealed part of the last event of the system."""
    row = await db.fetch_one(
        Statement("last", "SELECT id, payload FROM audit_event ORDER BY seq DESC LIMIT 1")
    )
    sealed = b64decode(orjson.loads(row["payload"])["sealed"])
    return keyring.open(held, sealed, context=row["id"].bytes)
