"""Being told of each look: at once, once a day, or not at all ("Beyond the seed" 3)."""

from __future__ import annotations

from datetime import timedelta

import httpx
import pytest

from server.core import clock
from server.sharing import access_notice
from tests import mails
from tests.factories import bearer
from tests.flows.portal_steps import mail_to, submit
from tests.flows.portal_studies import keep


@pytest.fixture
async def story(server, people, client):
    """A patient whose doctor may look; her browser, and the look."""
    person = await people.patient("Ada Moor")
    doctor = await people.doctor("Bo Reader")
    study = await keep(client, people, person)
    await people.share(person, doctor)
    async with httpx.AsyncClient(base_url=server.url) as browser:
        await people.session(browser, person)

        async def look() -> None:
            headers = bearer(await people.token(doctor, "user/*.rs"))
            answer = await client.get(f"/dicomweb/studies/{study.uid}/metadata", headers=headers)
            assert answer.status_code == 200

        yield person, browser, look


async def _tell(server, later: timedelta) -> None:
    clock.travel(later)
    await access_notice.tell(server.services)


def _mails(server, address: str) -> int:
    found = mails.to(server.data / "outbox", address)
    return sum("looked at your record" in str(mail["Subject"]) + mails.text_of(mail) for mail in found)


async def test_at_once(server, story):
    """A mail after each look; it names nobody and nothing, and one's own looks are none."""
    person, browser, look = story
    chosen = await submit(browser, "/sharing", "/sharing/notices", how="each")
    assert chosen.status_code == 303
    assert (await browser.get("/activity")).status_code == 200
    await look()
    await _tell(server, timedelta(minutes=1))
    text = await mail_to(server.data / "outbox", person.email, "looked at your record")
    assert "opened once" in text
    assert "Reader" not in text
    assert "CT" not in text
    await _tell(server, timedelta(minutes=2))
    assert _mails(server, person.email) == 1
    await look()  # the same hour: one look
    clock.travel(timedelta(hours=2))
    await look()
    await _tell(server, timedelta(hours=2, minutes=1))
    await mail_to(server.data / "outbox", person.email, "looked at your record", number=2)


async def test_daily_and_off(server, story):
    """Who says nothing hears once a day; who says "not at all" hears nothing."""
    person, browser, look = story
    await _tell(server, timedelta())
    await look()
    await _tell(server, timedelta(hours=1))
    assert _mails(server, person.email) == 0
    await _tell(server, timedelta(hours=25))
    await mail_to(server.data / "outbox", person.email, "looked at your record")
    clock.travel(timedelta())
    await submit(browser, "/sharing", "/sharing/notices", how="off")
    clock.travel(timedelta(hours=2))
    await look()
    await _tell(server, timedelta(hours=60))
    assert _mails(server, person.email) == 1
