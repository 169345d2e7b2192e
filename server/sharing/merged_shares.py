"""Shares and guest links of a record that goes into another one, with the Consent behind each, and their way back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from server.access.services import Services
from server.core import clock
from server.storage.db import Record

from . import link_consent, notify
from .acts import write_consent
from .guest_link import link_of
from .merged import QUERIES, author_of
from .model import Share, share_of

_BEFORE_AND_AFTER = ("id", "before", "after", "before_state", "after_state")
Json = dict[str, Any]


async def move(
    services: Services, source: str, target: str, uids: Sequence[str], *, narrow: bool
) -> list[Json]:
    """Bring them over; what is needed to bring each back. With `narrow`, they show only the studies named."""
    values = {"source": source, "target": target, "studies": list(uids), "now": clock.now()}
    shares = await _move_shares(services, values | {"narrow": narrow})
    return [*shares, *await _move_links(services, values)]


async def _move_shares(services: Services, values: Json) -> list[Json]:
    moved = []
    for row in await services.db.fetch_all(QUERIES["move_shares"], values):
        found = await services.db.fetch_one(QUERIES["share"], {"id": row["id"]})
        assert found is not None  # moved a moment ago
        share = share_of(found)
        await _write_consent(services, share)
        if row["after_state"] != row["before_state"]:
            await notify.over(services, share)
        moved.append({**dict(row), "table": "share"})
    return moved


async def _move_links(services: Services, values: Json) -> list[Json]:
    links = await services.db.fetch_all(QUERIES["move_links"], values)
    await services.db.execute(QUERIES["move_visits"], values | {"links": [row["id"] for row in links]})
    for row in links:
        await _write_link(services, await services.db.fetch_one(QUERIES["link"], {"id": row["id"]}))
    return [{**dict(row), "table": "link"} for row in links]


async def move_back(services: Services, what: Json, source: str, target: str) -> None:
    """Bring one back, as it was before."""
    key = {"source": source, "target": target}
    if what["table"] == "share":
        back = key | {name: what[name] for name in _BEFORE_AND_AFTER}
        if (row := await services.db.fetch_one(QUERIES["share_back"], back)) is not None:
            await _write_consent(services, share_of(row))
    else:
        back = key | {"id": what["id"], "before": what["before"]}
        await _write_link(services, await services.db.fetch_one(QUERIES["link_back"], back))


async def _write_consent(services: Services, share: Share) -> None:
    await write_consent(services, share, author=await author_of(services, "Consent", share.id))


async def _write_link(services: Services, row: Record | None) -> None:
    if row is not None:
        author = await author_of(services, "Consent", row["id"])
        await link_consent.write(services, link_of(row), author=author)
