"""Another site never acts with the cookie of somebody who is signed in here.

privacy.md, "Sessions"; decision 20; https://www.w3.org/TR/fetch-metadata/. Every POST of every page is walked as it is
mounted: a new one is in here by itself.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator

import httpx
import pytest
from starlette.routing import BaseRoute, Mount, Route

from server.app import routes
from tests.conformance.dicomweb.samples import MULTIPART, body, instance
from tests.conftest import RunningServer
from tests.factories import People, Person

UNSAFE = ("POST", "PUT", "PATCH", "DELETE")
# Their own proof comes with the request, and no cookie is looked at.
NO_COOKIE = (
    "/oauth/token",
    "/oauth/introspect",
    "/oauth/revoke",
    "/oauth/register",
    "/oauth/par",
    "/oauth/authorize",
)
FORM = "application/x-www-form-urlencoded"


def walk(found: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    for route in found:
        if isinstance(route, Mount):
            yield from walk(list(getattr(route.app, "routes", [])), prefix + route.path)
        elif isinstance(route, Route):
            path = re.sub(r"\{\w+(?::(\w+))?\}", lambda m: "1" if m[1] == "int" else "x", prefix + route.path)
            for method in sorted(set(route.methods or ()) & set(UNSAFE)):
                yield method, path


ACTS = sorted(
    {(m, p) for m, p in walk(routes()) if p not in NO_COOKIE and not p.startswith("/oauth/register/")}
)


@pytest.fixture(scope="module")
async def pat(server: RunningServer) -> Person:
    return await People(server.services).patient("Pat Cookie")


@pytest.fixture(scope="module")
async def doc(server: RunningServer) -> Person:
    return await People(server.services).doctor("Doc Cookie")


async def signed_in(server: RunningServer, person: Person) -> httpx.AsyncClient:
    browser = httpx.AsyncClient(base_url=server.url, timeout=30)
    await People(server.services).session(browser, person)
    return browser


@pytest.fixture(scope="module")
async def browsers(server: RunningServer, pat: Person, doc: Person) -> AsyncIterator[list[httpx.AsyncClient]]:
    made = [await signed_in(server, each) for each in (pat, doc)]
    yield made
    for each in made:
        await each.aclose()


SITES = {
    "cross-site": {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "old browser": {"Origin": "https://evil.example"},
    "null": {"Origin": "null"},
}
# What a page can send elsewhere without being asked first: three types of body, and an Accept of its choice.
SENT = {
    "form": {"Content-Type": FORM},
    "text": {"Content-Type": "text/plain"},
    "form, JSON wanted": {"Content-Type": FORM, "Accept": "application/json"},
    "JSON": {"Content-Type": "application/json"},
    "FHIR": {"Content-Type": "application/fhir+json"},
}


@pytest.mark.parametrize("number", range(len(SITES)), ids=list(SITES))
async def test_another_site_does_nothing(browsers: list[httpx.AsyncClient], number: int) -> None:
    """A request that a browser says came from elsewhere is refused, whatever it looks like.

    Each address is asked from every site as both people, and so eight times: in each of the five looks at least once.
    """
    site, looks = list(SITES.values())[number], list(SENT.values())
    for who, browser in enumerate(browsers):
        done = []
        for at, (method, path) in enumerate(ACTS):
            headers = site | looks[(at + number + who * len(SITES)) % len(looks)]
            answer = await browser.request(method, path, headers=headers, content=b"answer=decline&csrf=x")
            if answer.status_code not in (400, 401, 403, 404, 405, 415) or "set-cookie" in answer.headers:
                done.append((method, path, answer.status_code))
        assert done == []
        assert (await browser.get("/account")).status_code == 200  # and is signed in still


@pytest.mark.parametrize("sent", SENT)
async def test_nothing_without_the_sessions_token(browsers: list[httpx.AsyncClient], sent: str) -> None:
    """Fetch Metadata may be missing: the cookie alone is never enough, JSON asked for or not.

    Each address is asked without a token in every look, and with each wrong one in some.
    """
    wrong, turn = ("", "wrong", "é"), list(SENT).index(sent)
    for who, browser in enumerate(browsers):
        done = []
        for at, (method, path) in enumerate(ACTS):
            for csrf in (None,) if who else (None, wrong[(at + turn) % len(wrong)]):
                headers = dict(SENT[sent]) | (
                    {} if csrf is None else {"X-CSRF-Token": csrf.encode("latin-1")}
                )
                answer = await browser.request(
                    method, path, headers=headers, content=b"csrf=%00&answer=accept"
                )
                reads = path.endswith("/_search")  # reads only, and nobody elsewhere sees the answer
                if (answer.status_code < 400 and not reads) or answer.status_code >= 500:
                    done.append((method, path, answer.status_code))
        assert done == []
        assert (await browser.get("/account")).status_code == 200


async def test_a_store_by_cookie_needs_the_token_and_this_site(browsers: list[httpx.AsyncClient]) -> None:
    """Decision 20: the uploader's store, with a CSRF header and a same-origin check."""
    pat = browsers[0]
    token = (await pat.get("/upload/token", headers={"Accept": "application/json"})).json()["csrf"]
    content = body([instance().data])
    headers = {"Content-Type": MULTIPART}
    for bad in (
        {}, {"X-CSRF-Token": "x"}, {"X-CSRF-Token": token, "Sec-Fetch-Site": "cross-site"},
        {"X-CSRF-Token": token, "Sec-Fetch-Site": "same-site"}, {"X-CSRF-Token": token, "Origin": "https://evil.example"},
        {"Content-Type": "multipart/form-data; boundary=samples"},
    ):  # fmt: skip
        assert (await pat.post("/dicomweb/studies", content=content, headers=headers | bad)).status_code in (
            403,
            415,
        ), bad
    good = headers | {"X-CSRF-Token": token, "Sec-Fetch-Site": "same-origin"}
    assert (await pat.post("/dicomweb/studies", content=content, headers=good)).status_code == 200


async def test_nobody_is_signed_in_by_another_site(server: RunningServer, pat: Person) -> None:
    """Login CSRF: a page elsewhere cannot put its visitor into an account of its own."""
    form = {"email": pat.email, "password": pat.password}
    async with httpx.AsyncClient(base_url=server.url) as browser:
        for headers in SITES.values():
            answer = await browser.post("/sign-in", data=form, headers=headers)
            assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)


async def test_the_cookie_is_kept_from_scripts_and_sites(server: RunningServer, pat: Person) -> None:
    """privacy.md: HttpOnly, SameSite=Lax, Path=/; a new value at each sign-in."""
    seen = set()
    for _ in range(2):
        async with httpx.AsyncClient(base_url=server.url) as browser:
            answer = await browser.post("/sign-in", data={"email": pat.email, "password": pat.password})
            cookie = answer.headers["set-cookie"].lower()
            assert "httponly" in cookie
            assert "samesite=lax" in cookie
            assert "path=/;" in cookie + ";"
            assert "domain" not in cookie
            seen.add(answer.cookies["lightbox_session"])
    assert len(seen) == 2


async def test_no_origin_reads_with_the_cookie(
    server: RunningServer, browsers: list[httpx.AsyncClient]
) -> None:
    """CORS (https://fetch.spec.whatwg.org/): never with credentials, and pages of people for no other origin."""
    for path in (
        "/fhir/Patient",
        "/dicomweb/studies",
        "/account",
        "/upload/token",
        "/oauth/manage",
        "/oauth/authorize",
    ):
        for origin in ("https://evil.example", "null", server.url):
            answer = await browsers[0].get(path, headers={"Origin": origin})
            assert "access-control-allow-credentials" not in answer.headers
            assert answer.headers.get("access-control-allow-origin") is None
