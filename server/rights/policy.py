"""How we manage data, in versions: a new one is announced by mail and asks again; no answer means no (rows 36, 59-60).

A version whose terms allow more than the one before has a question. Until somebody says yes to it, nothing of what
it adds is done with their data: `agreed` is what code that would do it has to ask.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from uuid import UUID

from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.texts import N_
from server.jobs.queue import Kit, Periodic
from server.storage.sql import load

from . import letters

QUERIES = load(__package__)
_PAGE = 200


@dataclass(frozen=True)
class Version:
    """One version of the policy."""

    number: int
    since: date
    changes: str  # in a sentence, for people
    question: str = ""  # what it asks anew; empty: nothing but to be known


VERSIONS: tuple[Version, ...] = (
    Version(1, date(2026, 11, 21), N_("The first version.")),
    Version(
        2,
        date(2026, 11, 22),
        N_(
            "Deleting, restricting and copying your data yourself; what happens when an authority demands data."
        ),
    ),
)
# GDPR, art. 22. Were it ever to change, the next version would ask, and no answer would mean no.
AUTOMATED = N_(
    "No decision about you is made by a machine alone. Images are drawn and indexed automatically, which decides"
    " nothing. If this were to change, you would be told by e-mail and asked first, and without your yes it would not"
    " happen to you."
)


def current() -> Version:
    """The version that holds."""
    return VERSIONS[-1]


async def announce(services: Services) -> int:
    """Mail everybody who was here before the newest version, a page at a time; how many mails.

    On the first start there is nobody to tell: the version is known from sign-up.
    """
    version, now = current(), clock.now()
    async with services.db.transaction():
        first = not await services.db.fetch_val(QUERIES["any_announced"])
        values = {"version": version.number, "now": now, "told": now if first else None}
        await services.db.execute(QUERIES["announce_policy"], values)
    count = 0
    while told := await _tell_some(services, version):
        count += told
    return count


async def _tell_some(services: Services, version: Version) -> int:
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["policy_to_tell"], {"version": version.number})
        if row is None:
            return 0
        values = {"after": row["told_up_to"], "before": row["announced_at"], "limit": _PAGE}
        accounts = await services.db.fetch_all(QUERIES["accounts_to_tell"], values)
        for each in accounts:
            name = "policy_asks" if version.question else "policy"
            path = "/account/policy" if version.question else "/data"
            await letters.post(services, name, each["email"], each["language"], path=path, name=each["name"])
        up_to = accounts[-1]["created_at"] if len(accounts) == _PAGE else row["announced_at"]
        await services.db.execute(QUERIES["policy_told"], {"version": version.number, "up_to": up_to})
    return len(accounts)


async def answer(
    services: Services,
    account_id: UUID,
    version: Version,
    *,
    agreed: bool,
    language: str,
    who: Who,
    patient_id: str | None,
) -> None:
    """Keep what somebody said to the question of a version; the last word holds."""
    values = {
        "account": account_id,
        "version": version.number,
        "agreed": agreed,
        "now": clock.now(),
        "language": language,
        "text_hash": hashlib.sha256(version.question.encode()).digest(),
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["answer_policy"], values)
        detail = {"version": version.number, "agreed": agreed}
        await services.audit.record(Event.POLICY_ANSWERED, who=who, patient_id=patient_id, detail=detail)


async def agreed(services: Services, account_id: UUID, version: Version) -> bool:
    """Whether this person's last word on the version is yes. Never asked, never answered: no."""
    answers = await answers_of(services, account_id)
    return answers.get(version.number, (False, None))[0]


async def answers_of(services: Services, account_id: UUID) -> dict[int, tuple[bool, datetime | None]]:
    """The last word on each version that was answered."""
    found: dict[int, tuple[bool, datetime | None]] = {}
    for row in await services.db.fetch_all(QUERIES["policy_answers"], {"account": account_id}):
        found.setdefault(row["version"], (row["agreed"], row["at"]))
    return found


async def _announce(services: Services) -> None:
    await announce(services)


KIT = Kit(periodic=(Periodic("rights: policy announced", timedelta(hours=1), _announce),))
