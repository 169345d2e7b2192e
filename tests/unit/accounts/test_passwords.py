"""The rule for passwords, and the hashing of them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.accounts import passwords
from server.core.errors import Unprocessable


@pytest.mark.parametrize(
    "good",
    [
        "quite a calm heron",
        "demo-patient-pass",
        "правильная лошадь",
        "vXk3-9qLmz-72aTb",
        "日本語のとても長い合言葉を使います",
    ],
)
def test_long_ones_of_any_kind_are_good(good):
    passwords.require_good(good)


@pytest.mark.parametrize(
    "poor",
    [
        "short",
        "fourteen chars",
        "passwordpassword",
        "P4ssw0rdP4ssw0rd123!",
        "iloveyou12345678",
        "aaaaaaaaaaaaaaaa",
        "abcabcabcabcabcabc",
        "abcdefghijklmnop",
        "qwertyuiopasdfgh",
        "1234567890123456",
        "pat.doe@example.org",
        "Pat Doe 1970-01-01",
        "x" * 257,
    ],
)
def test_short_common_and_own_ones_are_refused(poor):
    with pytest.raises(Unprocessable):
        passwords.require_good(poor, about=("pat.doe@example.org", "Pat Doe"))


def test_with_a_second_factor_eight_are_enough():
    passwords.require_good("tmq7vz-k", least=passwords.LEAST_WITH_SECOND_FACTOR)


@given(st.text(max_size=400))
def test_any_text_is_judged(text):
    """A verdict for any text: good, or one sentence (hypothesis' own deadline guards the time)."""
    verdict = "Good."
    try:
        passwords.require_good(text, about=("a@b.org", "Ann"))
    except Unprocessable as refused:
        verdict = str(refused)
    assert verdict.endswith(".")


async def test_a_hash_is_argon2id_and_never_the_same():
    one, other = await passwords.hash_new("heron"), await passwords.hash_new("heron")
    assert one.startswith("$argon2id$")
    assert one != other
    assert await passwords.verify("heron", one) == (True, None)
    assert await passwords.verify("herom", one) == (False, None)


async def test_what_looks_the_same_is_the_same():
    kept = await passwords.hash_new("Cafe\u0301 au lait")
    assert (await passwords.verify("Caf\u00e9 au lait", kept))[0]


@pytest.mark.parametrize("kept", [None, "", passwords.NO_PASSWORD, "plain text", "$argon2id$nonsense"])
async def test_nothing_matches_what_is_no_hash(kept):
    for password in ("", passwords.NO_PASSWORD, "plain text"):
        assert (await passwords.verify(password, kept))[0] is False


async def test_an_unknown_account_costs_as_much_as_a_known_one(monkeypatch):
    """Both go through the same hasher once: counted, for a clock would judge the machine."""
    kept = await passwords.hash_new("heron")
    looked_at = []
    quick = passwords._hasher

    class Counting:
        def hash(self, password):
            return quick.hash(password)

        def verify_and_update(self, password, stored):
            looked_at.append(stored.split("$")[:4])
            return quick.verify_and_update(password, stored)

    monkeypatch.setattr(passwords, "_hasher", Counting())
    passwords._dummy.cache_clear()
    for stored in (kept, None):
        assert (await passwords.verify("wrong", stored))[0] is False
    assert len(looked_at) == 2
    assert looked_at[0] == looked_at[1]


def test_the_real_hasher_is_argon2id_with_the_memory_it_says():
    """RFC 9106, 4: the tests run with a quick one, the server must not."""
    assert passwords.strong_hasher().hash("x").startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize(
    "leaked", ["letmein123", "trustno1", "ilovejesus", "1qaz2wsx3edc4rfv", "Sunshine2024!"]
)
def test_what_leaked_often_is_refused(leaked):
    """SP 800-63B-4, 3.1.1.2: a blocklist; also where a second factor makes short ones good enough."""
    with pytest.raises(Unprocessable):
        passwords.require_good(leaked, least=passwords.LEAST_WITH_SECOND_FACTOR)


def test_the_list_of_leaked_ones_is_there():
    assert len(passwords._breached()) > 10_000
    passwords.require_good("kestrel lintel orbit", least=passwords.LEAST_WITH_SECOND_FACTOR)
