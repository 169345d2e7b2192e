"""Who reaches what: every reading route of the table, asked by every kind of caller (decisions 1 to 4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta

import httpx
import pytest
from starlette.routing import Route

from server.accounts import sessions
from server.core import clock
from server.dicomweb.routes import routes
from server.sharing import share as share_service
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of, consent_reach

CT_ONLY = "patient/ImagingStudy.rs?modality=http://dicom.nema.org/resources/ontology/DCM|CT"
READING = [
    route.path
    for route in routes
    if isinstance(route, Route)
    and "GET" in (route.methods or ())
    and route.name != "elsewhere"
    and not route.path.endswith(("/count", "/changefeed", "/latest"))
]
FILES = {
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
}


@dataclass(frozen=True)
class Scene:
    """A patient with a CT and an MR study, and everybody around."""

    people: People
    owner: Owner
    ct: Sample
    mr: Sample
    doctor: Person


@pytest.fixture
async def scene(web: httpx.AsyncClient, people: People, owner: Owner) -> Scene:
    ct, mr = instance(EncapsulatedDocument=b"x" * 2000), instance(Modality="MR")
    answer = await store(web, ct, mr)
    assert answer.status_code in (200, 202), answer.text
    return Scene(people, owner, ct, mr, await people.doctor())


def filled(path: str, sample: Sample) -> str:
    values = {
        "study": sample.study,
        "series": sample.series,
        "instance": sample.sop,
        "frames": "1",
        "path": "7FE00010",
    }
    address = re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: values[found[1]], path)
    if path == "/wado":
        return f"{address}?requestType=WADO&studyUID={sample.study}&seriesUID={sample.series}&objectUID={sample.sop}"
    return address if "{" in path else f"{address}?StudyInstanceUID={sample.study}"


async def seen(web: httpx.AsyncClient, headers: dict[str, str], sample: Sample) -> set[str]:
    """The routes that show something of the sample."""
    found = set()
    for path in READING:
        answer = await web.get(f"/dicomweb{filled(path, sample)}", headers=headers)
        assert answer.status_code in (200, 401, 404), (path, answer.status_code, answer.text[:200])
        if answer.status_code == 200 and answer.content != b"[]":
            found.add(path)
    return found


ALL = set(READING)
Caller = Callable[[Scene], Awaitable[dict[str, str]]]


async def the_owner(scene: Scene) -> dict[str, str]:
    return bearer(scene.owner.token)


async def the_owners_ct_app(scene: Scene) -> dict[str, str]:
    return bearer(await scene.people.token(scene.owner.person, CT_ONLY))


async def doctor_with_everything(scene: Scene) -> dict[str, str]:
    await scene.people.share(scene.owner.person, scene.doctor)
    return bearer(await scene.people.token(scene.doctor, "user/*.rs"))


async def doctor_who_may_only_look(scene: Scene) -> dict[str, str]:
    await scene.people.share(scene.owner.person, scene.doctor, rights=("images",))
    return bearer(await scene.people.token(scene.doctor, "user/*.rs"))


async def doctor_with_reports_only(scene: Scene) -> dict[str, str]:
    await scene.people.share(scene.owner.person, scene.doctor, rights=("reports",))
    return bearer(await scene.people.token(scene.doctor, "user/*.rs"))


async def doctor_with_the_ct(scene: Scene) -> dict[str, str]:
    await scene.people.share(scene.owner.person, scene.doctor, studies=[scene.ct.study])
    return bearer(await scene.people.token(scene.doctor, "user/*.rs"))


async def doctor_whose_share_ended(scene: Scene) -> dict[str, str]:
    share = await scene.people.share(scene.owner.person, scene.doctor)
    headers = bearer(await scene.people.token(scene.doctor, "user/*.rs"))
    person = scene.owner.person
    reach = await consent_reach(scene.people.services, person)
    await share_service.end(scene.people.services, share, actor=actor_of(person), reach=reach)
    return headers


async def stranger(scene: Scene) -> dict[str, str]:
    return bearer(await scene.people.token(await scene.people.patient("Some One")))


async def another_hospital(scene: Scene) -> dict[str, str]:
    return bearer(await scene.people.system_token(await scene.people.backend()))


async def nobody(scene: Scene) -> dict[str, str]:
    return {"Authorization": ""}


@pytest.mark.parametrize(
    ("caller", "ct", "mr"),
    [
        (the_owner, ALL, ALL),
        (the_owners_ct_app, ALL, set()),
        (doctor_with_everything, ALL, ALL),
        (doctor_who_may_only_look, ALL - FILES, ALL - FILES),
        (doctor_with_reports_only, set(), set()),
        (doctor_with_the_ct, ALL, set()),
        (doctor_whose_share_ended, set(), set()),
        (stranger, set(), set()),
        (another_hospital, set(), set()),
        (nobody, set(), set()),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_what_is_seen(web: httpx.AsyncClient, scene: Scene, caller: Caller, ct: set[str], mr: set[str]):
    headers = await caller(scene)
    assert await seen(web, headers, scene.ct) == ct
    assert await seen(web, headers, scene.mr) == mr


async def test_cookies_store_with_the_csrf_header_only(server: RunningServer, people: People, owner: Owner):
    """Decision 20."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, owner.person)
        headers = {"Content-Type": MULTIPART}
        without = await browser.post("/dicomweb/studies", content=body([instance().data]), headers=headers)
        assert without.status_code == 403
        foreign = {**headers, "Sec-Fetch-Site": "cross-site"}
        assert (await browser.post("/dicomweb/studies", content=b"", headers=foreign)).status_code == 403
        assert (await browser.delete("/dicomweb/studies/1.2")).status_code == 403
        assert (await browser.get("/dicomweb/studies")).status_code == 200


async def test_an_upload_keeps_its_session_alive(server: RunningServer, people: People, owner: Owner):
    """Decision 27: forty minutes of one body, and the session lives longer than it would have."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, owner.person)
        (before,) = await sessions.sessions_of(server.services.db, owner.person.account_id)
        page = (await browser.get("/account")).text
        token = re.search(r'name="csrf[^"]*" (?:content|value)="([^"]+)"', page)
        assert token, page[:500]

        async def slowly() -> AsyncIterator[bytes]:
            content = body([instance().data])
            for at in range(0, len(content), 200):
                yield content[at : at + 200]
                clock.travel(timedelta(minutes=10 * at / len(content)))
                await asyncio.sleep(0.01)

        headers = {"Content-Type": MULTIPART, "X-CSRF-Token": token[1]}
        answer = await browser.post("/dicomweb/studies", content=slowly(), headers=headers)
        assert answer.status_code == 200, answer.text
        (after,) = await sessions.sessions_of(server.services.db, owner.person.account_id)
    assert after.seen_at > before.seen_at


async def test_a_uid_under_two_patients(
    server: RunningServer, web: httpx.AsyncClient, people: People, owner: Owner
):
    """Decision 8: the pooled root answers 409; each patient's root has its own."""
    sample = instance()
    other = await people.patient("Ada Moor")
    assert (await store(web, sample)).status_code == 200
    assert (await store(web, sample, **bearer(await people.token(other)))).status_code == 200
    doctor = await people.doctor()
    for patient in (owner.person, other):
        await people.share(patient, doctor)
    headers = bearer(await people.token(doctor, "user/*.rs"))
    for path in (sample.path, f"/studies/{sample.study}/metadata", f"/studies/{sample.study}/thumbnail"):
        answer = await web.get(f"/dicomweb{path}", headers=headers)
        assert answer.status_code == 409
        assert "root" in answer.json()["error"]
    assert len((await web.get("/dicomweb/studies", headers=headers)).json()) == 2
    assert (await web.get(f"{owner.root}{sample.path}", headers=headers)).status_code == 200
