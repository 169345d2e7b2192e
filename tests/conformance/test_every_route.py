"""Every route of the application, asked by nobody and by strangers: nothing of the victim comes out.

The routes are walked as they are mounted, so a new one is in here by itself. A route that answers without a
credential is named in OPEN with the reason; what is not there answers 401, or leads to the sign-in page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest
from pydicom import dcmread
from pydicom.data import get_testdata_file
from starlette.routing import BaseRoute, Mount, Route

from server.app import routes
from tests.factories import People, Person, bearer

NAME = "Quillonfeather"  # a family name that stands nowhere else

OPEN = {
    "/health/live": "for monitoring",
    "/health/ready": "for monitoring",
    "/metrics": "for monitoring; numbers only",
    "/fhir/metadata": "FHIR R4, 3.1.0.15: capabilities need no authorization",
    "/fhir/$versions": "FHIR, the versions operation",
    "/fhir/.well-known/smart-configuration": "SMART App Launch 2.2: always readable",
    "/.well-known/openid-configuration": "OpenID Connect Discovery 1.0, 4",
    "/.well-known/oauth-authorization-server": "RFC 8414, 3",
    "/.well-known/user-access-brands.json": "SMART App Launch 2.2, user-access brands: open",
    "/app-state/metadata": "FHIR R4, 3.1.0.15: capabilities need no authorization",
    "/oauth/jwks": "public keys",
    "/oauth/register": "RFC 7591: open registration, new apps are shown as unverified",
    "/oauth/developers": "how to ask, and the same open registration as a form",
    "/oauth/style.css": "no data",
    "/oauth/smart-style.json": "no data",
    "/viewer/": "the program of the viewer; its data comes from DICOMweb",
}
PUBLIC_PAGES = (
    "/",
    "/data",
    "/help",
    "/sign-in",
    "/sign-up",
    "/sign-up/doctor",
    "/verify",
    "/reset",
    "/second-step",
    "/address",
    "/static",
    "/erased",  # by a random number; says nothing of anybody
)
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


def walk(found: list[BaseRoute], prefix: str = "") -> Iterator[tuple[str, str]]:
    """Every (method, path) of the application."""
    for route in found:
        if isinstance(route, Mount):
            yield from walk(list(getattr(route.app, "routes", [])), prefix + route.path)
        elif isinstance(route, Route):
            for method in sorted(set(route.methods or {"GET"}) & set(METHODS)):
                yield method, prefix + route.path


ROUTES = sorted(set(walk(routes())))


@dataclass
class Victim:
    """A patient with a study, shared with nobody who asks here."""

    person: Person
    study: str
    series: str
    instance: str
    imaging_study: str

    def fill(self, path: str) -> str:
        """The path with this victim's identifiers in its places."""
        values = {
            "patient": self.person.fhir_id,
            "study": self.study,
            "uid": self.study,
            "series": self.series,
            "instance": self.instance,
            "frames": "1",
            "frame": "1",
            "tag": "7FE00010",
            "id": self.person.fhir_id if "/Patient/" in path else self.imaging_study,
            "guest": "x",  # no link
            "type": "ImagingStudy",
            "vid": "1",
            "number": "1",
        }
        place = r"\{(\w+)(?::(\w+))?\}"
        return re.sub(place, lambda found: values.get(found[1], "1" if found[2] == "int" else "x"), path)


@pytest.fixture(scope="module")
async def victim(server) -> Victim:
    people = People(server.services)
    person = await people.patient(f"Vera {NAME}")
    dataset = dcmread(get_testdata_file("CT_small.dcm"))
    dataset.PatientName = f"{NAME}^Vera"
    file = Path(str(server.data)) / "victim.dcm"
    dataset.save_as(file)
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as client:
        headers = bearer(await people.token(person))
        stored = await client.post(
            "/dicomweb/studies",
            headers=headers | {"content-type": "application/dicom"},
            content=file.read_bytes(),
        )
        assert stored.status_code == 200, stored.text
        found = await client.get("/fhir/ImagingStudy", headers=headers)
    imaging_study = found.json()["entry"][0]["resource"]["id"]
    return Victim(
        person, dataset.StudyInstanceUID, dataset.SeriesInstanceUID, dataset.SOPInstanceUID, imaging_study
    )


async def ask(client: httpx.AsyncClient, method: str, path: str, headers: dict[str, str]) -> httpx.Response:
    json_body = method in ("POST", "PUT", "PATCH") and not path.startswith(("/oauth", "/sign", "/reset"))
    return await client.request(method, path, headers=headers, json={} if json_body else None)


def shows_nothing(victim: Victim, answer: httpx.Response) -> bool:
    text = answer.text
    return NAME not in text and victim.instance not in text.replace(str(answer.request.url), "")


async def test_nobody_gets_in(client, victim):
    """No credential: 401, or the way to the sign-in page; never the victim's data."""
    wrong = []
    for method, path in ROUTES:
        answer = await ask(client, method, victim.fill(path), {})
        if not shows_nothing(victim, answer) or answer.status_code not in allowed_to_nobody(path):
            wrong.append((method, path, answer.status_code, answer.text[:200]))
        elif answer.status_code == 401 and not path.startswith("/oauth"):
            assert answer.headers.get("www-authenticate", "Bearer").startswith("Bearer")
    assert wrong == []


def allowed_to_nobody(path: str) -> range | tuple[int, ...]:
    """The statuses a route may answer without a credential."""
    if path in OPEN or path.startswith("/viewer/"):
        return range(200, 500)
    if path.startswith("/link/{guest}/dicomweb"):
        return (403, 404, 405)  # a link that is none (decision 19)
    if path == "/give/{page}":
        return (303, 401, 403, 410)  # a doctor's page that is none; it opens nothing either way
    if path.startswith("/link"):
        return (410, 422)  # the page that tells nothing
    if path.endswith("{path:path}") or path == "/fhir":
        return (401, 404, 405)  # no such resource, whoever asks
    if path.startswith(("/dicomweb", "/patients", "/fhir")):
        return (401,)
    if path.startswith("/oauth"):
        return (303, 400, 401)
    if path in PUBLIC_PAGES or path.startswith((*PUBLIC_PAGES[1:], "/invitation")):
        return range(200, 500)
    return (303, 401, 403)


@pytest.fixture(scope="module")
async def stranger_tokens(server) -> dict[str, str]:
    people = People(server.services)
    patient, doctor = await people.patient("Stray Ger"), await people.doctor("Doc Strange")
    system = await people.backend("Elsewhere PACS")
    return {
        "patient": await people.token(patient, "patient/*.cruds"),
        "patient-user": await people.token(patient, "user/*.cruds"),
        "doctor": await people.token(doctor, "user/*.cruds"),
        "provider": await people.system_token(system),
    }


@pytest.mark.parametrize("who", ["patient", "patient-user", "doctor", "provider"])
async def test_a_stranger_gets_nothing(client, victim, stranger_tokens, who):
    """A living token of somebody else: 404, 403, an empty list; nothing of the victim, nothing done."""
    wrong = []
    for method, path in ROUTES:
        answer = await ask(client, method, victim.fill(path), bearer(stranger_tokens[who]))
        names_the_victim = "{" in path and path.startswith(("/dicomweb", "/patients", "/fhir"))
        nothing_done = answer.status_code >= 300 or (method, answer.status_code) == ("DELETE", 204)
        empty = nothing_done or not names_the_victim or is_empty(answer)
        if answer.status_code >= 500 or not empty or not shows_nothing(victim, answer):
            wrong.append((method, path, answer.status_code, answer.text[:200]))
    assert wrong == []


def is_empty(answer: httpx.Response) -> bool:
    """A search that found nothing, or an answer that tells of no data."""
    if not answer.content:
        return True
    body = answer.json()
    if isinstance(body, list):
        return body == []
    if body == {"count": 0}:
        return True
    return body.get("resourceType") in ("OperationOutcome", "Bundle") and not [
        entry for entry in body.get("entry", []) if entry.get("search", {}).get("mode") != "outcome"
    ]


async def test_the_victim_herself_does_see_it(client, server, victim):
    """The same walk by the owner finds the name: the checks above can fail."""
    headers = bearer(await People(server.services).token(victim.person))
    shown = []
    for method, path in ROUTES:
        if method == "GET" and path.startswith(("/dicomweb", "/patients", "/fhir")):
            answer = await ask(client, method, victim.fill(path), headers)
            assert answer.status_code < 500, (path, answer.text)
            if not shows_nothing(victim, answer):
                shown.append(path)
    assert len(shown) >= 8, shown


async def test_everything_is_still_there(client, server, victim):
    """After all strangers have tried every method: nothing was changed or deleted."""
    headers = bearer(await People(server.services).token(victim.person))
    path = f"/dicomweb/studies/{victim.study}/series/{victim.series}/instances/{victim.instance}/metadata"
    answer = await client.get(path, headers=headers)
    assert answer.status_code == 200
    assert NAME in answer.text
