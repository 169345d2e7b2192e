"""Rights end everywhere at once, with several worker processes running: FHIR, DICOMweb, the viewer, and refresh.

Nothing a process remembers may outlive what another process ended (architecture.md, "Past one machine"). Each case
warms both workers up, ends something, and asks again over connections of their own.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx

from server.access.running import running_services
from server.access.services import Services
from server.accounts import people as accounts
from server.cli.context import _as_served, prepared
from server.core import clock
from server.core.ids import digest
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
CONNECTIONS = 8  # at once, each new: with two workers all of them at one is one in a hundred and more


# Rights that have no step of their own here: rows as the functions that give them write them.
GIVEN = (
    "INSERT INTO guest_link (id, patient_id, name, email, rights, created_at, until)"
    " VALUES ('a-guests-link', :patient, 'Ed', 'ed@example.org', '{images,reports}', :now, :until)",
    "INSERT INTO guest_visit (id, link_id, patient_id, secret_hash, created_at, opened_at, until)"
    " VALUES (gen_random_uuid(), 'a-guests-link', :patient, :secret, :now, :now, :until)",
    "INSERT INTO viewer_pass (id, patient_id, account_id, study_uid, viewer, secret_hash, created_at, until)"
    " VALUES (gen_random_uuid(), :patient, :account, :study, 'Weasis', :secret, :now, :until)",
    "INSERT INTO emergency_access (id, patient_id, account_id, reason, begun_at, until)"
    " VALUES (gen_random_uuid(), :patient, :operator, 'a reason', :now, :until)",
    "INSERT INTO holder (patient_id, account_id, as_what, since) VALUES (:patient, :guardian, 'guardian', :now)",
    "INSERT INTO share (id, patient_id, organization_id, name, email, state, rights, created_at, accepted_at)"
    " VALUES (gen_random_uuid(), :patient, :hospital, 'H', 'h@example.org', 'active', '{images}', :now, :now)",
)
# Who, and in which row it ends, and how it would go on.
ENDS = (
    ("doctor", "share", "until = :now", "until = NULL"),
    ("doctor", "share", "rights = '{reports}'", "rights = '{images}'"),
    ("doctor", "share", "studies = '{1.2}'", "studies = NULL"),
    ("doctor", "practitioner", "verification = 'suspended'", "verification = 'verified'"),
    ("doctor", "study", "standing = 'differs'", "standing = 'mine'"),
    ("hospital", "study", "deleted_at = :now", "deleted_at = NULL"),
    ("hospital", "share", "state = 'ended'", "state = 'active'"),
    ("guardian", "holder", "until = :now", "until = NULL"),
    ("pass", "viewer_pass", "ended_at = :now", "ended_at = NULL"),
    ("pass", "viewer_pass", "until = :now", "until = :until"),
    ("guest", "guest_visit", "ended_at = :now", "ended_at = NULL"),
    ("guest", "guest_link", "ended_at = :now", "ended_at = NULL"),
    ("guest", "guest_link", "rights = '{reports}'", "rights = '{images}'"),
    ("operator", "emergency_access", "ended_at = :now", "ended_at = NULL"),
)


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

    async def what_a_doctor_was_given(self) -> None:
        held = await self.held(OFFLINE, by_doctor=True)
        for table, end, again in (
            ("share", "state = 'ended'", "state = 'active'"),
            ("patient", "state = 'restricted'", "state = 'active'"),
        ):
            whose = {"patient": held.patient.fhir_id}
            where = f"WHERE {'id' if table == 'patient' else 'patient_id'} = :patient"
            ends = partial(self.do, f"UPDATE {table} SET {end} {where}", **whose)
            await self.ends(held, ends, status=404, viewer=404)
            await self.do(f"UPDATE {table} SET {again} {where}", **whose)
            assert await held.fhir() == {200}

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

    async def own_record(self) -> None:
        """Restricted, the owner goes on and their apps store anew, no more (row 55); being erased, nothing goes on."""
        held = await self.held(f"{OFFLINE} patient/*.cruds")
        sql, patient = "UPDATE patient SET state = '{}' WHERE id = :patient", held.patient.fhir_id
        restricted = partial(self.do, sql.format("restricted"), patient=patient)
        await self.ends(held, restricted, status=404, viewer=200)
        headers = bearer(held.tokens["access_token"])
        patch = [{"op": "replace", "path": "/gender", "value": "other"}]
        kind = {"Content-Type": "application/json-patch+json"}
        changed = await self.client.patch(f"/fhir/Patient/{patient}", json=patch, headers=headers | kind)
        deleted = await self.client.delete(f"/dicomweb/studies/{held.study}", headers=headers)
        stored = await self.client.post(
            "/dicomweb/studies",
            content=body([instance().data]),
            headers=headers | {"Content-Type": MULTIPART},
        )
        assert (changed.status_code, deleted.status_code, stored.status_code) == (404, 404, 200)
        erasing = partial(self.do, sql.format("erasing"), patient=patient)
        await self.ends(held, erasing, status=404, viewer=404)

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

    async def each_kind_of_right(self) -> None:
        """Whatever opens a study: each ends with its row, in every process, whoever remembers what."""
        patient, sample = await self.people.patient(), instance()
        doctor, guardian, operator = (
            await self.people.doctor(),
            await self.people.patient("Gus Guardian"),
            await self.people.operator(),
        )
        own = bearer(await self.people.token(patient))
        store = {"content": body([sample.data]), "headers": own | {"Content-Type": MULTIPART}}
        assert (await self.client.post("/dicomweb/studies", **store)).status_code == 200  # type: ignore[arg-type]
        await self.people.share(patient, doctor)
        hospital = await self.people.backend()
        values = {"patient": patient.fhir_id, "now": clock.now(), "until": clock.now() + timedelta(hours=1)}
        values |= {"guardian": guardian.account_id, "operator": operator.account_id, "study": sample.study}
        values |= {"hospital": hospital.organization_id, "account": patient.account_id}
        values |= {"secret": digest("lbp_secret"), "doctor": doctor.fhir_id}
        for sql in GIVEN:
            await self.do(sql, **values)
        await self.people.session(self.client, operator)
        cookie = "; ".join(f"{name}={value}" for name, value in self.client.cookies.items())
        self.client.cookies.clear()
        callers = {
            "doctor": bearer(await self.people.token(doctor, "user/*.rs")),
            "hospital": bearer(await self.people.system_token(hospital)),
            "guardian": bearer(await self.people.token(guardian, "user/*.rs")),
            "pass": bearer("lbp_secret"),
            "guest": {"Cookie": "lightbox_guest=lbp_secret"},
            "operator": {"Cookie": cookie},
        }
        held = Held(await register(self.server), Browser(self.client), patient, patient, sample.study, {})
        warm: set[str] = set()
        for caller, table, end, again in ENDS:
            root = "/link/a-guests-link" if caller == "guest" else ""
            path, headers = f"{root}/dicomweb/studies/{sample.study}/metadata", callers[caller]
            whose = "id = :doctor" if table == "practitioner" else "patient_id = :patient"
            if caller not in warm:
                warm.add(caller)
                assert await held._all(path, headers) == {200}, caller
            await self.do(f"UPDATE {table} SET {end} WHERE {whose}", **values)
            assert await held._all(path, headers) <= {401, 403, 404}, (caller, end)
            await self.do(f"UPDATE {table} SET {again} WHERE {whose}", **values)
            assert (await self.client.get(path, headers=headers)).status_code == 200, (caller, again)

    async def do(self, sql: str, **values: object) -> None:
        named = {name: value for name, value in values.items() if f":{name}" in sql}
        await self.server.services.db.execute(Statement("test", sql), named)


async def test_rights_end_everywhere_at_once() -> None:
    """One server for all cases: its start is what costs."""
    async with two_workers() as server, httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        cases = Cases(server, client)
        for case in (
            cases.what_a_doctor_was_given,
            cases.app_revoked,
            cases.token_revoked,
            cases.password_changed,
            cases.session_ended,
            cases.account_disabled,
            cases.own_record,
            cases.each_kind_of_right,
            cases.app_disabled,
            cases.member_removed,
        ):
            client.cookies.clear()
            await case()
