"""Accounts: the people who can sign in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID, uuid4

from email_validator import EmailNotValidError, validate_email

from server.core import clock
from server.core.errors import AlreadyStored, NotAuthenticated, NotFound, Unprocessable
from server.storage.db import Database, Record
from server.storage.sql import load

from . import attempts, passwords, sessions, steps

QUERIES = load(__package__)
ROLES = ("patient", "doctor", "provider", "operator")
DUTIES = (
    "support",
    "privacy",
    "verifier",
    "security",
)  # of operators; each sees the pages of its duties only
MOST_NAME = 200


@dataclass(frozen=True)
class Account:
    """One person who can sign in."""

    id: UUID
    email: str
    name: str
    role: str
    email_verified_at: datetime | None
    language: str
    created_at: datetime
    disabled_at: datetime | None
    duties: tuple[str, ...] = ()  # of an operator

    @property
    def verified(self) -> bool:
        """Has the owner of the address confirmed it?"""
        return self.email_verified_at is not None

    @property
    def email_folded(self) -> str:
        return fold_email(self.email)


def normal_email(email: str) -> str:
    """The address as kept; raises Unprocessable when it cannot be one (syntax only, no DNS)."""
    try:
        found = validate_email(email.strip(), check_deliverability=False, test_environment=True)
    except EmailNotValidError as exc:
        raise Unprocessable("This is not an e-mail address.") from exc
    return found.normalized


def fold_email(email: str) -> str:
    """The form in which two addresses are the same: lower case only, for `ß` and `ss` are two mailboxes."""
    return email.strip().lower()


async def add(
    db: Database,
    *,
    email: str,
    name: str,
    role: str,
    password: str | None,
    verified: bool,
    by_operator: bool = False,
    duties: Sequence[str] | None = None,
) -> Account:
    """Add an account; without a password nobody can sign in until one is set.

    A password that an operator gives needs 8 characters and nothing else. `duties` are an operator's: all when none
    are named. Raises AlreadyStored when the address has an account, Unprocessable for an address, name, role, duty
    or password that cannot be.
    """
    address, full_name = normal_email(email), _normal_name(name)
    if role not in ROLES:
        raise Unprocessable(f"The role is one of {', '.join(ROLES)}.")
    if password is not None:
        _require_password(password, address, full_name, by_operator=by_operator)
    kept = await passwords.hash_new(password) if password is not None else passwords.NO_PASSWORD
    now = clock.now()
    values = {"id": uuid4(), "email": address, "folded": fold_email(address), "name": full_name, "role": role}
    values["duties"] = _checked_duties(role, duties)
    times = {"verified_at": now if verified else None, "now": now}
    try:
        async with db.transaction():  # a savepoint: a caller's transaction survives the refusal
            row = await db.fetch_one(QUERIES["add_account"], {**values, **times, "password_hash": kept})
    except AlreadyStored as exc:
        raise AlreadyStored("There is an account with this e-mail address already.") from exc
    assert row is not None
    return account_of(row)


async def get(db: Database, account_id: UUID) -> Account:
    """The account; raises NotFound."""
    row = await db.fetch_one(QUERIES["account_by_id"], {"id": account_id})
    if row is None:
        raise NotFound("There is no such account.")
    return account_of(row)


async def find_by_email(db: Database, email: str) -> Account | None:
    """The account with this address, however it is typed."""
    row = await db.fetch_one(QUERIES["account_by_email"], {"folded": fold_email(email)})
    return account_of(row) if row is not None else None


async def authenticate(db: Database, email: str, password: str, address: str) -> Account:
    """The account that this password opens, asked for from this network address.

    Raises NotAuthenticated, alike for every reason and in the same time; TooManyRequests after many failures.
    Call it outside of a transaction, which could take the count of failures back.
    """
    row = await db.fetch_one(QUERIES["account_by_email"], {"folded": fold_email(email)})
    network = attempts.network_of(address)
    pair, own, whole = await _begin_attempt(db, fold_email(email), network, row)
    right, fresh = await passwords.verify(password, row["password_hash"] if row is not None else None)
    if row is None or not right or row["disabled_at"] is not None:
        raise NotAuthenticated("The e-mail address or the password is not right.")
    await attempts.succeeded(db, pair, own)
    await attempts.give_back(db, whole)
    if fresh is not None:
        values = {"id": row["id"], "password_hash": fresh, "verified": row["password_hash"]}
        await db.execute(QUERIES["rehash_password"], values)
    return account_of(row)


async def _begin_attempt(
    db: Database, folded: str, network: str, row: Record | None
) -> tuple[attempts.Subject, attempts.Subject, attempts.Subject]:
    pair = attempts.subject(attempts.PAIR, folded, network)
    own = attempts.subject(attempts.ACCOUNT, folded)
    whole = attempts.subject(attempts.NETWORK, network)
    await attempts.begin(db, pair, whole)
    if row is None or not await is_at_home(db, row["id"], network):
        await attempts.begin(db, own)
    return pair, own, whole


async def is_at_home(db: Database, account_id: UUID, network: str) -> bool:
    """Does the owner sign in from this network, or have they opened a mail of ours there today?"""
    return await sessions.signed_in_from(db, account_id, network) or await attempts.vouched(
        db, account_id, network
    )


async def check_password(db: Database, account_id: UUID, password: str) -> None:
    """Before a grave act: is this still the owner? Raises NotAuthenticated or TooManyRequests."""
    account = await db.fetch_one(QUERIES["account_by_id"], {"id": account_id})
    tried = attempts.subject(attempts.PAIR, str(account_id), "step-up")
    await attempts.begin(db, tried)
    right, _ = await passwords.verify(password, account["password_hash"] if account is not None else None)
    if not right:
        raise NotAuthenticated("The password is not right.")
    await attempts.succeeded(db, tried)


async def change_password(
    db: Database,
    account_id: UUID,
    password: str,
    *,
    by_operator: bool = False,
    least: int = passwords.LEAST,
) -> None:
    """Set a new password; ends every session and every app's grant of the account in the same transaction.

    Raises NotFound, and Unprocessable for a password that cannot be.
    """
    account = await get(db, account_id)
    _require_password(password, account.email, account.name, by_operator=by_operator, least=least)
    kept = await passwords.hash_new(password)
    async with db.transaction():
        await db.execute(QUERIES["set_password"], {"id": account_id, "password_hash": kept})
        await end_everything(db, account_id, why="password changed")


async def end_everything(db: Database, account_id: UUID, *, why: str, keep: UUID | None = None) -> None:
    """End all sessions of the account (save `keep`), all that lets apps and viewers act for it, and all ways in that
    were asked for before: whoever asked may have been a thief."""
    values = {"account": account_id, "now": clock.now()}
    async with db.transaction():
        await sessions.end_all(db, account_id, keep=keep)
        await steps.end_all(db, account_id)
        await db.execute(QUERIES["end_grants"], values | {"why": why})
        await db.execute(QUERIES["end_ways_in"], values)


async def set_verified(db: Database, account_id: UUID) -> Account:
    """The owner of the address has confirmed it; raises NotFound."""
    row = await db.fetch_one(QUERIES["set_verified"], {"id": account_id, "now": clock.now()})
    if row is None:
        raise NotFound("There is no such account.")
    return account_of(row)


async def disable(db: Database, account_id: UUID, *, why: str) -> None:
    """Close the account to its owner and to apps; nothing is deleted."""
    async with db.transaction():
        await db.execute(QUERIES["set_disabled"], {"id": account_id, "now": clock.now()})
        await end_everything(db, account_id, why=why)


async def become_doctor(db: Database, account_id: UUID) -> bool:
    """A patient registers as a doctor with the same account; False for who is none."""
    return await db.fetch_val(QUERIES["become_doctor"], {"id": account_id}) is not None


async def set_duties(db: Database, account_id: UUID, duties: Sequence[str]) -> None:
    """What an operator may do from now on; raises NotFound, Unprocessable."""
    account = await get(db, account_id)
    values = {"id": account_id, "duties": _checked_duties(account.role, duties)}
    await db.execute(QUERIES["set_duties"], values)


async def operators_with(db: Database, duty: str) -> list[Account]:
    """The operators who have this duty."""
    return [account_of(row) for row in await db.fetch_all(QUERIES["operators_with"], {"duty": duty})]


def _checked_duties(role: str, duties: Sequence[str] | None) -> list[str]:
    if duties is None:
        return list(DUTIES) if role == "operator" else []
    if role != "operator" and duties:
        raise Unprocessable("Only operators have duties.")
    if unknown := set(duties) - set(DUTIES):
        raise Unprocessable(f"{sorted(unknown)[0]} is no duty; they are {', '.join(DUTIES)}.")
    return [each for each in DUTIES if each in duties]


def _require_password(
    password: str, email: str, name: str, *, by_operator: bool, least: int = passwords.LEAST
) -> None:
    if by_operator:
        passwords.require_length(password, passwords.LEAST_FOR_OPERATOR)
    else:
        passwords.require_good(password, least=least, about=(email, name))


def _normal_name(name: str) -> str:
    normal = " ".join(name.split())
    if not normal or len(normal) > MOST_NAME or not normal.isprintable():
        raise Unprocessable(f"A name is needed, of at most {MOST_NAME} characters.")
    return normal


def account_of(row: Record) -> Account:
    """A row of table `account` as a value."""
    values = {name: row[name] for name in Account.__dataclass_fields__}
    return Account(**values | {"duties": tuple(values["duties"])})
