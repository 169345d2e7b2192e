"""Signing in with a second step, move by move, as a browser and its owner would."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any

import httpx
import pyotp

from server.core import clock
from tests.authenticator import Authenticator
from tests.factories import Person
from tests.sharing_steps import mails_to, text_of
from tests.waiting import tries


def field_of(page: httpx.Response, name: str) -> str:
    """The value of a hidden field."""
    found = re.search(rf'name="{name}" value="([^"]*)"', page.text)
    assert found, (page.status_code, page.headers.get("location"), page.text)
    return found[1]


async def type_password(client: httpx.AsyncClient, person: Person, onward: str = "") -> httpx.Response:
    form = {"email": person.email, "password": person.password, "next": onward}
    return await client.post("/sign-in", data=form)


def secret_of(page: httpx.Response) -> str:
    """The secret on offer, as text on the page."""
    found = re.search(r'class="secret">([A-Z2-7 ]+)<', page.text)
    assert found, page.text
    return found[1].replace(" ", "")


def code_of(secret: str) -> str:
    return pyotp.TOTP(secret).at(int(clock.now().timestamp()))


def later(seconds: int = 31) -> None:
    """The next half minute, for codes are good once."""
    clock.travel(clock._offset + timedelta(seconds=seconds))


async def set_up_app(client: httpx.AsyncClient, person: Person, onward: str = "") -> str:
    """Sign in for the first time and set up an app; the secret. The client is signed in then."""
    answer = await type_password(client, person, onward)
    assert answer.headers["location"].startswith("/sign-in/set-up"), answer.headers
    page = await client.get(answer.headers["location"])
    secret = secret_of(page)
    form = {name: field_of(page, name) for name in ("csrf", "next", "offer")}
    done = await client.post("/sign-in/set-up", data=form | {"code": code_of(secret)})
    assert done.status_code == 303, done.text
    assert done.headers["location"].startswith("/account/security/codes")
    return secret


async def type_code(client: httpx.AsyncClient, code: str, onward: str = "") -> httpx.Response:
    page = await client.get("/sign-in/second" + (f"?next={onward}" if onward else ""))
    form = {name: field_of(page, name) for name in ("csrf", "next")}
    return await client.post("/sign-in/second", data=form | {"code": code})


async def send(client: httpx.AsyncClient, path: str, token: str = "", body: Any = None) -> httpx.Response:
    """As passkey.js does."""
    headers = {"accept": "application/json", "x-csrf-token": token}
    return await client.post(path, json=body if body is not None else {}, headers=headers)


async def make_passkey(client: httpx.AsyncClient, origin: str, *, name: str = "My key") -> Authenticator:
    """Add a passkey on the account page of a signed-in client."""
    page = await client.get("/account/security")
    token = field_of(page, "csrf")
    options = await send(client, "/account/security/passkeys/options", token)
    assert options.status_code == 200, options.text
    key = Authenticator(origin)
    body = {"credential": key.create(options.json()), "name": name}
    made = await send(client, "/account/security/passkeys", token, body)
    assert made.status_code == 200, made.text
    return key


async def told(services: Any, email: str, words: str) -> str:
    """The last mail to this address with these words; a running server's own worker may hold it for a moment."""
    async for _ in tries():
        mails = [text_of(mail) for mail in await mails_to(services, email)]
        if found := [each for each in mails if words in each]:
            return found[-1]
    raise AssertionError(f"nobody mailed {words!r}: {mails}")
