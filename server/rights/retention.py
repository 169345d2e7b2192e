"""Retention: what is removed because of its age, by rules of the region, after a look without removing (privacy.md).

A record that somebody holds is never removed because of its age: it is theirs. What has an end is what nobody claimed
and what the service wrote about its own work. A hold beats every rule. Each day a job looks and writes down how much
is due; it removes that only where the operator switched it on (LIGHTBOX_RETENTION_PURGE), having seen those numbers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import uuid4

import orjson

from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.settings import RETENTION_RULES, Settings
from server.jobs.queue import Kit, Periodic
from server.storage.sql import load
from server.storage.where import Where

from . import erasure

QUERIES = load(__package__, "retention.sql")
RUNS_KEPT = timedelta(days=6 * 365)
AT_ONCE = 100  # profiles that one run begins to erase: a mistake is seen before it is whole
_YEAR = 365

# Days by region, where its name begins so; the last for all others. GDPR names no periods: three years is what
# claims are barred after in most of its states. HIPAA: documents six years (45 CFR 164.316(b)(2), 164.530(j)).
REGIONS: dict[str, dict[str, int]] = {
    "eu": {"unclaimed": 10 * _YEAR, "requests": 3 * _YEAR, "holds": 6 * _YEAR, "incidents": 5 * _YEAR},
    "uk": {"unclaimed": 8 * _YEAR, "requests": 6 * _YEAR, "holds": 6 * _YEAR, "incidents": 6 * _YEAR},
    "us": {"unclaimed": 10 * _YEAR, "requests": 6 * _YEAR, "holds": 6 * _YEAR, "incidents": 6 * _YEAR},
    "": {"unclaimed": 10 * _YEAR, "requests": 6 * _YEAR, "holds": 6 * _YEAR, "incidents": 6 * _YEAR},
}
# Profiles: made by an organization or a doctor, never claimed, and open to nobody by a share.
_IDLE = Where(
    "patient.claimed_at IS NULL AND patient.state = 'active'"
    " AND NOT EXISTS (SELECT FROM holder WHERE holder.patient_id = patient.id)"
    " AND NOT EXISTS (SELECT FROM share WHERE share.patient_id = patient.id AND share.state = 'active')"
)
assert set(RETENTION_RULES) >= set(REGIONS[""])


@dataclass
class Found:
    """What one rule found."""

    days: int
    due: int
    held: int
    removed: int = 0
    oldest: datetime | None = None


def rules(settings: Settings) -> dict[str, int]:
    """The rules in force, in days: the region's, and over them what the operator set; 0 days is never."""
    name = next(each for each in REGIONS if settings.region.lower().startswith(each))
    wanted = REGIONS[name] | dict(settings.retention)
    return {rule: days for rule, days in wanted.items() if days}


async def run(services: Services, *, purge: bool, who: Who | None = None) -> dict[str, Found]:
    """Look at every rule, and (with `purge`) remove what is due; written down and in the log either way."""
    found = {}
    for rule, days in rules(services.settings).items():
        before = clock.now() - timedelta(days=days)
        found[rule] = await _looked_at(services, rule, days, before)
        if purge and found[rule].due:
            found[rule].removed = await _removed(services, rule, before)
    await _note(services, found, purge, who)
    return found


async def _looked_at(services: Services, rule: str, days: int, before: datetime) -> Found:
    parts = {"idle": _IDLE} if rule == "unclaimed" else {}
    row = await services.db.fetch_one(QUERIES[f"due_{rule}"], {"before": before}, **parts)
    assert row is not None  # a SELECT of aggregates has a row
    return Found(days, row["due"], row["held"], oldest=row["oldest"])


async def _removed(services: Services, rule: str, before: datetime) -> int:
    if rule != "unclaimed":
        return await services.db.execute(QUERIES[f"drop_{rule}"], {"before": before})
    values = {"before": before, "limit": AT_ONCE}
    count = 0
    for row in await services.db.fetch_all(QUERIES["some_unclaimed"], values, idle=_IDLE):
        await erasure.of_nobody(services, row["id"])
        count += 1
    return count


async def _note(services: Services, found: Mapping[str, Found], purge: bool, who: Who | None) -> None:
    numbers = {rule: asdict(each) for rule, each in found.items()}
    values = {
        "id": uuid4(),
        "now": clock.now(),
        "region": services.settings.region,
        "purged": purge,
        "found": orjson.dumps(numbers).decode(),
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["note_run"], values)
        await services.db.execute(QUERIES["forget_runs"], {"before": clock.now() - RUNS_KEPT})
        detail = {"purged": purge, "removed": {rule: each.removed for rule, each in found.items()}}
        await services.audit.record(Event.RETENTION_RUN, who=who, patient_id=None, detail=detail)


async def last_runs(services: Services, limit: int = 10) -> list[dict[str, Any]]:
    """What was found and removed, the last first."""
    rows = await services.db.fetch_all(QUERIES["last_runs"], {"limit": limit})
    return [{**dict(row), "found": orjson.loads(row["found"])} for row in rows]


async def _daily(services: Services) -> None:
    await run(services, purge=services.settings.retention_purge)


KIT = Kit(periodic=(Periodic("rights: retention", timedelta(days=1), _daily),))

__all__ = ["KIT", "REGIONS", "Found", "last_runs", "rules", "run"]
