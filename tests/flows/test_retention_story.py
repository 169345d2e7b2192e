"""Retention: looked at first, removed by the region's rules when told to, never what is held (privacy.md)."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

import pytest

from server.access.services import Services
from server.core import clock
from server.core.settings import WrongSetting, read_settings
from server.jobs.worker import Worker
from server.records.people import register_patient
from server.rights import retention
from server.rights.background import KITS
from server.storage.sql import Statement
from tests.factories import People

THERE = Statement("there", "SELECT array_agg(id) FROM patient")
HOLD = Statement(
    "hold",
    "INSERT INTO hold (id, patient_id, authority, scope, reason, placed_at, review_at)"
    " VALUES (:id, :patient, 'Court', 'All', 'Case', :now, :now)",
)
LONG_AGO = timedelta(days=4000)


@pytest.fixture
async def old(services: Services) -> dict[str, str]:
    """Four profiles of eleven years ago: a person's, an unclaimed one, one on hold, one that a doctor sees."""
    people = People(services)
    clock.travel(-LONG_AGO)
    owned, doctor = await people.patient(), await people.doctor()
    made = {
        name: await register_patient(services, who=None, name="Old Moor") for name in ("idle", "held", "seen")
    }  # type: ignore[arg-type]
    await services.db.execute(HOLD, {"id": uuid4(), "patient": made["held"], "now": clock.now()})
    share = (
        "INSERT INTO share (patient_id, id, practitioner_id, name, state, rights, created_at)"
        " VALUES (:patient, :id, :doctor, 'Bo', 'active', '{images}', :now)"
    )
    values = {"patient": made["seen"], "id": str(uuid4()), "doctor": doctor.fhir_id, "now": clock.now()}
    await services.db.execute(Statement("share", share), values)
    message = (
        "INSERT INTO help_message (id, account_id, subject, sealed, created_at, answer_by, closed_at)"
        " VALUES (:id, NULL, 'question', ''::bytea, :now, :now, :now)"
    )
    await services.db.execute(Statement("message", message), {"id": uuid4(), "now": clock.now()})
    clock.travel(timedelta())
    fresh = await register_patient(services, who=None, name="New Moor")  # type: ignore[arg-type]
    return made | {"owned": owned.fhir_id, "fresh": fresh}


async def test_what_is_due_is_counted_then_removed(services: Services, old: dict[str, str]) -> None:
    """A hold beats it; a person's record and one that a doctor sees have no age; the log says what was done."""
    looked = await retention.run(services, purge=False)
    assert (looked["unclaimed"].due, looked["unclaimed"].held, looked["unclaimed"].removed) == (1, 1, 0)
    assert looked["requests"].due == 1
    assert set(await services.db.fetch_val(THERE)) == set(old.values())
    done = await retention.run(services, purge=True)
    assert (done["unclaimed"].removed, done["requests"].removed) == (1, 1)
    await Worker(services, KITS).drain()
    assert set(await services.db.fetch_val(THERE)) == set(old.values()) - {old["idle"]}
    proof = Statement("proof", "SELECT proof FROM erasure WHERE step = 'done'")
    assert await services.db.fetch_val(proof)
    again = await retention.run(services, purge=True)
    assert (again["unclaimed"].due, again["requests"].due) == (0, 0)
    events = Statement("events", "SELECT count(*) FROM audit_event WHERE event = 'operator:retention:run'")
    assert await services.db.fetch_val(events) >= 3
    runs = await retention.last_runs(services)
    assert [each["purged"] for each in runs][-2:] in ([True, False], [False, True])


def test_rules_by_region() -> None:
    """The region's, and over them what the operator says; 0 is never."""
    assert retention.rules(read_settings(region="eu-central"))["requests"] == 3 * 365
    assert retention.rules(read_settings(region="us"))["requests"] == 6 * 365
    said = retention.rules(read_settings(region="eu", retention="requests=30, unclaimed=0,proofs=400"))
    assert said == {"requests": 30, "holds": 6 * 365, "incidents": 5 * 365, "proofs": 400}
    for wrong in ("requests", "requests=soon", "everything=1", "requests=-1"):
        with pytest.raises(WrongSetting):
            read_settings(retention=wrong)
