"""App State: SMART App Launch 2.2, "Persisting App State" (smart-app-state)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from server.oauth.operator import issue_for_operator
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .driver import App, Browser, register

SYSTEM = "https://app.example"
SCOPE = "launch/patient patient/Basic.cruds"
KEYS = {"coding": [{"system": SYSTEM, "code": "keys"}]}
EXTENSION = [{"url": f"{SYSTEM}/keys", "valueString": '{"k":"äöü"}'}]


def basic(subject: str | None, code: str = "keys", **more: Any) -> dict[str, Any]:
    body = {
        "resourceType": "Basic",
        "code": {"coding": [{"system": SYSTEM, "code": code}]},
        "extension": EXTENSION,
    }
    return body | ({"subject": {"reference": subject}} if subject else {}) | more


class Endpoint:
    """The App State endpoint, with one token."""

    def __init__(self, client: httpx.AsyncClient, url: str, token: str) -> None:
        self.client, self.url, self.headers = client, url, bearer(token)

    async def ask(self, method: str, path: str = "", **how: Any) -> httpx.Response:
        headers = self.headers | how.pop("headers", {})
        return await self.client.request(method, f"{self.url}/Basic{path}", headers=headers, **how)

    async def put(self, body: dict[str, Any], etag: str | None) -> httpx.Response:
        return await self.ask("PUT", f"/{body['id']}", json=body, headers={"If-Match": etag} if etag else {})

    async def ids(self, **params: str) -> list[str]:
        answer = await self.ask("GET", params=params)
        assert answer.status_code == 200, answer.text
        return [entry["resource"]["id"] for entry in answer.json().get("entry", [])]


@pytest.fixture
async def url(client: httpx.AsyncClient, server: RunningServer) -> str:
    """Discovery: the capability, and where it is."""
    found = (await client.get("/fhir/.well-known/smart-configuration")).json()
    assert "smart-app-state" in found["capabilities"]
    places = [
        each["url"] for each in found["associated_endpoints"] if "smart-app-state" in each["capabilities"]
    ]
    assert places == [found["smart_app_state_endpoint"]] == [f"{server.url}/app-state"]
    return places[0]


@pytest.fixture
async def app(server: RunningServer) -> App:
    return (await register(server)).with_scope(SCOPE)


@pytest.fixture
async def state(app: App, browser: Browser, patient: Person, url: str) -> Endpoint:
    return Endpoint(browser.client, url, (await browser.connect(app))["access_token"])


@pytest.fixture
def subject(server: RunningServer, patient: Person) -> str:
    return f"{server.url}/fhir/Patient/{patient.fhir_id}"


async def test_a_state_is_kept_changed_and_deleted(state: Endpoint, subject: str) -> None:
    """Create, updates, deletes: id, versionId, ETag; the extensions, the coding and the subject as they were sent."""
    made = await state.ask("POST", json=basic(subject))
    assert made.status_code == 201, made.text
    body = made.json()
    assert made.headers["location"] == f"{state.url}/Basic/{body['id']}"
    assert made.headers["etag"] == f'W/"{body["meta"]["versionId"]}"'
    assert made.headers["content-type"].startswith("application/fhir+json")
    assert {name: body[name] for name in ("subject", "code", "extension")} == {
        "subject": {"reference": subject}, "code": KEYS, "extension": EXTENSION
    }  # fmt: skip
    body["extension"][0]["valueString"] = "anew"
    changed = await state.put(body, made.headers["etag"])
    assert changed.status_code == 200, changed.text
    assert changed.json()["extension"][0]["valueString"] == "anew"
    assert changed.headers["etag"] != made.headers["etag"]
    assert (await state.put(body, made.headers["etag"])).status_code == 412
    gone = f"/{body['id']}"
    assert (await state.ask("DELETE", gone, headers={"If-Match": made.headers["etag"]})).status_code == 412
    latest = {"If-Match": changed.headers["etag"]}
    assert (await state.ask("DELETE", gone, headers=latest)).status_code == 204
    for again in (
        await state.put(body, changed.headers["etag"]),
        await state.ask("DELETE", gone, headers=latest),
    ):
        assert again.status_code == 412, "a deleted state fails every precondition"
    assert (await state.ask("GET", gone)).status_code == 410
    assert await state.ids(code=f"{SYSTEM}|keys", subject=subject) == []


async def test_contention_is_prevented(state: Endpoint, subject: str) -> None:
    """If-Match is needed; code and subject do not change: 412."""
    made = await state.ask("POST", json=basic(subject))
    body, etag = made.json(), made.headers["etag"]
    assert (await state.put(body, None)).status_code == 412
    assert (await state.ask("DELETE", f"/{body['id']}")).status_code == 412
    other = basic(subject, "other") | {"id": body["id"]}
    assert (await state.put(other, etag)).status_code == 412
    assert (
        await state.put({**body, "id": body["id"], "subject": {"reference": subject + "x"}}, etag)
    ).status_code == 412
    assert (await state.put(basic(None) | {"id": body["id"]}, etag)).status_code == 412
    assert (await state.put(body, etag)).status_code == 200


async def test_a_state_is_found_by_code_and_subject(state: Endpoint, subject: str) -> None:
    one = (await state.ask("POST", json=basic(subject, "view"))).json()["id"]
    two = (await state.ask("POST", json=basic(subject, "list"))).json()["id"]
    assert await state.ids(code=f"{SYSTEM}|view", subject=subject) == [one]
    assert await state.ids(code=f"{SYSTEM}|list") == [two]
    assert await state.ids(code="https://elsewhere.example|view", subject=subject) == []
    assert await state.ids(code=f"{SYSTEM}|view", **{"subject:missing": "true"}) == []
    bundle = (await state.ask("GET", params={"code": f"{SYSTEM}|view"})).json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "searchset")
    assert bundle["entry"][0]["fullUrl"] == f"{state.url}/Basic/{one}"


@pytest.mark.parametrize(
    ("changed", "status"),
    [
        ({"id": "mine"}, 422),
        ({"meta": {"versionId": "7"}}, 422),
        ({"code": {"coding": []}}, 422),
        ({"code": {"coding": [{"system": SYSTEM, "code": "a"}, {"system": SYSTEM, "code": "b"}]}}, 422),
        ({"code": {"text": "keys"}}, 422),
        ({"code": None}, 422),
        ({"extension": [{"url": "x:y", "valueInteger": 1}]}, 422),
        ({"extension": [{"url": "x:y", "extension": [{"url": "z:z", "valueString": "a"}]}]}, 422),
        ({"contained": [{"resourceType": "Patient"}]}, 422),
        ({"colour": "blue"}, 422),
        ({"resourceType": "Patient"}, 400),
        ({"subject": {"reference": "Patient/1"}}, 422),
        ({"subject": {"reference": "https://elsewhere.example/fhir/Patient/1"}}, 422),
    ],
)
async def test_what_is_no_state_is_refused(
    state: Endpoint, subject: str, changed: dict[str, Any], status: int
) -> None:
    body = {name: value for name, value in (basic(subject) | changed).items() if value is not None}
    answer = await state.ask("POST", json=body)
    assert (answer.status_code, answer.json()["resourceType"]) == (status, "OperationOutcome"), answer.text


async def test_256_kb(state: Endpoint, subject: str) -> None:
    """ "Total resource size SHALL NOT exceed 256KB"; as much is taken."""
    large = basic(subject, extension=[{"url": "x:y", "valueString": "a" * (255 * 1024)}])
    assert (await state.ask("POST", json=large)).status_code == 201
    too_large = basic(subject, extension=[{"url": "x:y", "valueString": "a" * (257 * 1024)}])
    assert (await state.ask("POST", json=too_large)).status_code == 413


async def test_each_app_sees_its_own(
    state: Endpoint, subject: str, server: RunningServer, browser: Browser, patient: Person
) -> None:
    made = (await state.ask("POST", json=basic(subject))).json()
    other = (await register(server)).with_scope(SCOPE)
    theirs = Endpoint(browser.client, state.url, (await browser.connect(other))["access_token"])
    assert made["id"] not in await theirs.ids(code=f"{SYSTEM}|keys")
    assert (await theirs.ask("GET", f"/{made['id']}")).status_code == 404
    assert (await theirs.put(made, 'W/"1"')).status_code == 404


@pytest.mark.parametrize(
    ("scope", "method", "status"),
    [
        ("patient/Basic.s", "POST", 403),
        ("patient/Patient.cruds", "POST", 403),
        ("patient/Basic.c", "GET", 403),
        ("patient/Basic.c", "POST", 201),
        (f"patient/Basic.cs?code={SYSTEM}|keys", "POST", 201),
        (f"patient/Basic.cs?code={SYSTEM}|other", "POST", 403),
    ],
)
async def test_the_scopes_say_what_may_be_done(
    app: App, browser: Browser, patient: Person, subject: str, url: str, scope: str, method: str, status: int
) -> None:
    token = (await browser.connect(app.with_scope(f"launch/patient {scope}")))["access_token"]
    answer = await Endpoint(browser.client, url, token).ask(
        method, json=basic(subject) if method == "POST" else None
    )
    assert answer.status_code == status, answer.text


async def test_nobody_and_a_cookie_are_refused(browser: Browser, patient: Person, url: str) -> None:
    """ "Every App State request SHALL include an Authorization header"."""
    assert (await browser.client.get(f"{url}/Basic")).status_code == 401


async def test_others_are_out_of_reach(
    state: Endpoint, people: People, server: RunningServer, browser: Browser, app: App
) -> None:
    """A stranger's record, and with `patient/` scopes every other record than the one in context."""
    other = await people.patient("Somebody Else")
    theirs = f"{server.url}/fhir/Patient/{other.fhir_id}"
    refused = [
        await state.ask("POST", json=basic(each)) for each in (theirs, f"{server.url}/fhir/Patient/nobody")
    ]
    assert [answer.status_code for answer in refused] == [403, 403]
    assert refused[0].text == refused[1].text  # nobody learns who is there
    doctor = await people.doctor()
    assert (
        await state.ask("POST", json=basic(f"{server.url}/fhir/Practitioner/{doctor.fhir_id}"))
    ).status_code == 403
    await browser.sign_in(other)
    mine = Endpoint(browser.client, state.url, (await browser.connect(app))["access_token"])
    made = (await mine.ask("POST", json=basic(theirs))).json()
    assert (await state.ask("GET", f"/{made['id']}")).status_code == 404
    assert made["id"] not in await state.ids(code=f"{SYSTEM}|keys")


async def test_a_doctors_preferences_and_a_patients_state_while_it_is_shared(
    server: RunningServer, browser: Browser, people: People, url: str
) -> None:
    doctor, patient = await people.doctor(), await people.patient()
    share = await people.share(patient, doctor)
    app = (await register(server)).with_scope("launch/patient user/Basic.cruds")
    await browser.sign_in(patient)
    theirs = Endpoint(browser.client, url, (await browser.connect(app))["access_token"])
    about = f"{server.url}/fhir/Patient/{patient.fhir_id}"
    keys = (await theirs.ask("POST", json=basic(about))).json()["id"]
    await browser.sign_in(doctor)
    mine = Endpoint(browser.client, url, (await browser.connect(app))["access_token"])
    own = f"{server.url}/fhir/Practitioner/{doctor.fhir_id}"
    made = await mine.ask("POST", json=basic(own, "view"))
    assert made.status_code == 201, made.text
    assert await mine.ids(code=f"{SYSTEM}|view", subject=own) == [made.json()["id"]]
    assert await theirs.ids(code=f"{SYSTEM}|view") == []
    assert await mine.ids(code=f"{SYSTEM}|keys", subject=about) == [keys], "the companion app of the doctor"
    assert (await mine.ask("POST", json=basic(about))).status_code == 403, "this share gives no right to add"
    await server.services.db.execute(
        _statement("UPDATE share SET state = 'ended' WHERE id = :id"), {"id": share}
    )
    assert await mine.ids(code=f"{SYSTEM}|keys", subject=about) == []


async def test_state_of_the_app_as_a_whole_is_written_by_administrators(
    server: RunningServer, browser: Browser, people: People, patient: Person, url: str
) -> None:
    app = (await register(server)).with_scope("launch/patient user/Basic.cruds")
    users = Endpoint(browser.client, url, (await browser.connect(app))["access_token"])
    assert (await users.ask("POST", json=basic(None, "config"))).status_code == 403
    await browser.sign_in(await people.operator())
    answer = await browser.connect(app.with_scope("user/Basic.cruds"))
    runs = Endpoint(browser.client, url, answer["access_token"])
    made = await runs.ask("POST", json=basic(None, "config"))
    assert made.status_code == 201, made.text
    missing = {"subject:missing": "true"}
    assert await users.ids(code=f"{SYSTEM}|config", **missing) == [made.json()["id"]]
    assert (await users.put(made.json(), made.headers["etag"])).status_code == 404


async def test_it_lies_sealed(state: Endpoint, subject: str, server: RunningServer) -> None:
    await state.ask("POST", json=basic(subject, extension=[{"url": "x:y", "valueString": "quillonfeather"}]))
    rows = await server.services.db.fetch_all(_statement("SELECT sealed FROM app_state"))
    assert rows
    assert all(b"quillonfeather" not in bytes(row["sealed"]) for row in rows)


async def test_what_is_kept_about_a_patient_is_in_their_log(
    state: Endpoint, subject: str, server: RunningServer, people: People, patient: Person
) -> None:
    await state.ask("POST", json=basic(subject))
    token = await issue_for_operator(
        server.services, scope="patient/AuditEvent.rs", user=patient.email, patient=patient.fhir_id
    )
    found = (await state.client.get("/fhir/AuditEvent?_count=50", headers=bearer(token))).text
    assert "Basic" in found


def _statement(text: str) -> object:
    from server.storage.sql import Statement

    return Statement("test", text)
