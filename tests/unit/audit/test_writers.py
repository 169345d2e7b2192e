"""Writers of the log that have people in common never wait for each other in a circle."""

from __future__ import annotations

import asyncio
import uuid

from server.access.services import Services
from server.audit import chain
from server.audit.events import Event
from server.audit.who import Who
from server.records import people as records
from server.storage.sql import Statement


async def test_a_look_beside_a_group_is_not_a_deadlock(services: Services) -> None:
    """A group holds (B, patient) and comes to A; a look holds A and comes to the patient."""
    one, other = (
        Who(name="A", role="doctor", account_id=uuid.uuid4()),
        Who(name="B", role="doctor", account_id=uuid.uuid4()),
    )
    patient = await records.register_patient(services, who=one, name="P Q")
    for who in (one, other):
        await services.audit.record(Event.STUDY_VIEWED, who=who, patient_id=patient)
    held, looked = asyncio.Event(), asyncio.Event()

    async def group() -> None:
        async with services.db.transaction():
            await services.audit.record(Event.STUDY_SEARCHED, who=other, patient_id=patient)
            held.set()
            await asyncio.sleep(0.3)
            await services.audit.record(Event.STUDY_SEARCHED, who=one, patient_id=patient)

    async def look() -> None:
        await held.wait()
        await services.audit.record(Event.STUDY_VIEWED, who=one, patient_id=patient)
        looked.set()

    await asyncio.gather(asyncio.create_task(group()), asyncio.create_task(look()))
    assert looked.is_set()


async def test_people_new_to_the_log_get_one_pseudonym_from_writers_at_once(services: Services) -> None:
    who = Who(name="C", role="doctor", account_id=uuid.uuid4())
    patient = await records.register_patient(services, who=who, name="R S")
    new = Who(name="D", role="doctor", account_id=uuid.uuid4())
    looks = (services.audit.record(Event.STUDY_VIEWED, who=new, patient_id=patient) for _ in range(8))
    await asyncio.gather(*looks)
    assert await chain.verify(services.db) == (9, [])
    rows = await services.db.fetch_all(
        Statement("actors", "SELECT DISTINCT actor FROM audit_event WHERE seq > 1")
    )
    assert len(rows) == 1
