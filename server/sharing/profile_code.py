"""Codes that open a way to a profile: to claim it, to act for its person, to look in an emergency (decision 7).

A code is told once, to whoever may hand it on. It is of no use without the birth date, dies after a few wrong ones,
and tries from one account are slowed down.
"""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import orjson

from server.access.actor import Actor
from server.access.services import Services
from server.accounts import attempts
from server.core import clock
from server.core.errors import Unprocessable
from server.core.ids import digest
from server.core.texts import N_
from server.storage.db import Record
from server.storage.sql import load

QUERIES = load(__package__, "profiles.sql")
MOST_TRIES = 5
KEPT = timedelta(days=90)
_ALPHABET = "23456789ABCDEFGHJKMNPQRSTUVWXYZ"  # nothing that is read as something else
_GROUPS, _LETTERS = 3, 4  # 59 bits
_LIMIT = attempts.Limit("profile-code", free=5, longest=15 * 60)
WRONG = N_(
    "This code and this birth date open nothing. Check both; a code works for 90 days, and only so many tries."
)


class Purpose(StrEnum):
    """What a code is for."""

    CLAIM = "claim"
    GUARDIAN = "guardian"
    EMERGENCY = "emergency"


async def make(
    services: Services, patient_id: str, purpose: Purpose, *, actor: Actor, email_folded: str = ""
) -> str:
    """A new code in the place of the one before; the caller has made sure that `actor` may. Inside a transaction."""
    code = "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_LETTERS)) for _ in range(_GROUPS))
    now = clock.now()
    values: dict[str, Any] = {
        "patient": patient_id,
        "purpose": purpose,
        "code_hash": digest(_bare(code)),
        "email": email_folded,
    }
    values |= {"account": actor.account_id, "now": now}
    lasting = purpose is Purpose.EMERGENCY  # printed on a card
    await services.db.execute(QUERIES["put_code"], values | {"until": None if lasting else now + KEPT})
    return code


async def drop(services: Services, patient_id: str, purpose: Purpose) -> None:
    """The code opens nothing any more."""
    await services.db.execute(QUERIES["drop_code"], {"patient": patient_id, "purpose": purpose})


async def living(services: Services, patient_id: str) -> dict[str, datetime]:
    """Which codes there are, and since when; the caller has asked who may know."""
    values = {"patient": patient_id, "now": clock.now(), "most": MOST_TRIES}
    rows = await services.db.fetch_all(QUERIES["codes_of"], values)
    return {row["purpose"]: row["made_at"] for row in rows}


async def opened(services: Services, code: str, birth_date: str, *purposes: Purpose, actor: Actor) -> Record:
    """The profile that this code and birth date open. Raises Unprocessable, TooManyRequests.

    Without a code, one that waits for the verified address of who asks.
    """
    await attempts.begin(services.db, attempts.subject(_LIMIT, str(actor.account_id)))
    values: dict[str, Any] = {"purposes": [str(each) for each in purposes], "code_hash": digest(_bare(code))}
    values |= {"account": actor.account_id, "now": clock.now(), "most": MOST_TRIES}
    row = await services.db.fetch_one(QUERIES["profile_behind"], values)
    if row is None:
        raise Unprocessable(WRONG)
    if not _fits(row["profile"], birth_date):
        await services.db.execute(
            QUERIES["count_try"], {"patient": row["patient_id"], "purpose": row["purpose"]}
        )
        raise Unprocessable(WRONG)
    return row


def _fits(profile: bytes | None, birth_date: str) -> bool:
    """A profile whose birth date is not known is opened by the code alone."""
    known = str((orjson.loads(profile) if profile else {}).get("birthDate") or "")
    return not known or birth_date.startswith(known)


def _bare(code: str) -> str:
    return "".join(letter for letter in code.upper() if letter in _ALPHABET)
