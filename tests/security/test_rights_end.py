"""Rights end everywhere at once, with several worker processes running: FHIR, DICOMweb, the viewer, and refresh.

Nothing a process remembers may outlive what another process ended (architecture.md, "Past one machine"). Each case
warms both workers up, ends something, and asks again over connections of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from server.access.running import running_services
from server.access.services import Services
from server.accounts import people as accounts
from server.cli.context import _as_served, prepared
from server.core import clock
from server.core.settings import read_settings
from server.oauth.operator import set_enabled
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import MULTIPART, body, instance
from tests.conformance.smart.driver import App, Browser, register
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.faults.processes import Lightbox

SCOPE = "launch/patient openid fhirUser patient/*.rs"
OFFLINE, ONLINE = f"{SCOPE} offline_access", f"{SCOPE} online_access"
CONNECTIONS = 10  # at once, each new: with two workers all of them at one is one in five hundred


class TwoWorkers(Lightbox):
    """Doctors of these tests sign in with a password alone."""

    def _environment(self) -> dict[str, str]:
        return super()._environment() | {"LIGHTBOX_SECOND_FACTOR": "optional"}


@asynccontextmanager
async def two_workers() -> AsyncIterator[RunningServer]:
    with TemporaryDirectory() as folder:
        lightbox = TwoWorkers(Path(folder) / "data", workers=2)
        await asyncio.to_thread(lightbox.start)
        try:
            settings = _as_served(read_settings(data=lightbox.data, second_factor="optional"))
            with prepared(settings) as ready:
                async with running_services(ready) as services:
                    yield RunningServer(lightbox.url, services, lightbox.data)
        finally:
            await asyncio.to_thread(lightbox.stop)


@dataclass
class Held:
    """What somebody can do before it ends: a token, a refresh token, a session; with a patient and a study."""

    app: App
    browser: Browser
    person: Person
    patient: Person
    study: str
    tokens: dict[str, str]

    @property
    def services(self) -> Services:
        return self.app.server.services

    async def fhir(self) -> set[int]:
        return await self._all(f"/fhir/Patient/{self.patient.fhir_id}", bearer(self.tokens["access_token"]))

    async def dicomweb(self) -> set[int]:
        path = f"/dicomweb/studies/{self.study}/metadata"
        return await self._all(path, bearer(self.tokens["access_token"]))

    async def viewer(self) -> set[int]:
        """As OHIF reads: the session's cookie."""
        cookies = "; ".join(f"{name}={value}" for name, value in self.browser.client.cookies.items())
        return await self._all(f"/dicomweb/studies/{self.study}/metadata", {"Cookie": cookies})

    async def refresh(self) -> set[int]:
        """In vain, again and again: a refusal spends nothing."""
        form = self.app.refresh(self.tokens["refresh_token"])
        async with fresh(self.app) as client:
            asked = (client.post("/oauth/token", data=form) for _ in range(4))
            return {answer.status_code for answer in await asyncio.gather(*asked)}

    async def _all(self, path: str, headers: dict[str, str]) -> set[int]:
        async with fresh(self.app) as client:
            asked = (client.get(path, headers=headers) for _ in range(CONNECTIONS))
            return {answer.status_code for answer in await asyncio.gather(*asked)}


def fresh(app: App) -> httpx.AsyncClient:
    """A client that keeps no connection."""
    limits = httpx.Limits(max_keepalive_connections=0)
    return httpx.AsyncClient(base_url=app.server.url, limits=limits, timeout=60)


class Cases:
    """Each begins with something held, and ends it in one way."""

    def __init__(self, server: RunningServer, client: httpx.AsyncClient) -> None:
        self.server, self.client = server, client
        self.people = People(server.services)

    async def held(self, scope: str, *, by_doctor: bool = False) -> Held:
        patient = await self.people.patient()
        sample = instance()
        headers = bearer(await self.people.token(patient)) | {"Content-Type": MULTIPART}
        stored = await self.client.post("/dicomweb/studies", content=body([sample.data]), headers=headers)
        assert stored.status_code == 200, stored.text
        person = patient
        if by_doctor:
            person = await self.people.doctor()
            await self.people.share(patient, person)
        browser, app = Browser(self.client), (await register(self.server)).with_scope(scope)
        await browser.sign_in(person)
        tokens = await browser.connect(app, patient=patient.fhir_id)
        held = Held(app, browser, person, patient, sample.study, tokens)
        for open_to in (held.fhir, held.dicomweb, held.viewer):
            assert await open_to() == {200}, open_to
        return held

    async def ends(
        self, held: Held, end: Callable[[], Awaitable[object]], *, status: int, viewer: int | None
    ) -> None:
        await end()
        assert await held.fhir() == {status}
        assert await held.dicomweb() == {status}
        assert await held.refresh() <= {400, 401}
        if viewer is not None:
            assert await held.viewer() == {viewer}

    async def share_ended(self) -> None:
        held = await self.held(OFFLINE, by_doctor=True)
        sql = "UPDATE share SET state = 'ended' WHERE patient_id = :patient"
        await self.ends(held, lambda: self.do(sql, patient=held.patient.fhir_id), status=404, viewer=404)

    async def profile_restricted(self) -> None:
        held = await self.held(OFFLINE, by_doctor=True)
        sql = "UPDATE patient SET state = 'restricted' WHERE id = :patient"
        await self.ends(held, lambda: self.do(sql, patient=held.patient.fhir_id), status=404, viewer=404)

    async def app_revoked(self) -> None:
        held = await self.held(OFFLINE)
        page = await self.client.get("/oauth/manage")
        csrf = page.text.partition('name="csrf" value="')[2].partition('"')[0]

        async def press() -> None:
            form = {"csrf": csrf, "client_id": held.app.id}
            assert (await self.client.post("/oauth/manage", data=form)).status_code == 303

        await self.ends(held, press, status=401, viewer=None)

    async def token_revoked(self) -> None:
        held = await self.held(OFFLINE)
        form = {"token": held.tokens["access_token"], "client_id": held.app.id}
        await self.ends(held, lambda: self.client.post("/oauth/revoke", data=form), status=401, viewer=None)

    async def password_changed(self) -> None:
        held = await self.held(OFFLINE)
        account, db = held.person.account_id, held.services.db
        new = "quite another long pass phrase"
        await self.ends(held, lambda: accounts.change_password(db, account, new), status=401, viewer=401)

    async def session_ended(self) -> None:
        held = await self.held(ONLINE)
        sql = "UPDATE session SET ended_at = :now WHERE account_id = :account"
        values = {"now": clock.now(), "account": held.person.account_id}
        await self.ends(held, lambda: self.do(sql, **values), status=401, viewer=401)

    async def account_disabled(self) -> None:
        held = await self.held(OFFLINE)
        account, db = held.person.account_id, held.services.db
        await self.ends(held, lambda: accounts.disable(db, account, why="test"), status=401, viewer=401)

    async def record_erased(self) -> None:
        """The first step of an erasure; all later ones find nothing open any more."""
        held = await self.held(OFFLINE)
        sql = "UPDATE patient SET state = 'erasing' WHERE id = :patient"
        await self.ends(held, lambda: self.do(sql, patient=held.patient.fhir_id), status=404, viewer=404)

    async def app_disabled(self) -> None:
        held = await self.held(OFFLINE)
        services, client = held.services, held.app.id
        await self.ends(held, lambda: set_enabled(services, client, enabled=False), status=401, viewer=None)
        await set_enabled(services, client, enabled=True)
        assert await held.fhir() == {200}

    async def member_removed(self) -> None:
        """Who manages an organization and is taken out of it has nothing of it left, with the token of before."""
        person = await self.people.provider()
        token = await self.people.token(person, "user/*.rs")
        app = await register(self.server)
        held = Held(app, Browser(self.client), person, person, "1.2.3", {"access_token": token})
        path, headers = "/fhir/Patient", bearer(token)
        assert await held._all(path, headers) == {200}
        await self.do(
            "DELETE FROM organization_member WHERE account_id = :account", account=person.account_id
        )
        assert await held._all(path, headers) == {401}

    async def do(self, sql: str, **values: object) -> None:
        await self.server.services.db.execute(Statement("test", sql), values)


async def test_rights_end_everywhere_at_once() -> None:
    """One server for all cases: its start is what costs."""
    async with two_workers() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        cases = Cases(server, client)
        for case in (
            cases.share_ended,
            cases.profile_restricted,
            cases.app_revoked,
            cases.token_revoked,
            cases.password_changed,
            cases.session_ended,
            cases.account_disabled,
            cases.record_erased,
            cases.app_disabled,
            cases.member_removed,
        ):
            client.cookies.clear()
            await case()
