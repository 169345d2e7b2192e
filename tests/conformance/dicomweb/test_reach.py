"""Who reaches what: every reading route of the table, asked by every kind of caller (decisions 1 to 4)."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum

import httpx
import pytest
from starlette.routing import Route

from server.accounts import sessions
from server.core import clock
from server.dicomweb.routes import routes
from server.sharing import share as share_service
from server.storage.sql import Statement
from tests.conformance.dicomweb.conftest import Owner
from tests.conformance.dicomweb.samples import MULTIPART, Sample, body, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.sharing_steps import actor_of, consent_reach

CT_ONLY = "patient/ImagingStudy.rs?modality=http://dicom.nema.org/resources/ontology/DCM|CT"
PATHS = [
    route.path
    for route in routes
    if isinstance(route, Route) and "GET" in (route.methods or ()) and route.name != "elsewhere"
]
FILES = {
    "/studies/{study}",
    "/studies/{study}/series/{series}",
    "/studies/{study}/series/{series}/instances/{instance}",
}
DELETED = "/studies/{study}/series/{series}/instances/{instance}"


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
    if path.startswith("/changefeed"):
        return address
    return address if "{" in path and "/count" not in path else f"{address}?StudyInstanceUID={sample.study}"


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


async def doctor_with_a_right_to_delete_nothing(scene: Scene) -> dict[str, str]:
    """A share of everything there is to read, and a token with every letter."""
    await scene.people.share(scene.owner.person, scene.doctor)
    return bearer(await scene.people.token(scene.doctor, "user/*.cruds"))


async def stranger(scene: Scene) -> dict[str, str]:
    return bearer(await scene.people.token(await scene.people.patient("Some One")))


async def another_hospital(scene: Scene) -> dict[str, str]:
    return bearer(await scene.people.system_token(await scene.people.backend()))


async def nobody(scene: Scene) -> dict[str, str]:
    return {"Authorization": ""}


class Sees(Enum):
    """What a caller may have of a study."""

    ALL = "all"
    NO_FILES = "no files"  # a share without the right to download
    NOTHING = "nothing"


def expected(path: str, sees: Sees) -> int:
    """The status of a route (decision 1): searches are filtered, everything else is not there."""
    searches = ("/studies", "/series", "/instances", "/patients", "/changefeed", "/count")
    if path.endswith(searches):
        return 200
    if path == "/changefeed/latest":
        return 200 if sees is not Sees.NOTHING else 204
    if sees is Sees.NOTHING or (sees is Sees.NO_FILES and path in FILES):
        return 404
    return 200


def is_shown(answer: httpx.Response, path: str, sample: Sample) -> bool:
    """Whether the answer holds anything of the study."""
    if path.endswith("/count"):
        return bool(answer.json()["count"])
    if path == "/patients":
        return answer.json() != []
    if path in ("/changefeed", "/changefeed/latest"):
        return sample.study in answer.text
    return answer.status_code == 200 and answer.content not in (b"[]", b"")


@pytest.mark.parametrize(
    ("caller", "ct", "mr"),
    [
        (the_owner, Sees.ALL, Sees.ALL),
        (the_owners_ct_app, Sees.ALL, Sees.NOTHING),
        (doctor_with_everything, Sees.ALL, Sees.ALL),
        (doctor_who_may_only_look, Sees.NO_FILES, Sees.NO_FILES),
        (doctor_with_reports_only, Sees.NOTHING, Sees.NOTHING),
        (doctor_with_the_ct, Sees.ALL, Sees.NOTHING),
        (doctor_whose_share_ended, Sees.NOTHING, Sees.NOTHING),
        (stranger, Sees.NOTHING, Sees.NOTHING),
        (another_hospital, Sees.NOTHING, Sees.NOTHING),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_what_is_seen(web: httpx.AsyncClient, scene: Scene, caller: Caller, ct: Sees, mr: Sees):
    """Every reading route, its exact status; what is out of reach answers as what does not exist, to the byte."""
    headers = await caller(scene)
    wrong = []
    for root in ("/dicomweb", scene.owner.root):
        for path in PATHS:
            unknown = await web.get(root + filled(path, UNKNOWN), headers=headers)
            for sample, sees in ((scene.ct, ct), (scene.mr, mr)):
                answer = await web.get(root + filled(path, sample), headers=headers)
                most = max_of(ct, mr) if path == "/changefeed/latest" else sees
                if trouble := _amiss(answer, path, sample, sees, expected(path, most), unknown):
                    wrong.append((root, path, *trouble))
    assert wrong == []


def _amiss(
    answer: httpx.Response, path: str, sample: Sample, sees: Sees, status: int, unknown: httpx.Response
) -> tuple[object, ...] | None:
    """What is not as it should be."""
    of_all = path.startswith("/changefeed")
    shown = is_shown(answer, path, sample)
    if of_all and shown and sees is not Sees.NOTHING:
        shown_right = True
    elif path == "/changefeed/latest":
        shown_right = not (shown and sees is Sees.NOTHING)
    else:
        shown_right = shown == (status == 200 and sees is not Sees.NOTHING)
    if answer.status_code != status or not shown_right:
        return answer.status_code, status, answer.text[:200]
    if sees is Sees.NOTHING and not of_all and answer.content != unknown.content:
        return "not as what does not exist", answer.text[:200]
    return None


UNKNOWN = Sample(b"", "1.2.3.4", "1.2.3.4.5", "1.2.3.4.5.6")


def max_of(*sees: Sees) -> Sees:
    """The most that is seen of any."""
    return next(each for each in Sees if each in sees)


async def test_nobody_gets_in(web: httpx.AsyncClient, scene: Scene):
    """401 with a challenge, whether it exists or not (RFC 6750, 3)."""
    for root in ("/dicomweb", scene.owner.root):
        for path in PATHS:
            for sample in (scene.ct, UNKNOWN):
                for given, challenge in (("", "Bearer realm"), ("Bearer a.b.c", 'error="invalid_token"')):
                    answer = await web.get(root + filled(path, sample), headers={"Authorization": given})
                    assert answer.status_code == 401, (path, answer.text)
                    assert challenge in answer.headers["www-authenticate"]
                    assert sample.study not in answer.text


@pytest.mark.parametrize(
    ("caller", "status"),
    [
        (the_owner, 204),
        (the_owners_ct_app, 403),  # a scope to read and search only
        (doctor_with_everything, 403),
        (doctor_with_a_right_to_delete_nothing, 404),
        (doctor_whose_share_ended, 403),
        (stranger, 404),
        (another_hospital, 404),
        (nobody, 401),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_who_deletes(web: httpx.AsyncClient, scene: Scene, caller: Caller, status: int):
    """Only the holder; for all others the study is there afterwards as it was."""
    headers = await caller(scene)
    for path in (DELETED, "/studies/{study}/series/{series}", "/studies/{study}"):
        for root in (scene.owner.root, "/dicomweb"):
            answer = await web.delete(root + filled(path, scene.ct), headers=headers)
            assert answer.status_code == status, (path, answer.text)
            if status == 204:
                break
        else:
            continue
        break
    remaining = await web.get(f"/dicomweb{scene.ct.path}/metadata")
    assert remaining.status_code == (404 if status == 204 else 200)


@pytest.mark.parametrize(
    ("caller", "status"),
    [
        (the_owner, 200),
        (the_owners_ct_app, 403),
        (doctor_with_everything, 403),
        (doctor_with_a_right_to_delete_nothing, 404),  # no right to add: the profile is not one to store to
        (stranger, 404),
        (another_hospital, 404),
        (nobody, 401),
    ],
    ids=lambda value: value.__name__ if callable(value) else "",
)
async def test_who_stores_into_the_profile(web: httpx.AsyncClient, scene: Scene, caller: Caller, status: int):
    more = instance(study=scene.ct.study)
    answer = await store(web, more, root=scene.owner.root, **await caller(scene))
    assert answer.status_code == status, answer.text
    held = await web.get(f"/dicomweb{more.path}/metadata")
    assert held.status_code == (200 if status == 200 else 404)


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


_KNOWN = Statement("known", "INSERT INTO patient_identifier VALUES (:organization, :value, :patient)")


async def test_an_organization_reads_what_it_sent_alone(scene: Scene, server: RunningServer):
    """Decision 6 and row 12: a study that the patient had brought is read by who sent all of it too, and by no more."""
    people, ct = scene.people, scene.ct
    house, other = await people.backend(), await people.backend("Other")
    number = f"N-{scene.owner.person.fhir_id}"
    for system in (house, other):
        values = {
            "organization": system.organization_id,
            "value": number,
            "patient": scene.owner.person.fhir_id,
        }
        await people.services.db.execute(_KNOWN, values)
    tokens = [bearer(await people.system_token(system)) for system in (house, other)]
    study = instance(PatientID=number)
    second = instance(study.study, study.series, PatientID=number, InstanceNumber=2)
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as web:

        async def seen(headers: dict[str, str], sample: Sample = study) -> tuple[int, int, int]:
            listed = await web.get(f"/dicomweb/studies?StudyInstanceUID={sample.study}", headers=headers)
            file = await web.get(
                f"/dicomweb{sample.path}", headers={**headers, "Accept": "application/dicom"}
            )
            image = await web.get(f"/fhir/ImagingStudy?identifier=urn:oid:{sample.study}", headers=headers)
            return len(listed.json()), file.status_code, image.json().get("total", -1)

        mine = bearer(scene.owner.token)
        assert (await store(web, study, second, **mine)).status_code == 200
        assert await seen(tokens[0]) == (0, 404, 0)
        assert (await store(web, study, **tokens[0])).status_code == 200
        assert await seen(tokens[0]) == (0, 404, 0)  # it knows the half of it
        assert (await store(web, second, **tokens[0])).status_code == 200
        assert await seen(tokens[0]) == (1, 200, 1)
        assert await seen(tokens[1]) == (0, 404, 0)
        assert await seen(tokens[0], ct) == (0, 404, 0)
        gone = await web.delete(f"/dicomweb/studies/{study.study}", headers=tokens[0])
        assert gone.status_code == 404
        third = instance(study.study, study.series, PatientID=number, InstanceNumber=3)
        assert (await store(web, third, **mine)).status_code == 200
        assert await seen(tokens[0]) == (0, 404, 0)  # something is in it now that is none of theirs
        assert (await web.delete(f"/dicomweb{third.path}", headers=mine)).status_code == 204
        assert await seen(tokens[0]) == (1, 200, 1)
