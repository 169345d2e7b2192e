"""The watch over the log: rules that look at the last hour, once a minute in one of all processes (product row 50).

A rule counts rows by pseudonyms, opens nothing that is sealed, and finds the same thing once a day: the incident it
made grows instead. Windows are by the time in the rows, so that a minute missed is made up for by the next.
"""

from __future__ import annotations

import ipaddress
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from server.access.services import Services
from server.accounts.second_factor import STAFF
from server.audit.events import Event
from server.audit.log import SYSTEM_CHAIN
from server.core import clock
from server.jobs.queue import Kit, Periodic
from server.storage.sql import load

from . import incidents
from .incidents import Found

QUERIES = load(__package__, "incidents.sql")

HOUR = timedelta(hours=1)
AT_ONCE = timedelta(minutes=10)  # two sessions used within this are used at the same time
FEWEST_BEFORE = 5  # sign-ins that make a place usual
FEWEST_HOURS = 20  # sign-ins that make an hour usual
NEAR = 3  # hours around a usual one


@dataclass(frozen=True)
class Limit:
    """Something of which too much within an hour is told (LIGHTBOX_WATCH): events, or different records."""

    rule: str
    events: tuple[Event, ...]
    name: str  # in the settings; with `_records` the number of different ones
    systems: bool = False  # clients for themselves, who are busier than people


TAKEN = (Event.STUDY_DOWNLOADED, Event.RECORD_EXPORTED)
SEEN = (Event.STUDY_VIEWED, Event.RECORD_READ)
ON_OTHERS = (
    Limit("mass-download", TAKEN, "downloads"),
    Limit("mass-download", TAKEN, "system_downloads", systems=True),
    Limit("many-patients", SEEN, "looks"),
    Limit("many-patients", SEEN, "system_looks", systems=True),
)
REFUSALS = (Event.ACCESS_REFUSED, Event.LINK_REFUSED)
WRONG = (Event.SIGN_IN_FAILED, Event.SECOND_STEP_FAILED)


async def run(services: Services) -> None:
    """All rules; what they find becomes incidents."""
    for rule in RULES:
        async for found in rule(services):
            await incidents.keep(services, found)
    await incidents.count_open(services)


async def busy(services: Services) -> AsyncIterator[Found]:
    """Much of other people's data in a short time."""
    now, limits = clock.now(), services.settings.watch_limits
    for limit in ON_OTHERS:
        values = {"since": now - HOUR, "events": _names(limit.events), "system": SYSTEM_CHAIN}
        more = {"most": limits[limit.name], "patients": limits[f"{limit.name}_records"]}
        more["systems"] = limit.systems
        for row in await services.db.fetch_all(QUERIES["busy_on_others"], values | more):
            yield Found(
                limit.rule,
                _key(limit.rule, row["actor"], now),
                row["count"],
                row["last"],
                row["actor"],
                row["subject"],
                row["chains"],
            )


async def refused(services: Services) -> AsyncIterator[Found]:
    """Somebody tries doors."""
    limits = services.settings.watch_limits
    most, of_nobody = limits["refusals"], limits["refusals_of_nobody"]
    async for found in _counted(services, "many-refusals", REFUSALS, most, of_nobody):
        yield found


async def guessing(services: Services) -> AsyncIterator[Found]:
    """Somebody tries passwords or codes: of one account, or of addresses that have none."""
    limits = services.settings.watch_limits
    most, of_nobody = limits["wrong"], limits["wrong_of_nobody"]
    async for found in _counted(services, "guessing", WRONG, most, of_nobody):
        yield found


async def singular(services: Services) -> AsyncIterator[Found]:
    """What an operator looks at each time it happens."""
    for rule, event in (("token-reused", Event.TOKEN_REUSED), ("emergency", Event.EMERGENCY_BEGUN)):
        async for found in _counted(services, rule, (event,), 1, 1):
            yield found


async def shared(services: Services) -> AsyncIterator[Found]:
    """One account of staff, used from two networks at once."""
    now = clock.now()
    values = {"now": now, "since": now - AT_ONCE, "staff": list(STAFF)}
    for row in await services.db.fetch_all(QUERIES["shared_sessions"], values):
        rule, subject = "shared-credentials", f"account:{row['account_id']}"
        yield Found(rule, _key(rule, row["account_id"], now), row["networks"], row["last"], subject=subject)


async def unusual(services: Services) -> AsyncIterator[Found]:
    """Staff sign in from where, or at an hour, they never did before."""
    values = {"since": clock.now() - HOUR, "staff": list(STAFF)}
    for row in await services.db.fetch_all(QUERIES["fresh_sessions"], values):
        subject, at = f"account:{row['account_id']}", row["created_at"]
        areas = {area_of(each) for each in row["networks"]}
        if len(row["networks"]) >= FEWEST_BEFORE and area_of(row["network"]) not in areas:
            yield Found("unusual-place", f"unusual-place {row['id']}", 1, at, subject=subject)
        if len(row["hours"]) >= FEWEST_HOURS and not _usual(at.hour, row["hours"]):
            yield Found("unusual-hour", f"unusual-hour {row['id']}", 1, at, subject=subject)


RULES: tuple[Callable[[Services], AsyncIterator[Found]], ...] = (
    busy,
    refused,
    guessing,
    singular,
    shared,
    unusual,
)


def area_of(network: str) -> str:
    """A neighbourhood of the internet: addresses of one provider in one region mostly share it."""
    try:
        found = ipaddress.ip_network(network, strict=False)
    except ValueError:
        return network
    return str(found.supernet(new_prefix=min(found.prefixlen, 16 if found.version == 4 else 32)))


def _usual(hour: int, before: list[int]) -> bool:
    return any(min((hour - each) % 24, (each - hour) % 24) <= NEAR for each in before)


async def _counted(
    services: Services, rule: str, events: tuple[Event, ...], most: int, most_of_nobody: int
) -> AsyncIterator[Found]:
    now = clock.now()
    values = {"since": now - HOUR, "events": _names(events), "system": SYSTEM_CHAIN}
    limits = {"most": most, "most_of_nobody": most_of_nobody}
    for row in await services.db.fetch_all(QUERIES["busy_at_all"], values | limits):
        yield Found(
            rule,
            _key(rule, row["actor"], now),
            row["count"],
            row["last"],
            row["actor"],
            row["subject"],
            row["chains"] or (),
        )


def _key(rule: str, actor: object, now: datetime) -> str:
    """The same rule and the same actor on the same day are one incident."""
    return f"{rule} {actor or 'nobody'} {now:%Y-%m-%d}"


def _names(events: tuple[Event, ...]) -> list[str]:
    return [str(each) for each in events]


KIT = Kit(periodic=(Periodic("watch over the log", timedelta(minutes=1), run),))
