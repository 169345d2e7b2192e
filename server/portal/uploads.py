"""An upload as a row: one disc, what it holds, and so what is missing after a reload, a crash or a cable pulled."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

from starlette.responses import JSONResponse, Response

from server.access.action import STUDY_SEARCH, STUDY_STORE
from server.access.services import Services
from server.core import clock
from server.core.errors import InvalidInput, NotFound, TooLarge, UnsupportedMediaType
from server.storage.sql import load

from .forms import read_json
from .pages import HEADERS, see_other, wants_json
from .profile import own_id
from .visit import Visit

QUERIES = load(__package__, "uploads.sql")
MOST_UIDS = 100_000
MOST_BYTES = 8 * 2**20
MOST_ASKED = 200
KEPT = timedelta(days=30)
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Unfinished:
    """A disc that did not arrive whole."""

    id: UUID
    created_at: datetime
    total: int
    arrived: int

    @property
    def missing(self) -> int:
        return self.total - self.arrived


async def begin(visit: Visit) -> Response:
    """`{"uids": [...], "studies": n, "listed": n or null}` -> `{"id": ...}`, before the first image is sent."""
    body = await _json(visit)
    uids = _uids(body, MOST_UIDS)
    values = {"id": uuid4(), "account": visit.signed_in.account_id, "patient": await own_id(visit)}
    values |= {"uids": uids, "studies": _count(body, "studies"), "listed": _count(body, "listed") or None}
    reach = (await visit.reach(STUDY_STORE)).of_holder().patients()
    found = await visit.services.db.fetch_val(
        QUERIES["begin_upload"], values | {"now": clock.now()}, reach=reach
    )
    if found is None:
        raise NotFound()
    return JSONResponse({"id": str(found)}, headers=HEADERS)


async def done(visit: Visit) -> Response:
    """Everything of it was sent."""
    await _end(visit)
    return JSONResponse({}, headers=HEADERS)


async def forget(visit: Visit) -> Response:
    """Do not ask for the rest any more; what arrived stays."""
    await _end(visit)
    return see_other("/imaging/add")


async def states(visit: Visit) -> Response:
    """`{"uids": [...]}` -> `{"states": {uid: "cataloguing" | "available"}}` of own studies."""
    uids = _uids(await _json(visit), MOST_ASKED)
    reach = (await visit.reach(STUDY_SEARCH)).at(await own_id(visit)).studies()
    rows = await visit.services.db.fetch_all(QUERIES["states_of_studies"], {"uids": uids}, reach=reach)
    found = {row["study_uid"]: "cataloguing" if row["fhir_stale"] else "available" for row in rows}
    return JSONResponse({"states": found}, headers=HEADERS)


async def unfinished(visit: Visit, patient_id: str) -> list[Unfinished]:
    """The discs of the last weeks that did not arrive whole."""
    reach = (await visit.reach(STUDY_STORE)).of_holder().patients()
    values = {"patient": patient_id, "since": clock.now() - KEPT}
    rows = await visit.services.db.fetch_all(QUERIES["unfinished_uploads"], values, reach=reach)
    return [Unfinished(row["id"], row["created_at"], row["total"], row["arrived"]) for row in rows]


async def forget_old(services: Services) -> None:
    """Rows of discs that nobody brings any more."""
    now = clock.now()
    values = {"before": now - KEPT, "done_before": now - timedelta(days=1)}
    await services.db.execute(QUERIES["forget_uploads"], values)


async def _end(visit: Visit) -> None:
    try:
        upload = UUID(visit.place("upload"))
    except ValueError as exc:
        raise NotFound() from exc
    reach = (await visit.reach(STUDY_STORE)).of_holder().at(await own_id(visit)).patients()
    values = {"id": upload, "now": clock.now()}
    if await visit.services.db.fetch_val(QUERIES["end_upload"], values, reach=reach) is None:
        raise NotFound()


async def _json(visit: Visit) -> dict[str, Any]:
    if not wants_json(visit.request):
        raise UnsupportedMediaType("The question is asked in JSON.")
    return await read_json(visit.request, most=MOST_BYTES)


def _uids(body: dict[str, Any], most: int) -> list[str]:
    uids = body.get("uids")
    if not isinstance(uids, list) or not all(isinstance(each, str) and _UID.fullmatch(each) for each in uids):
        raise InvalidInput("Each UID must be digits and dots, at most 64 of them.")
    if len(uids) > most:
        raise TooLarge(f"At most {most} UIDs can be told at once.")
    return list(dict.fromkeys(uids))


def _count(body: dict[str, Any], name: str) -> int:
    value = body.get(name) or 0
    if not isinstance(value, int) or not 0 <= value <= 10_000_000:
        raise InvalidInput("A count is a number.")
    return value
