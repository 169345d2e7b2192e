"""A SMART app and a browser, as outside checkers drive them: over HTTP, through the plain forms."""

from __future__ import annotations

import base64
import hashlib
import secrets
from dataclasses import dataclass, field, replace
from html.parser import HTMLParser
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, RSAKey

from server.core import clock
from server.oauth import clients
from tests.conftest import RunningServer
from tests.factories import Person

CALLBACK = "https://app.example/callback"
STANDALONE = "launch/patient openid fhirUser offline_access patient/Patient.rs patient/ImagingStudy.rs"


def challenge_of(verifier: str) -> str:
    """RFC 7636, 4.2."""
    return base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class App:
    """A registered client, and what it remembers of one run."""

    server: RunningServer
    id: str
    secret: str | None = None
    key: Any = None
    redirect_uri: str = CALLBACK
    scope: str = STANDALONE
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_urlsafe(12))

    def with_scope(self, scope: str) -> App:
        return replace(self, scope=scope)

    def parameters(self, **changed: str | None) -> dict[str, str]:
        """An authorization request; None leaves a parameter out."""
        usual: dict[str, str | None] = {
            "response_type": "code",
            "client_id": self.id,
            "redirect_uri": self.redirect_uri,
            "scope": self.scope,
            "state": self.state,
            "aud": f"{self.server.url}/fhir",
            "code_challenge": challenge_of(self.verifier),
            "code_challenge_method": "S256",
        }
        return {name: value for name, value in (usual | changed).items() if value is not None}

    def exchange(self, code: str, /, **changed: str | None) -> dict[str, str]:
        """A token request for this code, with the proof of this client."""
        usual: dict[str, str | None] = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self.redirect_uri,
            "code_verifier": self.verifier,
        }
        return {name: value for name, value in (usual | self.proof() | changed).items() if value is not None}

    def refresh(self, token: str, /, **changed: str | None) -> dict[str, str]:
        usual = {"grant_type": "refresh_token", "refresh_token": token}
        return {name: value for name, value in (usual | self.proof() | changed).items() if value is not None}

    def proof(self) -> dict[str, str]:
        """How the client proves itself in the form; Basic goes into `auth`."""
        if self.key is not None:
            return {
                "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
                "client_assertion": self.assertion(),
            }
        return {} if self.secret else {"client_id": self.id}

    @property
    def auth(self) -> httpx.Auth | None:
        return httpx.BasicAuth(self.id, self.secret) if self.secret else None

    def assertion(self, header: dict[str, Any] | None = None, key: Any = None, **changed: Any) -> str:
        """SMART App Launch 2.2, "Authentication JWT"; None leaves a claim or a header out."""
        alg = "RS384" if isinstance(self.key, RSAKey) else "ES384"
        heads = {"alg": alg, "kid": self.key.kid, "typ": "JWT"} | (header or {})
        claims = {
            "iss": self.id,
            "sub": self.id,
            "aud": f"{self.server.url}/oauth/token",
            "exp": int(clock.now().timestamp()) + 240,
            "jti": secrets.token_urlsafe(16),
        } | changed
        return jwt.encode(
            {name: value for name, value in heads.items() if value is not None},
            {name: value for name, value in claims.items() if value is not None},
            key or self.key,
            algorithms=[heads["alg"]],
        )


def es384(kid: str = "es") -> ECKey:
    return ECKey.generate_key("P-384", {"kid": kid, "use": "sig", "alg": "ES384"})


def rs384(kid: str = "rs") -> RSAKey:
    return RSAKey.generate_key(2048, {"kid": kid, "use": "sig", "alg": "RS384"})


def public(*keys: Any) -> dict[str, Any]:
    """The JWK Set a client publishes."""
    return dict(KeySet(list(keys)).as_dict(private=False))


async def register(
    server: RunningServer, type: str = "public", key: Any = None, scope: str = "", **more: Any
) -> App:
    """A client an operator added."""
    redirect_uris = () if type == "backend" else (CALLBACK,)
    given = {"redirect_uris": redirect_uris} | more
    if key is not None and "jwks_uri" not in given:
        given["jwks"] = public(key)
    added = await clients.add(server.services.db, name="Tulip Viewer", type=type, scope=scope, **given)
    return App(server, added.client.id, added.secret, key)


class Form(HTMLParser):
    """The first form of a page (signing out aside): its action, and its fields as a browser would send them."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.action = ""
        self.fields: list[tuple[str, str]] = []
        self.boxes: list[str] = []
        self.choices: list[str] = []
        self._inside = False
        self._select = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        got = {name: value or "" for name, value in attrs}
        if tag == "form" and not self.action and got["action"] != "/sign-out":
            self.action, self._inside = got["action"], True
        elif tag == "select":
            self._select = got["name"]
        elif tag == "option" and "selected" in got:
            self.fields.append((self._select, got["value"]))
        elif tag == "input" and self._inside:
            self._input(got)

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False

    def _input(self, got: dict[str, str]) -> None:
        if got.get("type") == "checkbox":
            self.boxes += [got["value"]] if got["name"] == "scope" else []
        if got.get("type") == "radio":
            self.choices.append(got["value"])
        if got.get("type") in ("checkbox", "radio") and "checked" not in got:
            return
        self.fields.append((got["name"], got.get("value", "")))


@dataclass
class Browser:
    """A person at the consent page."""

    client: httpx.AsyncClient

    async def sign_in(self, person: Person) -> None:
        self.client.cookies.clear()
        page = await self.client.get("/sign-in")
        form = Form(page.text) if page.status_code == 200 else None
        hidden = dict(form.fields) if form else {}
        answer = await self.client.post(
            "/sign-in", data={**hidden, "email": person.email, "password": person.password}
        )
        assert answer.status_code == 303, answer.text

    async def ask(self, app: App, **changed: str | None) -> httpx.Response:
        return await self.client.get("/oauth/authorize", params=app.parameters(**changed))

    async def decide(
        self,
        page: httpx.Response,
        decision: str = "allow",
        *,
        untick: tuple[str, ...] = (),
        patient: str | None = None,
        **changed: str,
    ) -> httpx.Response:
        """Press a button of the consent page."""
        assert page.status_code == 200, page.text
        form = Form(page.text)
        pairs = [pair for pair in form.fields if pair[0] not in ("scope", "kind") or pair[1] not in untick]
        pairs = [pair for pair in pairs if pair[0] not in changed]
        if patient:
            pairs = [*(pair for pair in pairs if pair[0] != "patient"), ("patient", patient)]
        fields: dict[str, list[str]] = {}
        for name, value in [*pairs, ("decision", decision), *changed.items()]:
            fields.setdefault(name, []).append(value)
        return await self.client.post(form.action, data=fields)

    async def allow(self, app: App, **how: Any) -> str:
        """The code after Allow."""
        answer = returned(await self.decide(await self.ask(app), **how))
        assert answer["state"] == app.state
        return answer["code"]

    async def connect(self, app: App, **how: Any) -> dict[str, Any]:
        """The token response after Allow."""
        code = await self.allow(app, **how)
        answer = await self.client.post("/oauth/token", data=app.exchange(code), auth=app.auth)
        assert answer.status_code == 200, answer.text
        body: dict[str, Any] = answer.json()
        return body


def returned(answer: httpx.Response, to: str = CALLBACK) -> dict[str, str]:
    """What the browser carries back to the app."""
    assert answer.status_code in (302, 303), f"{answer.status_code} {answer.text}"
    location = answer.headers["location"]
    assert location.startswith(to), location
    return dict(parse_qsl(urlsplit(location).query))
