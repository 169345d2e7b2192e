"""Hostile and broken requests to every address of the portal: an answer in words, never a 500."""

from __future__ import annotations

from urllib.parse import quote

import httpx
import pytest
from starlette.routing import Route

from server.portal.routes import routes
from tests.conftest import RunningServer
from tests.factories import People

NASTY = (
    "\0",
    "a\0b",
    "%",
    "../../etc/passwd",
    "'; DROP TABLE study; --",
    "1" * 5000,
    "\ud800".encode("utf-8", "surrogatepass"),
    b"\xff\xfe",
    "-1",
    "1e9",
    "💥",
    "{{7*7}}",
    "0",
)
TABLE = [route for route in routes if isinstance(route, Route)]


def addresses(route: Route, value: str | bytes) -> str:
    """The address with this value in every place of its path, and as every query parameter that pages read."""
    written = quote(value, safe="")
    path = route.path
    for name in ("uid", "share", "secret", "patient", "report", "record"):
        path = path.replace("{" + name + "}", written)
    path = path.replace("{number:int}", "99999999999999999999" if written == "1e9" else "7")
    query = "&".join(
        f"{name}={written}"
        for name in ("page", "n", "kind", "series", "window", "patient", "next", "again", "done", "about")
    )
    return f"{path}?{query}"


@pytest.mark.parametrize("who", ["visitor", "patient", "doctor", "provider", "operator"])
async def test_every_address_answers(server: RunningServer, people: People, who: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        token = ""
        if who != "visitor":
            await people.session(client, await getattr(people, who)())
            page = await client.get("/account/security")
            token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        assert token or who == "visitor"
        for route in TABLE:
            if route.path == "/sign-out":
                continue
            for value in NASTY:
                address = addresses(route, value)
                for method in sorted((route.methods or set()) - {"HEAD"}):
                    content = {
                        "content": b"csrf=" + token.encode() + b"&x=%00%ff",
                        "headers": {"content-type": "application/x-www-form-urlencoded"},
                    }
                    answer = await client.request(method, address, **(content if method == "POST" else {}))
                    assert answer.status_code < 500, (who, method, address, answer.text[:300])


FIELDS = (
    "name", "email", "password", "birth_date", "given", "family", "gender", "address", "phone", "message", "subject",
    "right", "study", "until", "answer", "kind", "year", "month", "day", "place", "notes", "title", "text", "date",
    "what", "number", "authority", "specialty", "organization", "permission", "session", "current", "was", "next",
)  # fmt: skip


@pytest.mark.parametrize("who", ["visitor", "patient", "doctor"])
async def test_every_form_takes_anything(server: RunningServer, people: People, who: str) -> None:
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        token = ""
        if who != "visitor":
            await people.session(client, await getattr(people, who)())
            page = await client.get("/account/security")
            token = page.text.partition('name="csrf" value="')[2].partition('"')[0]
        for route in TABLE:
            if "POST" not in (route.methods or set()) or route.path == "/sign-out":
                continue
            path = addresses(route, "1.2.3").partition("?")[0]
            for value in ("\0", "\u202e<script>", "9" * 3000, "٣", "\r\nBcc: x@example.org"):
                data = dict.fromkeys(FIELDS, value) | {"csrf": token}
                answer = await client.post(path, data=data)
                assert answer.status_code < 500, (who, path, value[:20], answer.text[:300])
                assert "<script>" not in answer.text.replace("<script type", "")
