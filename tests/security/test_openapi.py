"""schemathesis over the OpenAPI description of what is not FHIR or DICOMweb: no 500, nothing of the inside, no hang.

Each operation is asked with a few requests that fit the description and a few that do not, by somebody signed in who
may use it, so that what is made up gets past the door.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.generation import GenerationMode

from server.cli.openapi import ELSEWHERE, document
from tests.conformance.test_every_route import ROUTES
from tests.conftest import RunningServer
from tests.factories import People
from tests.security.conftest import INSIDES

LEAVES = (
    "/sign-out",
    "/account/security/end-others",
    "/account/hat",
)  # whoever asks is asked to come in again
LONGEST = 60.0  # seconds for one answer: a hang, on however busy a machine
METHODS = {"get", "post", "put", "patch", "delete"}


def test_every_route_is_described() -> None:
    """What the application mounts and no other standard describes; and the document is what OpenAPI 3.1 wants."""
    made = document("http://127.0.0.1")
    described = {(method.upper(), path) for path, each in made["paths"].items() for method in each}
    mounted = {
        (method, path.replace(":int}", "}").replace(":path}", "}"))
        for method, path in ROUTES
        if method.lower() in METHODS and not path.startswith(ELSEWHERE)
    }
    assert described == mounted
    schemathesis.openapi.from_dict(made).validate()


class Visitors:
    """Somebody of each role, signed in, with a browser that follows nothing."""

    def __init__(self, server: RunningServer) -> None:
        self._url = server.url
        self._browsers: dict[str, httpx.Client] = {}

    async def come(self, people: People) -> None:
        for role, person in (
            ("patient", await people.patient()),
            ("doctor", await people.doctor()),
            ("operator", await people.operator()),
        ):
            async with httpx.AsyncClient(base_url=self._url) as browser:
                await people.session(browser, person)
                page = (await browser.get("/help")).text
                [token, *_] = re.findall(r'name="csrf" value="([^"]+)"', page)
                self._browsers[role] = httpx.Client(
                    base_url=self._url,
                    cookies=browser.cookies,
                    timeout=LONGEST,
                    headers={"X-CSRF-Token": token},
                )
        self._browsers["nobody"] = httpx.Client(base_url=self._url, timeout=LONGEST)

    def for_path(self, path: str) -> httpx.Client:
        if path.startswith(("/oauth", "/health", "/metrics", "/.well-known", "/sign", *LEAVES)):
            return self._browsers["nobody"]
        if path.startswith("/operator"):
            return self._browsers["operator"]
        return self._browsers["doctor" if path.startswith("/my-patients") else "patient"]

    def leave(self) -> None:
        for each in self._browsers.values():
            each.close()


def _operations(url: str) -> Iterator[Any]:
    for found in schemathesis.openapi.from_dict(document(url)).get_all_operations():
        yield found.ok()


def _asked(visitors: Visitors, operation: Any, examples: int) -> None:
    """Requests that fit, and requests that do not."""
    fits = operation.as_strategy(generation_mode=GenerationMode.POSITIVE)
    unfit = operation.as_strategy(generation_mode=GenerationMode.NEGATIVE)
    may_be_unfit = bool(operation.body) or bool(list(operation.query))

    @settings(
        max_examples=examples,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=st.one_of(fits, unfit) if may_be_unfit else fits)
    def ask(case: Any) -> None:
        browser = visitors.for_path(operation.path)
        if isinstance(case.body, dict) and "json" not in str(case.media_type):
            case.body["csrf"] = browser.headers.get("X-CSRF-Token", "")
        sent = case.as_transport_kwargs(base_url=str(browser.base_url))
        kept = {name: sent[name] for name in ("params", "json", "data", "content", "files") if sent.get(name)}
        headers = {name: value for name, value in (sent.get("headers") or {}).items() if value.isascii()}
        if isinstance(kept.get("data"), bytes | str):
            kept["content"] = kept.pop("data")
        try:
            answer = browser.request(sent["method"], sent["url"], headers=headers, **kept)
        except (httpx.LocalProtocolError, httpx.InvalidURL, UnicodeEncodeError, TypeError):
            return  # nothing that can be sent
        assert answer.status_code < 500, (sent, answer.text[:300])
        assert not [word for word in INSIDES if word in answer.text], sent

    ask()


async def _all_asked(server: RunningServer, people: People, examples: int) -> None:
    visitors = Visitors(server)
    await visitors.come(people)

    def work() -> None:
        for operation in _operations(server.url):
            _asked(visitors, operation, examples)

    try:
        await asyncio.to_thread(work)
    finally:
        visitors.leave()


async def test_no_operation_stumbles(server: RunningServer, people: People) -> None:
    await _all_asked(server, people, 2)


@pytest.mark.long
@pytest.mark.filterwarnings("ignore:Do not use the .random. module")  # schemathesis does, with many examples
async def test_no_operation_stumbles_over_more(server: RunningServer, people: People) -> None:
    await _all_asked(server, people, 60)
