"""Passwords: the rule for new ones, and argon2id around those that are kept.

NIST SP 800-63B-4, 3.1.1: length instead of composition, a blocklist, and anything a person can type or paste.
"""

import asyncio
import hashlib
import unicodedata
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import resources
from typing import Any, TypeVar

from pwdlib import PasswordHash
from pwdlib.exceptions import UnknownHashError
from pwdlib.hashers.argon2 import Argon2Hasher

from server.core.errors import Unavailable, Unprocessable
from server.core.ids import new_secret

_T = TypeVar("_T")

LEAST = 15
LEAST_WITH_SECOND_FACTOR = 8
LEAST_FOR_OPERATOR = 8
MOST = 256  # longer ones only cost time; nobody types them

NO_PASSWORD = "!"  # noqa: S105 - in place of a hash: nothing matches it
_FEWEST_DIFFERENT = 5
_LEET = str.maketrans("013457@$!", "oieastasi")
_ROWS = (
    "abcdefghijklmnopqrstuvwxyz",
    "qwertyuiopasdfghjklzxcvbnm",
    "qwertzuiopasdfghjklyxcvbnm",
    "1234567890",
)


def strong_hasher() -> PasswordHash:
    """Argon2id with 64 MiB, 3 passes, 4 lanes (RFC 9106, 4, second recommendation)."""
    return PasswordHash((Argon2Hasher(time_cost=3, memory_cost=65_536, parallelism=4),))


_hasher = strong_hasher()
# Each hash takes 64 MiB and a core for a while: so many at once, so many may wait, the rest come back later.
_AT_ONCE = 2
_MAY_WAIT = 64
_threads = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="argon2")
_waiting = 0


def require_good(password: str, *, least: int = LEAST, about: tuple[str, ...] = ()) -> None:
    """The rule for a new password; `about` holds what others know of its owner (address, name).

    Raises Unprocessable with the sentence for the form.
    """
    require_length(password, least)
    if _is_breached(password):
        raise Unprocessable(
            "This password has leaked elsewhere, and is among the first that are tried. Choose another."
        )
    if _is_common(password, about):
        raise Unprocessable("This password is too easy to guess; several unrelated words make a good one.")


def require_length(password: str, least: int) -> None:
    """The part of the rule that also an operator's word must keep; raises Unprocessable."""
    length = len(_normal(password))
    if length < least:
        raise Unprocessable(f"A password needs at least {least} characters.")
    if length > MOST:
        raise Unprocessable(f"A password can have at most {MOST} characters.")


async def hash_new(password: str) -> str:
    """The argon2id hash to keep; raises Unavailable when too many wait for one."""
    return await _in_thread(_hasher.hash, _normal(password))


async def verify(password: str, kept: str | None) -> tuple[bool, str | None]:
    """Whether the password is the one of `kept`, and a fresh hash when `kept` has outdated parameters.

    None stands for an account that does not exist: takes the same time as one that does.
    """
    if kept is None or kept == NO_PASSWORD:
        await _in_thread(_verify, _normal(password), _dummy())
        return False, None
    return await _in_thread(_verify, _normal(password), kept)


def _verify(password: str, kept: str) -> tuple[bool, str | None]:
    if len(password) > MOST:
        password = ""  # costs the same, matches nothing
    try:
        return _hasher.verify_and_update(password, kept)
    except UnknownHashError:
        return False, None


async def _in_thread(work: Callable[..., _T], *args: Any) -> _T:
    global _waiting
    if _waiting >= _MAY_WAIT:
        raise Unavailable("Too many people sign in right now; try again in a moment.")
    _waiting += 1
    try:
        return await asyncio.get_running_loop().run_in_executor(_threads, work, *args)
    finally:
        _waiting -= 1


@cache
def _dummy() -> str:
    """A hash that no password has, to spend the same time on."""
    return _hasher.hash(new_secret())


def _normal(password: str) -> str:
    """One form for what looks the same, whatever keyboard typed it (SP 800-63B-4, 3.1.1.2: NFKC)."""
    return unicodedata.normalize("NFKC", password)


def _is_common(password: str, about: tuple[str, ...]) -> bool:
    """Made of nothing but words that everybody tries first, their owner's own words, digits and signs."""
    plain = _normal(password).casefold()
    own = (part for text in about for part in _words(text) if len(part) > 2)
    if len(set(plain)) < _FEWEST_DIFFERENT or _is_run(plain):
        return True
    return _covered(plain, _common_words().union(own))


def _covered(text: str, words: frozenset[str]) -> bool:
    """Can the whole text be laid out with these words, digits and signs? Linear in its length."""
    longest = max(map(len, words))
    letters = text.translate(_LEET)  # a digit may stand for a letter, or for itself
    reached = {0}
    for start in range(len(text)):
        if start not in reached:
            continue
        if not text[start].isalpha():
            reached.add(start + 1)
        reached.update(end for end in range(start + 1, start + longest + 1) if letters[start:end] in words)
    return len(text) in reached


def _is_run(text: str) -> bool:
    """A walk along the alphabet or the keyboard, or a short piece again and again."""
    repeated = any(text == (text[:n] * len(text))[: len(text)] for n in range(1, 5))
    return repeated or any(text in row * 3 or text in (row * 3)[::-1] for row in _ROWS)


def _words(text: str) -> list[str]:
    return "".join(each if each.isalpha() else " " for each in text.casefold()).split()


def _is_breached(password: str) -> bool:
    """Among those that leaked most often, with or without digits and signs at its end."""
    plain = _normal(password).casefold()
    stem = plain.rstrip("0123456789!?.,;:-_*#+ ")
    return any(
        _digest(each) in _breached() for each in (plain, stem) if len(each) >= LEAST_WITH_SECOND_FACTOR
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def _breached() -> frozenset[str]:
    """Digests, so that the file can be shown to anybody."""
    return _lines("breached_passwords.txt")


def _lines(name: str) -> frozenset[str]:
    text = resources.files(__package__).joinpath(name).read_text(encoding="utf-8")
    lines = (line.strip() for line in text.splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#"))


@cache
def _common_words() -> frozenset[str]:
    return _lines("common_passwords.txt")
