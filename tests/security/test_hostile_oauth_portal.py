# ruff: noqa: E501 - tables of hostile input read better in long lines
"""Hostile input to the authorization server and the portal: answers in their own language, nobody found out.

RFC 6749, 5.2 (error JSON); interface.md; privacy.md (known and unknown addresses answer alike).
"""

from __future__ import annotations

import base64
import json
import re
from itertools import product
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import Unprocessable
from server.oauth.described import _check_addresses, _require_redirect_uri
from server.portal.forms import local_path
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People
from tests.security.conftest import Ada, harmless, raw

FORM = "application/x-www-form-urlencoded"
BIG = "x" * 100_000


def b64(value: object) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def basic(pair: bytes) -> str:
    return "Basic " + base64.b64encode(pair).decode()


FORMS = [
    "", "%00=%00", "a", "=", "&&&", "grant_type=%00", "grant_type=x", "grant_type=authorization_code", "grant_type=refresh_token&refresh_token=%00",
    "grant_type=authorization_code&grant_type=x", "grant_type=authorization_code&code=%ff&client_id=x", "client_id=%ff%fe", "client_id=" + BIG,
    "grant_type=client_credentials&client_id=a%00b&client_secret=x", "grant_type=client_credentials&client_assertion=x",
    "grant_type=client_credentials&client_assertion_type=urn:ietf:params:oauth:client-assertion-type:jwt-bearer&client_assertion=a.b.c",
    *(
        "grant_type=client_credentials&client_assertion_type=urn%3Aietf%3Aparams%3Aoauth%3Aclient-assertion-type%3Ajwt-bearer&client_assertion="
        + quote(f"{b64(head)}.{b64(claims)}.{b64('x')}")
        for head in ({"alg": "none"}, {"alg": "ES384", "kid": "a", "typ": "JWT"}, [], None, {"alg": ["ES384"]}, {"alg": "RS384", "kid": {"a": 1}})
        for claims in ({}, [], {"sub": "a\0b", "iss": "a\0b"}, {"sub": 5}, {"sub": ["x"]}, {"iss": "x", "sub": "x", "aud": {}, "exp": "soon"})
    ),
    "token=%00&client_id=x", "token=" + BIG + "&client_id=x", "token=a.b.c&client_id=x", "[]", '{"a":1}', "a=%F0%9F%92%80", "&".join(["a=b"] * 2000),
]  # fmt: skip


CREDENTIALS = (basic(b"a\0b:c"), basic(b"\xff\xfe"), "Basic !!", "Bearer " + "x" * 50)


@pytest.mark.parametrize("number", range(len(FORMS)))
async def test_forms_of_machines(client: httpx.AsyncClient, number: int) -> None:
    """RFC 6749, 5.2: 400 or 401 with `error`; revocation of the unknown is 200 (RFC 7009, 2.2).

    Each form goes to each address as it is, and with one of the four wrong credentials, another at each address.
    """
    form = FORMS[number]
    for at, path in enumerate(("token", "introspect", "revoke", "par")):
        for headers in ({}, {"Authorization": CREDENTIALS[(number + at) % len(CREDENTIALS)]}):
            answer = await client.post(
                f"/oauth/{path}", content=form, headers={"Content-Type": FORM, **headers}
            )
            harmless(answer, (path, form[:60], headers))
            assert answer.status_code in (400, 401, 413), (path, form[:60], answer.status_code)
            assert isinstance(answer.json()["error"], str)
            assert "no-store" in answer.headers["cache-control"]


@pytest.mark.parametrize(
    "kind",
    ["", "application/json", "text/plain", "multipart/form-data; boundary=x", FORM + "; charset=utf-16"],
)
async def test_forms_of_another_type(client: httpx.AsyncClient, kind: str) -> None:
    for path in ("token", "introspect", "revoke", "par"):
        answer = await client.post(f"/oauth/{path}", content=b"\xff\xfe=\0", headers={"Content-Type": kind})
        harmless(answer, kind)
        assert answer.status_code in (400, 401)


GOOD: dict[str, Any] = {"client_name": "App", "redirect_uris": ["https://app.example/cb"]}
REGISTRATIONS: list[Any] = [
    [], 5, None, "x", {}, {"redirect_uris": 5}, {"redirect_uris": [5]}, {"redirect_uris": []}, {"redirect_uris": ["https://a.example/"] * 21},
    *({**GOOD, **bad} for bad in (
        {"client_name": 5}, {"client_name": "a\0b"}, {"client_name": "x" * 500}, {"client_name": "\u202eevil"}, {"client_name": {"a": 1}},
        {"redirect_uris": ["javascript:alert(1)"]}, {"redirect_uris": ["https://a.example/#x"]}, {"redirect_uris": ["https://u:p@a.example/"]},
        {"redirect_uris": ["https://["]}, {"redirect_uris": ["https://a.example:99999/"]}, {"redirect_uris": ["https://a.example/\r\nX: y"]},
        {"redirect_uris": ["https://é.example/"]}, {"redirect_uris": ["https://a;script-src/"]}, {"redirect_uris": ["//a.example"]},
        {"redirect_uris": ["data:text/html,x"]}, {"redirect_uris": ["http://a.example/"]}, {"redirect_uris": ["https:///x"]},
        {"initiate_login_uri": "https://a.example/\r\nSet-Cookie: x=y"}, {"initiate_login_uri": "https://ж.example/"}, {"initiate_login_uri": "https://["},
        {"initiate_login_uri": "https://a;sandbox/"}, {"logo_uri": "http://127.0.0.1/"}, {"logo_uri": "file:///etc/passwd"}, {"jwks": []}, {"jwks": {"keys": 5}},
        {"jwks": {"keys": [5]}}, {"jwks": {"keys": [{"kty": "oct", "k": "x"}]}}, {"jwks": {"keys": [{"kty": "EC", "d": "x"}]}}, {"jwks_uri": "http://127.0.0.1/"},
        {"jwks_uri": 5}, {"scope": 5}, {"scope": "nonsense"}, {"grant_types": "x"}, {"grant_types": ["client_credentials"]}, {"grant_types": [["x"]]},
        {"token_endpoint_auth_method": []}, {"response_types": 5}, {"contacts": 5}, {"contacts": ["a\0"]}, {"client_name": "a" * 70_000},
    )),
]  # fmt: skip


@pytest.mark.parametrize("metadata", REGISTRATIONS, ids=range(len(REGISTRATIONS)))
async def test_registrations_that_cannot_be(client: httpx.AsyncClient, metadata: Any) -> None:
    """RFC 7591, 3.2.2: refused with `error`, and nothing of it stands on any page or in any header afterwards."""
    answer = await client.post(
        "/oauth/register", content=json.dumps(metadata), headers={"Content-Type": "application/json"}
    )
    harmless(answer, metadata)
    assert answer.status_code in (400, 403, 413, 422), (metadata, answer.status_code, answer.text)
    assert answer.json()["error"]


async def test_a_key_with_a_zero_byte(client: httpx.AsyncClient) -> None:
    """PostgreSQL's jsonb takes no \\u0000: told, not stumbled over."""
    from joserfc.jwk import ECKey

    key = ECKey.generate_key("P-384", private=False).as_dict(private=False) | {"kid": "a\0b", "x-more": "\0"}
    metadata = GOOD | {"token_endpoint_auth_method": "private_key_jwt", "jwks": {"keys": [key]}}
    answer = await client.post("/oauth/register", json=metadata)
    harmless(answer)
    assert answer.status_code == 400


@given(st.text(max_size=60) | st.from_regex(r"https?://[\x00-\xff]{0,30}", fullmatch=True))
def test_addresses_are_plain_or_refused(url: str) -> None:
    """What is accepted can stand in a header and in a policy: ASCII, printable, no separators in its host."""
    for check in (lambda: _require_redirect_uri(url), lambda: _check_addresses([url], by_operator=False)):
        try:
            check()
        except Unprocessable:
            continue
        assert url.isascii()
        assert url.isprintable()
        assert not re.search(r"[;,'\"\s\\]", url.partition("://")[2].partition("/")[0])


@given(st.text(max_size=40) | st.from_regex(r"/[/\\.\x00-\x20@:%a-z]{0,20}", fullmatch=True))
def test_the_way_back_stays_here(value: str) -> None:
    """No open redirect: a path of this server, as a browser reads it (https://url.spec.whatwg.org/)."""
    found = local_path(value)
    assert found.startswith("/")
    assert found[1:2] not in ("/", "\\")
    assert not re.search(r"[\x00-\x20\\]", found)


@pytest.mark.parametrize(
    "onward",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "/%09/evil.example",
        "\t//evil.example",
        "/\n/evil",
        "javascript:x",
        "/..//evil.example",
    ],
)
async def test_sign_in_leads_nowhere_else(server: RunningServer, people: People, onward: str) -> None:
    person = await people.patient()
    async with httpx.AsyncClient(base_url=server.url) as browser:
        answer = await browser.post(
            "/sign-in", data={"email": person.email, "password": person.password, "next": onward}
        )
        assert answer.status_code == 303
        place = answer.headers["location"]
        assert place.startswith("/")
        assert not place.startswith(("//", "/\\"))
        assert httpx.URL(server.url).join(place).host == "127.0.0.1"


async def test_an_app_that_registered_itself_is_no_redirector(client: httpx.AsyncClient) -> None:
    """RFC 9700, 4.11.2: a broken request of such an app leads nobody to it who has not signed in here."""
    made = (await client.post("/oauth/register", json=GOOD)).json()
    asked = {
        "client_id": made["client_id"],
        "redirect_uri": GOOD["redirect_uris"][0],
        "response_type": "nonsense",
    }
    for answer in (
        await client.get("/oauth/authorize", params=asked),
        await client.post("/oauth/authorize", data=asked),
    ):
        assert answer.status_code == 400
        assert "location" not in answer.headers


AUTHORIZE = [
    "", "client_id=%00", "client_id=x&client_id=y", "client_id=" + "x" * 9000, "request_uri=%00&client_id=x", "client_id=x&redirect_uri=//evil.example",
    "%ff=%fe", "client_id=lightbox-operator&redirect_uri=https://evil.example", "client_id=x&state=%0d%0aSet-Cookie:x=y", "&".join(["a=b"] * 1500),
]  # fmt: skip


@pytest.mark.parametrize("query", AUTHORIZE, ids=range(len(AUTHORIZE)))
async def test_authorization_requests_that_are_none(client: httpx.AsyncClient, query: str) -> None:
    """RFC 6749, 4.1.2.1: with the client in doubt, a page and no redirect; what was sent is not in it."""
    for answer in (
        await client.get(f"/oauth/authorize?{query}"),
        await client.post("/oauth/authorize", content=query, headers={"Content-Type": FORM}),
        await client.get(f"/oauth/launch?{query}"), await client.get(f"/oauth/manage?{query}"),
    ):  # fmt: skip
        harmless(answer, query[:60])
        assert answer.status_code in (303, 400, 413), (query[:60], answer.status_code)
        assert not answer.headers.get("location", "/").startswith(("http", "//"))
        assert "evil" not in answer.text


# -- pages


PLACES = [
    "/studies/{}", "/studies/{}/preview", "/studies/{}/frames?series={}", "/studies/{}?patient={}", "/reports/{}", "/reports/{}/files/1", "/sharing/{}",
    "/sharing/new?again={}", "/my-patients/{}", "/invitation/{}", "/verify/{}", "/reset/{}", "/imaging?kind={}&page={}", "/activity?page={}", "/help?about={}&from={}",
    "/static/{}", "/viewer/{}", "/sign-in?next={}", "/sign-up?next={}", "/{}", "/account?done={}", "/reports/x/files/" + "9" * 400,
]  # fmt: skip
OF_DOCTORS = [
    place for place in PLACES if place.startswith(("/studies", "/reports", "/my-", "/inv", "/imaging"))
]
ODD = [
    "%00",
    "a%00b",
    "%ff%fe",
    "..%2f..%2fetc%2fpasswd",
    "%2e%2e",
    "'%20OR%201=1--",
    "%3Cscript%3E",
    "x" * 3000,
    "-1",
    "%F0%9F%92%80",
    "%0d%0aX:y",
    "{{7*191*1009}}",
    "9" * 400,
    "%EF%BF%BF",
    "1e9",
]


async def test_pages_asked_for_oddly(server: RunningServer, people: People) -> None:
    """A page, or that there is nothing here; what was typed comes back escaped or not at all."""
    for person, places in ((await people.patient(), PLACES), (await people.doctor(), OF_DOCTORS)):
        async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
            await people.session(browser, person)
            for place, odd in product(places, ODD):
                answer = await browser.get(place.replace("{}", odd))
                harmless(answer, (place, odd[:30]))
                assert answer.status_code in (200, 303, 400, 404, 405, 410, 414), (
                    place,
                    odd[:30],
                    answer.status_code,
                )
                assert (
                    place.startswith("/viewer") or "<script>" not in answer.text
                )  # OHIF has its own, by hash
                assert str(7 * 191 * 1009) not in answer.text
                assert "root:" not in answer.text


WRONG = [
    "",
    "\0",
    "x" * 1_000_000,
    "<script>alert(1)</script>",
    "\u202e\ud7ff",
    "a\r\nb",
    "=HYPERLINK(1)",
    "%s%n",
    "9999-99-99",
    "' OR 1=1--",
]


@pytest.mark.parametrize("wrong", WRONG, ids=range(len(WRONG)))
async def test_forms_filled_with_nonsense(server: RunningServer, people: People, wrong: str) -> None:
    """Every field of every form, twice: the page again, in words, or too large; never a 500, never unescaped."""
    fields = (
        "email",
        "password",
        "name",
        "birth_date",
        "number",
        "next",
        "message",
        "subject",
        "study",
        "right",
        "until",
        "given",
        "family",
        "gender",
        "address",
        "phone",
        "current",
        "permission",
        "session",
        "title",
        "text",
        "date",
    )
    form = [(name, wrong) for name in fields] * 2
    if len(wrong) > 1000:
        form = [("email", wrong), ("name", wrong)]
    person = await people.patient()
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        for path in (
            "/sign-in",
            "/sign-up",
            "/sign-up/doctor",
            "/reset",
            "/help",
            "/verify/x",
            "/reset/x",
            "/invitation/x",
        ):
            harmless(await browser.post(path, content=encoded(form), headers={"Content-Type": FORM}), path)
        await people.session(browser, person)
        csrf = (await browser.get("/upload/token", headers={"Accept": "application/json"})).json()["csrf"]
        for path in (
            "/sharing/new",
            "/sharing/x/end",
            "/account/profile",
            "/account/security",
            "/account/security/end",
            "/account/permission",
            "/help",
            "/studies/1.2/mine",
            "/studies/1.2/restore",
            "/reports/x/delete",
            "/studies/1.2/reports/add",
        ):
            answer = await browser.post(
                path, content=encoded([*form, ("csrf", csrf)]), headers={"Content-Type": FORM}
            )
            harmless(answer, path)
            assert "<script>alert" not in answer.text, path


def encoded(pairs: list[tuple[str, str]]) -> str:
    return "&".join(f"{name}={quote(value.encode('utf-8', 'surrogatepass'))}" for name, value in pairs)


@pytest.mark.parametrize(
    "kind",
    [
        "application/json",
        "multipart/form-data",
        "multipart/form-data; boundary=x",
        "multipart/form-data; boundary=" + "y" * 9000,
        "text/xml",
        "x/y",
        "",
    ],
)
async def test_forms_of_another_kind(server: RunningServer, people: People, kind: str) -> None:
    async with httpx.AsyncClient(base_url=server.url) as browser:
        for content in (
            b"",
            b"[]",
            b'{"uids":5}',
            b"--x\r\n\r\n",
            b"\xff\xfe" * 100,
            b"--x\r\nContent-Disposition: form-data; name=a; filename=b\r\n\r\nc\r\n--x--",
        ):
            for path in ("/sign-in", "/sign-up", "/help", "/reset"):
                answer = await browser.post(path, content=content, headers={"Content-Type": kind})
                harmless(answer, (kind[:40], content[:20]))
        await people.session(browser, await people.patient())
        csrf = (await browser.get("/upload/token", headers={"Accept": "application/json"})).json()["csrf"]
        for content in (
            b"",
            b"[]",
            b"{}",
            b'{"uids":5}',
            b'{"uids":["a"]}',
            b'{"uids":["' + b"1" * 70 + b'"]}',
            b'{"uids":[null]}',
            b"[" * 9000,
            b'{"uids":["1\\u0000"]}',
        ):
            answer = await browser.post(
                "/upload/held", content=content, headers={"Content-Type": kind, "X-CSRF-Token": csrf}
            )
            harmless(answer, (kind[:40], content[:20]))
            assert answer.status_code in (400, 403, 413, 415)


COOKIES = [
    "lightbox_session",
    "lightbox_session=",
    "lightbox_session=%00",
    "lightbox_session=" + "x" * 8000,
    "=;=;=",
    "lightbox_session=\xff\xfe",
    "lightbox_onward=//evil.example; lightbox_session=x",
    "; " * 500,
]


@pytest.mark.parametrize("cookie", COOKIES, ids=range(len(COOKIES)))
async def test_cookies_with_garbage(server: RunningServer, cookie: str) -> None:
    """They are nobody's: as without one."""
    for path, status in (
        ("/account", 303),
        ("/dicomweb/studies", 401),
        ("/fhir/Patient", 401),
        ("/sign-in", 200),
    ):
        head = f"GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\nConnection: close\r\n\r\n".encode(
            "latin-1"
        )
        answer = await raw(server.url, head)
        harmless(answer, cookie[:40])
        assert answer.status == status
        assert "evil" not in answer.text


# -- who has an account


async def test_nobody_learns_who_has_an_account(server: RunningServer, people: People) -> None:
    """privacy.md: sign-up, reset and sign-in answer alike for known and unknown addresses, cookies and all."""
    known = (await people.patient()).email
    unknown = "nobody-at-all@example.org"
    details = {
        "name": "Eve Other",
        "birth_date": "1990-01-01",
        "password": PASSWORD + " and more",
        "next": "/imaging/add",
    }
    forms = {
        "/reset": {}, "/sign-in": {"password": "certainly not the one"}, "/sign-up": details,
        "/sign-up/doctor": details | {"number": "1", "authority": "GMC", "specialty": "R", "organization": "H"},
    }  # fmt: skip
    for path, more in forms.items():
        answers = []
        for email in (known, f"{len(path)}{unknown}"):
            async with httpx.AsyncClient(base_url=server.url) as browser:
                answer = await browser.post(path, data={"email": email} | more)
            kept = {
                name: value
                for name, value in answer.headers.items()
                if name not in ("date", "content-length")
            }
            kept["set-cookie"] = re.sub(r"=[^;]*", "=", kept.get("set-cookie", ""))
            answers.append((answer.status_code, kept, answer.text.replace(email, "")))
        assert answers[0] == answers[1], path


async def test_links_that_are_dead_look_alike(server: RunningServer) -> None:
    """An invitation, a confirmation, a reset: withdrawn, spent, late or made up, one page each."""
    async with httpx.AsyncClient(base_url=server.url) as browser:
        for path in ("/invitation", "/verify", "/reset"):
            pages = {
                (await browser.get(f"{path}/{secret}")).text.replace(secret, "")
                for secret in ("b" * 43, "c" * 43, "d" * 43)
            }
            assert len(pages) == 1


async def test_pages_carry_the_headers_that_keep_them_apart(server: RunningServer, ada: Ada) -> None:
    """privacy.md, "Headers": CSP without inline, no framing, no referrer, nosniff; nothing of a person is kept."""
    async with httpx.AsyncClient(base_url=server.url) as browser:
        for path in ("/", "/sign-in", "/sign-up", "/help", "/oauth/authorize"):
            headers = (await browser.get(path)).headers
            policy = headers["content-security-policy"]
            assert "unsafe" not in policy
            assert "default-src 'none'" in policy
            assert "frame-ancestors 'none'" in policy
            assert headers["x-content-type-options"] == "nosniff"
            assert headers["referrer-policy"] == "no-referrer"
            assert "no-store" in headers["cache-control"]
