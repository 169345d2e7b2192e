"""Accounts: addresses, passwords, signing in."""

import asyncio
from datetime import timedelta

import pytest

from server.accounts import attempts, passwords, people, sessions
from server.core import clock
from server.core.errors import AlreadyStored, NotAuthenticated, NotFound, TooManyRequests, Unprocessable
from server.core.ids import new_id
from server.storage.db import Database
from server.storage.sql import Statement

PASSWORD = "quite a calm heron"
HOME, ELSEWHERE = "192.0.2.7", "198.51.100.9"


@pytest.fixture(autouse=True)
def _clock():
    yield
    clock.travel(timedelta())


@pytest.fixture
async def pat(db: Database) -> people.Account:
    return await people.add(
        db, email=" Pat@Example.ORG ", name="Pat  Doe", role="patient", password=PASSWORD, verified=False
    )


async def test_an_account_is_found_however_its_address_is_typed(db, pat):
    assert pat.name == "Pat Doe"
    assert not pat.verified
    assert await people.find_by_email(db, "pat@example.org ") == pat
    assert await people.find_by_email(db, "PAT@EXAMPLE.ORG") == pat
    assert await people.find_by_email(db, "nobody@example.org") is None
    assert await people.get(db, pat.id) == pat


async def test_an_address_has_one_account(db, pat):
    with pytest.raises(AlreadyStored):
        await people.add(
            db, email="PAT@example.org", name="P", role="doctor", password=PASSWORD, verified=True
        )


async def test_a_refused_address_leaves_the_callers_transaction_usable(db, pat):
    async with db.transaction():
        with pytest.raises(AlreadyStored):
            await people.add(db, email=pat.email, name="P", role="doctor", password=PASSWORD, verified=True)
        await people.add(
            db, email="other@example.org", name="P", role="doctor", password=PASSWORD, verified=True
        )
    assert await people.find_by_email(db, "other@example.org")


async def test_of_two_sign_ups_at_once_one_wins(db):
    async def sign_up() -> object:
        return await people.add(
            db, email="x@example.org", name="X", role="patient", password=None, verified=False
        )

    answers = await asyncio.gather(sign_up(), sign_up(), return_exceptions=True)
    assert sorted(type(each).__name__ for each in answers) == ["Account", "AlreadyStored"]


@pytest.mark.parametrize(
    "email", ["", "pat", "pat@", "@example.org", "a b@example.org", "a@b\r\nBcc: c@d.org"]
)
async def test_what_is_no_address_is_refused(db, email):
    with pytest.raises(Unprocessable):
        await people.add(db, email=email, name="X", role="patient", password=PASSWORD, verified=False)


@pytest.mark.parametrize("name", ["", "  ", "x" * 201, "a\x00b"])
async def test_what_is_no_name_is_refused(db, name):
    with pytest.raises(Unprocessable):
        await people.add(
            db, email="x@example.org", name=name, role="patient", password=PASSWORD, verified=False
        )


async def test_a_role_is_one_of_four(db):
    with pytest.raises(Unprocessable):
        await people.add(db, email="x@example.org", name="X", role="king", password=PASSWORD, verified=False)


async def test_an_operators_password_needs_eight_characters_only(db):
    await people.add(
        db,
        email="x@example.org",
        name="X",
        role="patient",
        password="password",
        verified=True,
        by_operator=True,
    )
    with pytest.raises(Unprocessable):
        await people.add(
            db,
            email="y@example.org",
            name="Y",
            role="patient",
            password="seven77",
            verified=True,
            by_operator=True,
        )


async def test_the_right_password_signs_in(db, pat):
    assert await people.authenticate(db, "PAT@example.org", PASSWORD, HOME) == pat


async def test_every_refusal_reads_alike(db, pat):
    refusals = set()
    disabled = await people.add(
        db, email="gone@example.org", name="G", role="doctor", password=PASSWORD, verified=True
    )
    await people.disable(db, disabled.id, why="test")
    nothing_set = await people.add(
        db, email="new@example.org", name="N", role="doctor", password=None, verified=True
    )
    tries = [(pat.email, "wrong"), ("nobody@example.org", PASSWORD), (disabled.email, PASSWORD)]
    for email, password in [*tries, (nothing_set.email, passwords.NO_PASSWORD), (pat.email, "x" * 10_000)]:
        with pytest.raises(NotAuthenticated) as refusal:
            await people.authenticate(db, email, password, HOME)
        refusals.add(str(refusal.value))
    assert len(refusals) == 1


async def test_many_failures_delay_the_next_try_and_never_lock(db, pat):
    for _ in range(attempts.PAIR.free):
        with pytest.raises(NotAuthenticated):
            await people.authenticate(db, pat.email, "wrong", HOME)
    with pytest.raises(TooManyRequests) as refusal:
        await people.authenticate(db, pat.email, PASSWORD, HOME)
    assert refusal.value.retry_after == 1
    clock.travel(timedelta(seconds=2))
    assert await people.authenticate(db, pat.email, PASSWORD, HOME) == pat
    assert await people.authenticate(db, pat.email, PASSWORD, HOME) == pat


async def test_the_delay_doubles_up_to_its_longest(db):
    one = attempts.subject(attempts.PAIR, "x")
    waits, moved = [], timedelta()
    for _ in range(attempts.PAIR.free):
        await attempts.begin(db, one)
    for _ in range(14):
        with pytest.raises(TooManyRequests) as refusal:
            await attempts.begin(db, one)
        waits.append(refusal.value.retry_after)
        moved += timedelta(seconds=refusal.value.retry_after)
        clock.travel(moved)
        await attempts.begin(db, one)
    assert waits[:4] == [1, 2, 4, 8]
    assert waits[-1] == attempts.PAIR.longest


async def test_many_tries_at_once_do_not_outrun_the_count(db, pat):
    tries = [people.authenticate(db, pat.email, f"wrong {n}", HOME) for n in range(12)]
    answers = await asyncio.gather(*tries, return_exceptions=True)
    assert sum(isinstance(each, NotAuthenticated) for each in answers) == attempts.PAIR.free
    assert sum(isinstance(each, TooManyRequests) for each in answers) == 12 - attempts.PAIR.free


async def test_a_stranger_cannot_keep_the_owner_out(db, pat):
    await sessions.start(db, pat.id, address=HOME)
    own = attempts.subject(attempts.ACCOUNT, pat.email_folded)
    for n in range(40):  # from many networks, as fast as it goes
        clock.travel(timedelta(seconds=40 * n))
        await attempts.begin(db, own)
    with pytest.raises(TooManyRequests):
        await people.authenticate(db, pat.email, "guess", ELSEWHERE)
    assert await people.authenticate(db, pat.email, PASSWORD, HOME) == pat


async def test_who_has_the_mailbox_is_not_kept_out_either(db, pat):
    own = attempts.subject(attempts.ACCOUNT, pat.email_folded)
    for n in range(40):
        clock.travel(timedelta(seconds=40 * n))
        await attempts.begin(db, own)
    await attempts.vouch(db, pat.id, attempts.network_of(ELSEWHERE))
    assert await people.authenticate(db, pat.email, PASSWORD, ELSEWHERE) == pat


async def test_an_own_account_does_not_clear_a_network(db, pat):
    whole = attempts.subject(attempts.NETWORK, HOME)
    for _ in range(attempts.NETWORK.free - 1):
        await attempts.begin(db, whole)
    await people.authenticate(db, pat.email, PASSWORD, HOME)
    await attempts.begin(db, whole)
    with pytest.raises(TooManyRequests):
        await attempts.begin(db, whole)


async def test_old_counts_are_forgotten(db):
    one = attempts.subject(attempts.PAIR, "x")
    for _ in range(attempts.PAIR.free):
        await attempts.begin(db, one)
    clock.travel(attempts.FORGET_AFTER + timedelta(seconds=1))
    await attempts.begin(db, one)
    await attempts.begin(db, one)
    clock.travel(2 * attempts.FORGET_AFTER + timedelta(seconds=2))
    await attempts.forget_old(db)
    assert await db.fetch_val(Statement("t", "SELECT count(*) FROM attempt")) == 0


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("testclient", "testclient"),
    ],
)
def test_a_network_is_what_one_party_commands(address, network):
    assert attempts.network_of(address) == network


async def test_an_old_hash_is_renewed_at_sign_in(db, pat, monkeypatch):
    from pwdlib import PasswordHash
    from pwdlib.hashers.argon2 import Argon2Hasher

    weak = PasswordHash((Argon2Hasher(time_cost=1, memory_cost=8192),)).hash(PASSWORD)
    await db.execute(people.QUERIES["set_password"], {"id": pat.id, "password_hash": weak})
    await people.authenticate(db, pat.email, PASSWORD, HOME)
    row = await db.fetch_one(people.QUERIES["account_by_id"], {"id": pat.id})
    assert row["password_hash"] != weak
    assert await people.authenticate(db, pat.email, PASSWORD, HOME) == pat


async def test_a_changed_password_ends_sessions_and_grants(db, pat):
    _, secret = await sessions.start(db, pat.id)
    await db.execute(
        Statement("t", "INSERT INTO client (id, name, type, created_at) VALUES ('c', 'C', 'public', :now)"),
        {"now": clock.now()},
    )
    grant = "INSERT INTO app_grant (id, client_id, account_id, scope, created_at)"
    await db.execute(
        Statement("t", grant + " VALUES (gen_random_uuid(), 'c', :account, 's', :now)"),
        {"account": pat.id, "now": clock.now()},
    )
    await people.change_password(db, pat.id, "another calm heron")
    assert await sessions.find(db, secret) is None
    assert await db.fetch_val(Statement("t", "SELECT ended_why FROM app_grant")) == "password changed"
    with pytest.raises(NotAuthenticated):
        await people.authenticate(db, pat.email, PASSWORD, HOME)
    assert await people.authenticate(db, pat.email, "another calm heron", HOME)


async def test_the_password_can_be_asked_for_again(db, pat):
    await people.check_password(db, pat.id, PASSWORD)
    with pytest.raises(NotAuthenticated):
        await people.check_password(db, pat.id, "wrong")


async def test_an_address_is_verified_once(db, pat):
    first = await people.set_verified(db, pat.id)
    clock.travel(timedelta(days=1))
    assert await people.set_verified(db, pat.id) == first
    with pytest.raises(NotFound):
        await people.set_verified(db, new_id())


def test_letters_that_only_look_alike_in_upper_case_are_different_mailboxes():
    assert people.fold_email(" Ann@Example.org ") == "ann@example.org"
    assert people.fold_email("groß@example.org") != people.fold_email("gross@example.org")
