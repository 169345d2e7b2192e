"""Permissions (research, education, marketing): separate choices, given and taken back, never pre-ticked.

Consent in the sense of the GDPR, art. 7: each with the sentence that was shown, in append-only versions.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.texts import N_
from server.storage.sql import load

QUERIES = load(__package__)
VERSION = 1  # raised with any change of the sentences


@dataclass(frozen=True)
class Choice:
    """One permission: what the person is asked, and how it is named afterwards."""

    key: str
    ask: str
    name: str


CHOICES = (
    Choice(
        "research-nonprofit",
        N_("Researchers of universities and other non-profit bodies may use my images without my name."),
        N_("Non-profit research"),
    ),
    Choice(
        "research-commercial",
        N_("Companies may use my images without my name for research."),
        N_("Commercial research"),
    ),
    Choice(
        "education",
        N_("My images may be used without my name to teach medical professionals."),
        N_("Education"),
    ),
    Choice("marketing", N_("You may tell me about news of Lightbox by e-mail."), N_("News by e-mail")),
)


@dataclass(frozen=True)
class Chosen:
    """One choice at one moment."""

    key: str
    given: bool
    at: datetime


async def current(services: Services, account_id: UUID) -> dict[str, Chosen]:
    """The last word on each permission; what was never asked is missing, and means no."""
    latest: dict[str, Chosen] = {}
    for each in await history(services, account_id):
        latest.setdefault(each.key, each)
    return latest


async def history(services: Services, account_id: UUID) -> list[Chosen]:
    """Every change, the latest first."""
    rows = await services.db.fetch_all(QUERIES["permissions_of"], {"account": account_id})
    return [Chosen(row["purpose"], row["given"], row["at"]) for row in rows]


async def choose(
    services: Services, account_id: UUID, ticked: list[str], *, who: Who, patient_id: str | None, channel: str
) -> int:
    """Keep what changed against the last word; how many did."""
    before, now, changed = await current(services, account_id), clock.now(), 0
    async with services.db.transaction():
        for choice in CHOICES:
            given = choice.key in ticked
            if given == (choice.key in before and before[choice.key].given):
                continue
            values = {"account": account_id, "purpose": choice.key, "given": given, "now": now}
            text = {"text_hash": hashlib.sha256(choice.ask.encode()).digest(), "text_version": VERSION}
            await services.db.execute(QUERIES["add_permission"], values | text | {"channel": channel})
            detail = {"permission": choice.key, "given": given}
            await services.audit.record(Event.CONSENT_CHANGED, who=who, patient_id=patient_id, detail=detail)
            changed += 1
    return changed
