"""One-time links by mail: confirm an address, choose a new password."""

import asyncio
import re
from datetime import timedelta
from types import SimpleNamespace

import pytest

from server.accounts import people, sessions, verification
from server.accounts.verification import Purpose
from server.audit.log import AuditLog
from server.core import clock
from server.core.errors import Gone, NotAuthenticated, TooManyRequests, Unprocessable
from server.jobs import mailer
from server.jobs.worker import Worker
from server.storage.keyring import KeyRing
from server.storage.sql import Statement

PASSWORD = "quite a calm heron"


@pytest.fixture
def house(db, settings):
    keyring = KeyRing([b"k" * 32])
    return SimpleNamespace(db=db, settings=settings, keyring=keyring, audit=AuditLog(db, keyring))


@pytest.fixture
async def pat(db):
    return await people.add(
        db, email="pat@example.org", name="Pat Doe", role="patient", password=PASSWORD, verified=False
    )


async def mails(house) -> list[str]:
    await Worker(house, [mailer.KIT]).drain()
    files = (house.settings.data / "outbox").glob("*.eml")
    return [file.read_text() for file in sorted(files, key=lambda each: each.stat().st_mtime_ns)]


def secret_in(mail: str, path: str) -> str:
    found = re.search(
        r"^http://127.0.0.1:8080" + path.format(secret=r"(\S{43})") + r"\s*$", mail, re.MULTILINE
    )
    assert found
    return found[1]


async def test_an_address_is_confirmed_by_the_link_once(house, pat):
    await verification.ask(house, pat)
    [mail] = await mails(house)
    secret = secret_in(mail, verification.VERIFY_PATH)
    assert await verification.lives(house.db, secret, Purpose.VERIFY)  # the scanner's GET changes nothing
    assert await verification.lives(house.db, secret, Purpose.VERIFY)
    assert (await verification.confirm(house, secret)).verified
    with pytest.raises(Gone):
        await verification.confirm(house, secret)
    assert not await verification.lives(house.db, secret, Purpose.VERIFY)
    assert (
        await house.db.fetch_val(Statement("t", "SELECT event FROM audit_event")) == "account:email:verified"
    )


async def test_the_link_lives_for_48_hours(house, pat):
    await verification.ask(house, pat)
    secret = secret_in((await mails(house))[0], verification.VERIFY_PATH)
    clock.travel(timedelta(hours=47, minutes=59))
    assert await verification.lives(house.db, secret, Purpose.VERIFY)
    clock.travel(timedelta(hours=48, seconds=1))
    assert not await verification.lives(house.db, secret, Purpose.VERIFY)
    with pytest.raises(Gone):
        await verification.confirm(house, secret)


async def test_two_confirmations_at_once_are_one(house, pat):
    await verification.ask(house, pat)
    secret = secret_in((await mails(house))[0], verification.VERIFY_PATH)
    both = [verification.confirm(house, secret), verification.confirm(house, secret)]
    answers = await asyncio.gather(*both, return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["Account", "Gone"]


async def test_a_new_link_ends_the_one_before(house, pat):
    await verification.ask(house, pat)
    await verification.ask(house, pat)
    first, second = (secret_in(mail, verification.VERIFY_PATH) for mail in await mails(house))
    living = [await verification.lives(house.db, each, Purpose.VERIFY) for each in (first, second)]
    assert sorted(living) == [False, True]


async def test_a_secret_serves_one_purpose(house, pat):
    await verification.ask(house, pat)
    secret = secret_in((await mails(house))[0], verification.VERIFY_PATH)
    with pytest.raises(Gone):
        await verification.reset(house, secret, "another calm heron")


async def test_a_new_password_by_mail_signs_everything_out(house, pat):
    _, cookie = await sessions.start(house.db, pat.id)
    await verification.ask_reset(house, "PAT@example.org")
    [mail] = await mails(house)
    secret = secret_in(mail, verification.RESET_PATH)
    with pytest.raises(Unprocessable):
        await verification.reset(house, secret, "short")
    await verification.reset(house, secret, "another calm heron")  # the refusal above did not spend it
    assert await sessions.find(house.db, cookie) is None
    assert await people.authenticate(house.db, pat.email, "another calm heron", "192.0.2.1")
    with pytest.raises(NotAuthenticated):
        await people.authenticate(house.db, pat.email, PASSWORD, "192.0.2.1")
    with pytest.raises(Gone):
        await verification.reset(house, secret, "yet another heron")


async def test_an_unknown_address_gets_no_mail_and_no_other_answer(house):
    assert await verification.ask_reset(house, "nobody@example.org") is None
    assert await mails(house) == []


async def test_a_mailbox_is_not_filled(house, pat):
    for _ in range(verification.MAILS.free):
        await verification.ask_reset(house, pat.email)
        await verification.ask_reset(house, "nobody@example.org")
    for email in (pat.email, "nobody@example.org"):
        with pytest.raises(TooManyRequests):
            await verification.ask_reset(house, email)


async def test_no_name_is_in_a_mail(house, pat):
    await verification.ask(house, pat)
    await verification.ask_reset(house, pat.email)
    await verification.tell_known(house, pat.email)
    written = await mails(house)
    assert len(written) == 3
    for mail in written:
        assert "Pat" not in mail
        assert "Doe" not in mail


async def test_what_is_old_is_forgotten(house, pat):
    await verification.ask(house, pat)
    await sessions.start(house.db, pat.id)
    clock.travel(timedelta(days=120))
    await Worker(house, [verification.KIT]).drain()
    for table in ("session", "one_time_secret", "attempt"):
        assert await house.db.fetch_val(Statement("t", f"SELECT count(*) FROM {table}")) == 0
