"""Incidents: what the watch over the log found, or an operator reported; who is affected; the clocks of a breach.

72 hours to the authority (GDPR, art. 33), 60 days to the people at the latest (45 CFR 164.404). No name stands here:
an account or a client by its id, records by theirs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from uuid import UUID, uuid4

from prometheus_client import Counter, Gauge

from server.access.actor import Actor
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.core.texts import N_, translations
from server.storage.db import Record
from server.storage.sql import load

from . import letters
from .operators import require_operator, said

QUERIES = load(__package__, "incidents.sql")
AUTHORITY_WITHIN = timedelta(hours=72)
PEOPLE_WITHIN = timedelta(days=60)
MOST = 500

ALERTS = Counter("lightbox_alerts", "Findings of the watch over the audit log", ["rule"])
OPEN = Gauge("lightbox_incidents_open", "Incidents that nobody closed yet", multiprocess_mode="mostrecent")

RULES = {
    "mass-download": N_("Unusually many downloads of other people's images"),
    "many-patients": N_("Unusually many records looked at"),
    "many-refusals": N_("Many refused requests"),
    "guessing": N_("Many wrong passwords or codes"),
    "unusual-place": N_("Staff signed in from a place that is new for them"),
    "unusual-hour": N_("Staff signed in at an hour that is new for them"),
    "shared-credentials": N_("Staff signed in from two networks at once"),
    "token-reused": N_("A spent key of an app came back"),
    "emergency": N_("An operator used emergency access"),
    "reported": N_("Reported by an operator"),
}


@dataclass(frozen=True)
class Found:
    """One finding of a rule."""

    rule: str
    key: str
    count: int
    last: datetime
    actor: UUID | None = None  # pseudonym
    subject: str | None = None  # account:<id> or client:<id>
    chains: Sequence[UUID] = ()  # of the records it was about
    words: str = ""

    @property
    def account_id(self) -> UUID | None:
        kind, _, value = (self.subject or "").partition(":")
        return UUID(value) if kind == "account" else None

    @property
    def client_id(self) -> str | None:
        kind, _, value = (self.subject or "").partition(":")
        return value if kind == "client" else None


@dataclass(frozen=True)
class Incident:
    """One incident, as its page shows it."""

    id: UUID
    number: int
    rule: str
    account_id: UUID | None
    client_id: str | None
    count: int
    words: str
    opened_at: datetime
    seen_until: datetime
    breach_at: datetime | None
    told_authority_at: datetime | None
    told_people_at: datetime | None
    closed_at: datetime | None
    outcome: str
    patients: int

    @property
    def authority_by(self) -> datetime | None:
        """Until when the authority has to be told."""
        return self.breach_at + AUTHORITY_WITHIN if self.breach_at else None

    @property
    def people_by(self) -> datetime | None:
        """Until when the people have to be told, at the latest."""
        return self.breach_at + PEOPLE_WITHIN if self.breach_at else None


@dataclass(frozen=True)
class Story:
    """An incident with all there is to it."""

    incident: Incident
    patients: list[str] = field(default_factory=list)
    notes: list[tuple[datetime, str, str]] = field(default_factory=list)


async def keep(services: Services, found: Found) -> UUID:
    """Keep a finding; when it is new, operators are told by mail and the metric counts."""
    now, incident_id = clock.now(), uuid4()
    values = {"id": incident_id, "rule": found.rule, "key": found.key, "actor": found.actor, "now": now}
    who = {"account": found.account_id, "client": found.client_id}
    more = {"count": found.count, "words": found.words, "last": found.last}
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["open_incident"], values | who | more)
        assert row is not None  # it is written or updated
        if found.chains:
            chains = {"id": row["id"], "chains": list(found.chains)}
            await services.db.execute(QUERIES["add_patients_of_chains"], chains)
        kept: UUID = row["id"]
        if not row["is_new"]:
            return kept
        detail = {"incident": row["number"], "rule": found.rule}
        await services.audit.record(Event.INCIDENT_OPENED, who=None, patient_id=None, detail=detail)
        await _tell_operators(services, row["id"], row["number"], found.rule)
    ALERTS.labels(found.rule).inc()
    return kept


async def report(services: Services, *, words: str, patients: Sequence[str], actor: Actor) -> UUID:
    """An operator writes down what they saw. Raises Forbidden, Unprocessable."""
    await require_operator(services, actor)
    found = Found("reported", f"reported {uuid4()}", 1, clock.now(), words=said(words, "What happened"))
    async with services.db.transaction():
        incident_id = await keep(services, found)
        await add_patients(services, incident_id, patients, actor=actor)
    return incident_id


async def add_patients(
    services: Services, incident_id: UUID, patients: Sequence[str], *, actor: Actor
) -> None:
    """Records that are affected, by their ids; unknown ones are left out. Raises Forbidden."""
    await require_operator(services, actor)
    wanted = [each for each in dict.fromkeys(patients) if each][:MOST]
    if wanted:
        await services.db.execute(QUERIES["add_patients"], {"id": incident_id, "patients": wanted})


async def listed(services: Services, *, actor: Actor, closed: bool = False) -> list[Incident]:
    """Breaches first, then the newest. Raises Forbidden."""
    await require_operator(services, actor)
    return await _rows(services, closed=closed)


async def story(services: Services, incident_id: UUID, *, actor: Actor) -> Story:
    """Raises Forbidden, NotFound."""
    await require_operator(services, actor)
    found = await _rows(services, incident_id, closed=True)
    if not found:
        raise NotFound()
    patients = await services.db.fetch_all(QUERIES["patients_of"], {"id": incident_id})
    notes = await services.db.fetch_all(QUERIES["notes_of"], {"id": incident_id})
    return Story(
        found[0],
        [row["patient_id"] for row in patients],
        [(row["at"], row["name"] or "", row["words"]) for row in notes],
    )


async def act(services: Services, incident_id: UUID, *, what: str, words: str, actor: Actor) -> None:
    """`note`, `breach`, `told-authority`, `tell-people`, `close`. Raises Forbidden, Unprocessable, Conflict."""
    await require_operator(services, actor)
    now = clock.now()
    statements: dict[str, tuple[str, dict[str, object]]] = {
        "breach": ("declare_breach", {"at": now}),
        "told-authority": ("told_authority", {"now": now}),
        "tell-people": ("told_people", {"now": now}),
        "close": ("close_incident", {"now": now, "by": actor.account_id, "outcome": words.strip()[:500]}),
    }
    if what not in (*statements, "note"):
        raise Unprocessable("Choose one of the answers.")
    said_words = said(words, "A sentence about it")
    async with services.db.transaction():
        if what in statements:
            name, values = statements[what]
            if await services.db.fetch_val(QUERIES[name], {"id": incident_id, **values}) is None:
                raise Conflict("This was done already, or the incident is closed.")
        note = {"note": uuid4(), "id": incident_id, "now": now, "by": actor.account_id}
        await services.db.execute(QUERIES["add_incident_note"], note | {"words": f"{what}: {said_words}"})
        if what == "tell-people":
            await _tell_people(services, incident_id, now)
        detail = {"incident": str(incident_id), "act": what}
        await services.audit.record(Event.INCIDENT_ACTED, who=actor.who(), patient_id=None, detail=detail)


async def count_open(services: Services) -> None:
    """Set the metric."""
    OPEN.set(int(await services.db.fetch_val(QUERIES["open_incidents"])))


async def _tell_operators(services: Services, incident_id: UUID, number: int, rule: str) -> None:
    for each in await people.operators_with(services.db, "security"):
        path = f"/operator/incidents/{incident_id}"
        words = translations(each.language).gettext(RULES[rule])
        await letters.post(
            services, "alert", each.email, each.language, path=path, number=str(number), rule=words
        )


async def _tell_people(services: Services, incident_id: UUID, now: datetime) -> None:
    values = {"id": incident_id, "now": now}
    for row in await services.db.fetch_all(QUERIES["holders_affected"], values):
        await letters.post(
            services, "breach", row["email"], row["language"], path="/help?about=rights", name=row["name"]
        )


async def _rows(
    services: Services, incident_id: UUID | None = None, *, closed: bool = False
) -> list[Incident]:
    values = {"id": incident_id, "closed": closed, "limit": MOST}
    return [_incident(row) for row in await services.db.fetch_all(QUERIES["incidents"], values)]


def _incident(row: Record) -> Incident:
    return Incident(**{name: row[name] for name in Incident.__dataclass_fields__})
