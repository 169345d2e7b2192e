"""Sessions: begun, used, run out, ended."""

from datetime import timedelta

import pytest

from server.accounts import people, sessions
from server.core import clock
from server.storage.sql import Statement


@pytest.fixture(autouse=True)
def _clock():
    yield
    clock.travel(timedelta())


@pytest.fixture
async def pat(db):
    return await people.add(
        db, email="pat@example.org", name="Pat", role="patient", password=None, verified=True
    )


async def test_a_session_is_found_by_its_cookie_only(db, pat):
    session, secret = await sessions.start(db, pat.id, address="192.0.2.7", user_agent="Firefox")
    assert len(secret) >= 43  # 256 bits
    assert await sessions.find(db, secret) == session
    for wrong in ("", secret[:-1], str(session.id), session.csrf_token):
        assert await sessions.find(db, wrong) is None
    row = await db.fetch_one(Statement("t", "SELECT * FROM session"))
    assert secret.encode() not in row["secret_hash"]
    assert secret not in [str(value) for value in row.values()]


async def test_a_session_idles_out_after_thirty_minutes(db, pat):
    _, secret = await sessions.start(db, pat.id)
    clock.travel(timedelta(minutes=29, seconds=59))
    assert await sessions.find(db, secret)
    clock.travel(timedelta(minutes=30))
    assert await sessions.find(db, secret) is None


async def test_a_used_session_lives_for_twelve_hours(db, pat):
    session, secret = await sessions.start(db, pat.id)
    for minutes in range(0, 12 * 60, 20):
        clock.travel(timedelta(minutes=minutes))
        session = await sessions.find(db, secret)
        assert session is not None
        await sessions.touch(db, session)
    clock.travel(timedelta(hours=12))
    assert await sessions.find(db, secret) is None


async def test_an_upload_keeps_its_session_alive(db, pat):
    session, secret = await sessions.start(db, pat.id)
    for minutes in range(0, 12 * 60, 25):
        clock.travel(timedelta(minutes=minutes))
        await sessions.keep_alive(db, session.id)
    assert await sessions.find(db, secret)
    clock.travel(timedelta(hours=12))
    await sessions.keep_alive(db, session.id)
    assert await sessions.find(db, secret) is None


async def test_touching_does_not_bring_back_the_dead(db, pat):
    session, secret = await sessions.start(db, pat.id)
    clock.travel(timedelta(minutes=31))
    await sessions.touch(db, session)
    assert await sessions.find(db, secret) is None


async def test_a_session_is_written_at_most_once_a_minute(db, pat):
    session, secret = await sessions.start(db, pat.id)
    clock.travel(timedelta(seconds=59))
    await sessions.touch(db, session)
    assert await sessions.find(db, secret) == session
    clock.travel(timedelta(seconds=61))
    await sessions.touch(db, session)
    assert (await sessions.find(db, secret)).seen_at > session.seen_at


async def test_signing_in_ends_the_cookie_the_browser_came_with(db, pat):
    _, planted = await sessions.start(db, pat.id)
    session, fresh = await sessions.start(db, pat.id, replacing=planted)
    assert await sessions.find(db, planted) is None
    assert await sessions.find(db, fresh) == session


async def test_sessions_are_listed_and_ended(db, pat):
    other = await people.add(db, email="o@example.org", name="O", role="doctor", password=None, verified=True)
    one, secret_one = await sessions.start(db, pat.id)
    two, secret_two = await sessions.start(db, pat.id)
    _, foreign = await sessions.start(db, other.id)
    assert {each.id for each in await sessions.sessions_of(db, pat.id)} == {one.id, two.id}
    assert not await sessions.end(db, one.id, account_id=other.id)
    assert await sessions.end(db, one.id, account_id=pat.id)
    assert not await sessions.end(db, one.id, account_id=pat.id)
    assert await sessions.find(db, secret_one) is None
    assert await sessions.end_all(db, pat.id, keep=two.id) == 0
    assert await sessions.find(db, secret_two)
    assert await sessions.end_all(db, pat.id) == 1
    assert await sessions.find(db, secret_two) is None
    assert await sessions.find(db, foreign)


async def test_a_disabled_account_has_no_session(db, pat):
    _, secret = await sessions.start(db, pat.id)
    await people.disable(db, pat.id, why="test")
    assert await sessions.find(db, secret) is None


async def test_the_password_is_fresh_for_a_quarter_of_an_hour(db, pat):
    session, secret = await sessions.start(db, pat.id)
    assert session.lately_confirmed
    clock.travel(timedelta(minutes=15))
    assert not session.lately_confirmed
    await sessions.confirm(db, session.id)
    assert (await sessions.find(db, secret)).lately_confirmed


async def test_old_sessions_are_dropped(db, pat):
    await sessions.start(db, pat.id)
    clock.travel(sessions.KEPT_AFTER_END + sessions.ABSOLUTE + timedelta(seconds=1))
    await sessions.forget_old(db)
    assert await db.fetch_val(Statement("t", "SELECT count(*) FROM session")) == 0
