"""A share through every interface: given in the portal, seen in FHIR and DICOMweb, taken back everywhere at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from server.core import clock
from server.sharing import expiry
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer

from .portal_steps import link_in, mail_to, submit

DICOM_JSON = {"Accept": "application/dicom+json"}
EMPTY = (httpx.codes.NO_CONTENT, httpx.codes.OK)


class Caller:
    """A doctor's way to a patient's images: the session of a browser, or a token issued before."""

    def __init__(self, client: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self._client = client
        self._headers = headers

    async def get(self, path: str, **headers: str) -> httpx.Response:
        return await self._client.get(path, headers={**self._headers, **headers})

    async def finds(self) -> list[dict]:
        answer = await self.get("/dicomweb/studies", **DICOM_JSON)
        assert answer.status_code in EMPTY, answer.text
        return answer.json() if answer.status_code == httpx.codes.OK else []


async def statuses(caller: Caller, patient: Person, sample: Sample) -> dict[str, int]:
    """What the ways to one study answer."""
    root = f"/patients/{patient.fhir_id}/dicomweb"
    ways = {
        "metadata": f"/dicomweb/studies/{sample.study}/metadata",
        "frame": f"{root}{sample.path}/frames/1",
        "rendered": f"/dicomweb{sample.path}/rendered",
        "instance": f"{root}{sample.path}",
        "patient": f"/fhir/Patient/{patient.fhir_id}",
    }
    return {name: (await caller.get(path)).status_code for name, path in ways.items()}


@pytest.fixture
async def clients(server: RunningServer) -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as stack:
        yield stack


async def browser(server: RunningServer, stack: AsyncExitStack) -> httpx.AsyncClient:
    return await stack.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))


@pytest.fixture
async def ada(people: People) -> Person:
    return await people.patient("Ada Moor")


@pytest.fixture
async def berg(people: People) -> Person:
    return await people.doctor("Anna Berg")


@pytest.fixture
def outbox(server: RunningServer) -> Path:
    return server.data / "outbox"


async def ways_of(
    server: RunningServer, people: People, stack: AsyncExitStack, doctor: Person
) -> tuple[httpx.AsyncClient, dict[str, Caller]]:
    """The doctor's browser, and all callers that act for the doctor."""
    signed_in, plain = await browser(server, stack), await browser(server, stack)
    await people.session(signed_in, doctor)
    token = await people.token(doctor, "user/*.rs")
    return signed_in, {"session": Caller(signed_in, {}), "token": Caller(plain, bearer(token))}


async def shared_by_mail(
    server: RunningServer,
    stack: AsyncExitStack,
    people: People,
    patient: Person,
    doctor: Person,
    outbox: Path,
) -> httpx.AsyncClient:
    """The patient's browser, after an invitation in the portal that the doctor accepted from the mail."""
    owner = await browser(server, stack)
    await people.session(owner, patient)
    await submit(owner, "/sharing/new", name=doctor.name, email=doctor.email)
    link = link_in(await mail_to(outbox, doctor.email), "/invitation/")
    page = await browser(server, stack)
    await people.session(page, doctor)
    assert (await submit(page, link, answer="accept")).status_code == httpx.codes.SEE_OTHER
    return owner


async def share_id_of(owner: httpx.AsyncClient) -> str:
    """The id of the one share on the patient's page."""
    text = (await owner.get("/sharing")).text
    links = [part.partition('"')[0] for part in text.split('href="/sharing/')[1:]]
    return next(link for link in links if not link.startswith("new"))


async def test_a_share_opens_every_interface_and_its_end_closes_them_at_once(
    server: RunningServer,
    people: People,
    clients: AsyncExitStack,
    ada: Person,
    berg: Person,
    outbox: Path,
) -> None:
    """Rows 6, 32, 34: all studies, later ones too; refused from the very next request, also with an older token."""
    own = bearer(await people.token(ada))
    plain = await browser(server, clients)
    first, later = instance(), instance()
    assert (await store(plain, first, **own)).status_code == httpx.codes.OK
    _, ways = await ways_of(server, people, clients, berg)
    for caller in ways.values():
        assert set((await statuses(caller, ada, first)).values()) == {404}
        assert await caller.finds() == []

    owner = await shared_by_mail(server, clients, people, ada, berg, outbox)
    assert (await store(plain, later, **own)).status_code == httpx.codes.OK
    for name, caller in ways.items():
        for sample in (first, later):
            answers = await statuses(caller, ada, sample)
            assert set(answers.values()) == {200}, (name, answers)
        assert len(await caller.finds()) == 2
    consents = (await ways["token"].get(f"/fhir/Consent?patient={ada.fhir_id}&status=active")).json()
    assert consents["total"] == 1
    assert "last looked" in (await owner.get("/sharing")).text

    share_id = await share_id_of(owner)
    ended = await submit(owner, f"/sharing/{share_id}", action=f"/sharing/{share_id}/end")
    assert ended.status_code == httpx.codes.SEE_OTHER
    for name, caller in ways.items():
        answers = await statuses(caller, ada, first)
        assert set(answers.values()) == {404}, (name, answers)
        assert await caller.finds() == []
    mine = await plain.get(f"/fhir/Consent/{share_id}", headers=own)
    assert mine.json()["status"] == "inactive"
    assert "Ended" in (await owner.get("/sharing")).text


async def test_a_share_ended_in_the_middle_of_a_day_of_reading(
    server: RunningServer, people: People, clients: AsyncExitStack, ada: Person, berg: Person, outbox: Path
) -> None:
    """Requests under way at the end are answered one way or the other; none begun after it shows anything."""
    sample = instance()
    plain = await browser(server, clients)
    assert (await store(plain, sample, **bearer(await people.token(ada)))).status_code == httpx.codes.OK
    owner = await shared_by_mail(server, clients, people, ada, berg, outbox)
    _, ways = await ways_of(server, people, clients, berg)
    path = f"/dicomweb{sample.path}/frames/1"
    stop = asyncio.Event()

    async def read(caller: Caller) -> list[int]:
        seen = []
        while not stop.is_set():
            seen.append((await caller.get(path)).status_code)
        return seen

    reading = [asyncio.create_task(read(caller)) for caller in ways.values() for _ in range(2)]
    await asyncio.sleep(0.3)
    share_id = await share_id_of(owner)
    await submit(owner, f"/sharing/{share_id}", action=f"/sharing/{share_id}/end")
    after = [(await caller.get(path)).status_code for caller in ways.values()]
    stop.set()
    for seen in await asyncio.gather(*reading):
        assert set(seen) <= {200, 404}
        assert seen == sorted(seen), "nothing is seen again after the first refusal"
    assert after == [404, 404]


async def test_a_share_of_one_study_shows_no_other(
    server: RunningServer, people: People, clients: AsyncExitStack, ada: Person, berg: Person
) -> None:
    """Beyond the seed 4: chosen studies, seeing without download."""
    chosen, other = instance(), instance()
    plain = await browser(server, clients)
    assert (
        await store(plain, chosen, other, **bearer(await people.token(ada)))
    ).status_code == httpx.codes.OK
    await people.share(ada, berg, rights=("images",), studies=[chosen.study])
    _, ways = await ways_of(server, people, clients, berg)
    for caller in ways.values():
        assert set((await statuses(caller, ada, other)).values()) == {
            200,
            404,
        }  # the Patient, and nothing else
        answers = await statuses(caller, ada, chosen)
        assert answers.pop("instance") != httpx.codes.OK, "no file without the right to download"
        assert set(answers.values()) == {200}
        [found] = await caller.finds()
        assert found["0020000D"]["Value"] == [chosen.study]


async def test_an_app_shares_through_fhir_and_the_portal_shows_it(
    server: RunningServer, people: People, clients: AsyncExitStack, ada: Person, berg: Person, outbox: Path
) -> None:
    """Decision 5: the same thing as the portal's share, and the other way round."""
    sample = instance()
    plain = await browser(server, clients)
    own = bearer(await people.token(ada))
    assert (await store(plain, sample, **own)).status_code == httpx.codes.OK
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{ada.fhir_id}"},
        "policy": [{"uri": "urn:lightbox:policy:sharing:1"}],
        "provision": {
            "type": "permit",
            "actor": [
                {
                    "role": {
                        "coding": [
                            {
                                "system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType",
                                "code": "IRCP",
                            }
                        ]
                    },
                    "reference": {"reference": f"Practitioner/{berg.fhir_id}"},
                }
            ],
        },
    }
    made = await plain.post("/fhir/Consent", json=consent, headers=own)
    assert made.status_code == httpx.codes.CREATED, made.text
    assert made.headers["location"].endswith(f"/Consent/{made.json()['id']}/_history/1")
    _, ways = await ways_of(server, people, clients, berg)
    assert (await statuses(ways["token"], ada, sample))["frame"] == httpx.codes.OK
    await mail_to(outbox, berg.email, "given you access")
    owner = await browser(server, clients)
    await people.session(owner, ada)
    page = (await owner.get("/sharing")).text
    assert "Can see now" in page
    assert berg.name in page

    path = f"/fhir/Consent/{made.json()['id']}"
    ended = await plain.put(path, json=made.json() | {"status": "inactive"}, headers=own)
    assert ended.status_code == httpx.codes.OK, ended.text
    assert set((await statuses(ways["session"], ada, sample)).values()) == {404}
    assert "Ended" in (await owner.get("/sharing")).text


async def test_an_app_cannot_say_more_than_is_enforced_or_speak_for_another(
    server: RunningServer, people: People, clients: AsyncExitStack, ada: Person, berg: Person
) -> None:
    consent = {
        "resourceType": "Consent",
        "status": "active",
        "scope": {"coding": [{"code": "patient-privacy"}]},
        "category": [{"text": "x"}],
        "patient": {"reference": f"Patient/{ada.fhir_id}"},
        "policy": [{"uri": "urn:x"}],
        "provision": {
            "type": "permit",
            "actor": [
                {
                    "role": {"coding": [{"code": "IRCP"}]},
                    "reference": {"reference": f"Practitioner/{berg.fhir_id}"},
                }
            ],
            "provision": [{"type": "deny"}],
        },
    }
    plain = await browser(server, clients)
    refused = await plain.post("/fhir/Consent", json=consent, headers=bearer(await people.token(ada)))
    assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert refused.json()["issue"][0]["expression"] == ["Consent.provision.provision"]
    del consent["provision"]["provision"]
    for person in (await people.patient("Eve"), berg):
        scope = "user/*.cruds" if person.role == "doctor" else "patient/*.cruds"
        answer = await plain.post(
            "/fhir/Consent", json=consent, headers=bearer(await people.token(person, scope))
        )
        assert answer.status_code in (403, 404, 405, 422), answer.text
    reader = bearer(await people.token(ada, "patient/*.rs"))
    assert (await plain.post("/fhir/Consent", json=consent, headers=reader)).status_code == 403
    _, ways = await ways_of(server, people, clients, berg)
    assert await ways["token"].finds() == []


async def test_fourteen_days_pass(
    server: RunningServer, people: People, clients: AsyncExitStack, ada: Person, berg: Person, outbox: Path
) -> None:
    """Row 33: at 336 hours it is expired, in the portal and in FHIR, and can be sent again."""
    owner = await browser(server, clients)
    await people.session(owner, ada)
    await submit(owner, "/sharing/new", name=berg.name, email=berg.email)
    link = link_in(await mail_to(outbox, berg.email), "/invitation/")
    share_id = await share_id_of(owner)
    clock.travel(timedelta(hours=336))
    await people.session(owner, ada)
    assert (await owner.get(link)).status_code == httpx.codes.GONE
    assert "Expired" in (await owner.get("/sharing")).text
    await expiry.run(server.services)
    own = bearer(await people.token(ada))
    found = (await owner.get(f"/fhir/Consent/{share_id}", headers=own)).json()
    assert found["status"] == "inactive"
    await submit(owner, f"/sharing/{share_id}", action=f"/sharing/{share_id}/resend")
    fresh = link_in(await mail_to(outbox, berg.email, "invites you", number=2), "/invitation/")
    assert fresh != link
    page = await browser(server, clients)
    await people.session(page, berg)
    assert (await submit(page, fresh, answer="accept")).status_code == httpx.codes.SEE_OTHER
