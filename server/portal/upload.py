"""Add imaging: the page of the uploader, and what its script asks before it sends."""

from __future__ import annotations

import re
from typing import Any

import orjson
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.access.action import STUDY_SEARCH
from server.access.reach import Reach
from server.core.errors import InvalidInput, TooLarge, UnsupportedMediaType
from server.core.texts import translations
from server.storage.db import Database

from . import studies, uploads
from .pages import HEADERS, language_of, render, wants_json
from .profile import Profile, own, own_id
from .upload_words import WORDS, WORDS_BY_NUMBER
from .visit import Visit

MOST_UIDS = 1000
MOST_BYTES = 128 * 1024
_UID = re.compile(r"[0-9.]{1,64}")


async def show(visit: Visit) -> Response:
    """The wizard. Nothing is sent before the person says so."""
    profile = await own(visit)
    setup = setup_of(visit, profile)
    unfinished = await uploads.unfinished(visit, profile.id)
    return render(visit.request, "upload.html", here="add", setup=script_json(setup), unfinished=unfinished)


def setup_of(visit: Visit, profile: Profile) -> dict[str, Any]:
    """What the uploader's script is told: whose record, where to, and in which words."""
    return {
        "profile": {"names": profile.resource.get("name", []), "birthDate": profile.birth_date},
        "owner": profile.id,
        "csrf": visit.signed_in.csrf_token,
        "token": "/upload/token",
        "store": f"/patients/{profile.id}/dicomweb/studies",
        "held": "/upload/held",
        "begin": "/upload",
        "states": "/upload/states",
        "words": _words(language_of(visit.request, visit.me)),
    }


async def held(visit: Visit) -> Response:
    """Which of these SOP Instance UIDs the own record holds: `{"uids": [...]}` -> `{"held": [...]}`."""
    uids = await uids_of(visit)
    # The gate holds this call to the session's CSRF header.
    reach = (await visit.reach(STUDY_SEARCH)).at(await own_id(visit))
    return JSONResponse({"held": await studies.held(visit.services.db, uids, reach=reach)}, headers=HEADERS)


async def uids_of(visit: Visit) -> list[str]:
    """The instances or studies that a question of the script names."""
    if not wants_json(visit.request):
        raise UnsupportedMediaType("The question is asked in JSON.")
    return await _uids(visit.request)


async def states_of(db: Database, uids: list[str], *, reach: Reach) -> dict[str, str]:
    """How far the cataloguing of these studies is."""
    rows = await db.fetch_all(uploads.QUERIES["states_of_studies"], {"uids": uids}, reach=reach.studies())
    return {row["study_uid"]: "cataloguing" if row["fhir_stale"] else "available" for row in rows}


async def token(visit: Visit) -> Response:
    """The token of the session as it is now, and whose record it is: for an upload that goes on after a sign-in."""
    facts = {"csrf": visit.signed_in.csrf_token, "owner": await own_id(visit)}
    return JSONResponse(facts, headers=HEADERS)


def script_json(value: Any) -> str:
    """JSON that cannot end the script element it stands in (HTML 4.12.1.3)."""
    return (
        orjson.dumps(value).decode().replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")
    )


async def _uids(request: Request) -> list[str]:
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge("Ask for fewer UIDs at once.")
    try:
        uids = orjson.loads(body)["uids"]
    except (orjson.JSONDecodeError, KeyError, TypeError, IndexError) as exc:
        raise InvalidInput('The body must be {"uids": [...]}.') from exc
    if not isinstance(uids, list) or not all(isinstance(each, str) and _UID.fullmatch(each) for each in uids):
        raise InvalidInput("Each UID must be digits and dots, at most 64 of them.")
    if len(uids) > MOST_UIDS:
        raise TooLarge(f"At most {MOST_UIDS} UIDs can be asked for at once.")
    return uids


def _words(language: str) -> dict[str, Any]:
    catalogue = translations(language)
    said: dict[str, Any] = {key: catalogue.gettext(text) for key, text in WORDS.items()}
    for key, (one, many) in WORDS_BY_NUMBER.items():
        said[key] = {"one": catalogue.gettext(one), "other": catalogue.gettext(many)}
    return said
