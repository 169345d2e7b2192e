"""Rows 48, 57, 61-62: images without names for a project, from the first yes to the last no."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Any

import httpx
import pytest
from pydicom import dcmread

from server.cli.research import OPERATOR, written
from server.core import clock
from server.core.errors import NotFound
from server.jobs.worker import Worker
from server.rights import research, research_delivery, research_handover, research_planning, restriction
from server.rights.background import KITS
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import submit
from tests.second_steps import field_of, told
from tests.sharing_steps import actor_of, consent_reach
from tests.waiting import tries

CHEST = {
    "ImageType": ["ORIGINAL", "PRIMARY", "AXIAL"],
    "BodyPartExamined": "CHEST",
    "InstitutionName": "Hospizia",
}
CONTACT = "lung-study@university.example"


Browsers = Callable[[Person], Awaitable[httpx.AsyncClient]]


@pytest.fixture
async def browsers(server: RunningServer, people: People) -> AsyncIterator[Browsers]:
    """A browser for each person, closed in the end."""
    async with AsyncExitStack() as opened:

        async def of(person: Person) -> httpx.AsyncClient:
            client = await opened.enter_async_context(httpx.AsyncClient(base_url=server.url, timeout=30))
            await people.session(client, person)
            return client

        yield of


async def patient(
    server: RunningServer, people: People, name: str, browsers: Browsers
) -> tuple[Person, httpx.AsyncClient, list[bytes]]:
    """Somebody with an image of the chest, one of the head, and a screenshot."""
    person = await people.patient(name)
    family = name.split()[1]
    said = {"PatientName": f"{family}^{name.split()[0]}", "PatientID": f"NR{family}77", **CHEST}
    samples = [instance(**said), instance(**{**said, "BodyPartExamined": "HEAD"})]
    samples.append(instance(**{**said, "ImageType": ["DERIVED", "SECONDARY", "SCREEN SAVE"]}))
    headers = bearer(await people.token(person))
    async with httpx.AsyncClient(base_url=server.url, headers=headers, timeout=60) as web:
        for each in samples:
            assert (await store(web, each.data)).status_code == 200
    return person, await browsers(person), [each.data for each in samples]


async def act(client: httpx.AsyncClient, page: str, path: str | None = None, **form: Any) -> httpx.Response:
    answer = await submit(client, page, path or page, **form)
    assert answer.status_code == 303, answer.text
    return await client.get(answer.headers["location"])


async def ready(server: RunningServer, client: httpx.AsyncClient, page: str, address: str) -> str:
    """The address of the delivery, when it is made."""
    async for _ in tries():
        await Worker(server.services, KITS).drain()
        text = (await client.get(page)).text
        if f'href="{address}" download' in text:
            return address
    raise AssertionError("no delivery was made")


async def delivered(server: RunningServer, page: str, one: httpx.AsyncClient, two: httpx.AsyncClient) -> str:
    """A delivery that one operator asks for and another approves; its address."""
    asked = (await act(one, page, do="deliver")).text
    path = re.findall(rf'action="({page}/deliveries/[0-9a-f-]+)"', asked)[0]
    refused = await submit(one, page, path, do="approve")
    assert refused.status_code == 422
    await act(two, page, path, do="approve")
    return await ready(server, two, page, path)


def names_in(data: bytes) -> list[str]:
    with zipfile.ZipFile(io.BytesIO(data)) as read:
        assert read.testzip() is None
        return read.namelist()


@pytest.fixture
async def staff(people, browsers):
    """Two operators."""
    return [await browsers(await people.operator(name)) for name in ("Olga Ops", "Otto Ops")]


async def test_images_without_names_from_yes_to_no(server, people, staff, browsers) -> None:
    """Rows 48, 57, 61, 62: nothing is ticked, nothing flows without both yeses; no name comes out; a no ends it."""
    olga, otto = staff
    _, page_of_ada, originals = await patient(server, people, "Ada Quirkelbach", browsers)
    eve, page_of_eve, _ = await patient(server, people, "Eve Zyxworth", browsers)
    made = await act(
        olga, "/operator/research", name="Lungs", organization="University", description="Shadows in lungs",
        purpose="research-nonprofit", contact=CONTACT, options="dates", modalities="CT",
        until=f"{clock.now() + timedelta(days=90):%Y-%m-%d}",
    )  # fmt: skip
    page = made.url.path
    assert "Another operator has to do it" in made.text
    assert (await submit(olga, page, page, do="approve")).status_code == 422
    assert "Lungs" not in (await page_of_ada.get("/account/research")).text
    await act(otto, page, do="approve")

    # Offered, not ticked, and not without the permission for research of its kind.
    offered = (await page_of_ada.get("/account/research")).text
    assert "Lungs" in offered
    assert "checked" not in offered
    mine = f"/account/research/{page.rpartition('/')[2]}"
    csrf = field_of(await page_of_ada.get("/account/research"), "csrf")
    forced = await page_of_ada.post(mine, data={"csrf": csrf, "do": "join", "agree": "yes"})
    assert forced.status_code == 422
    for client in (page_of_ada, page_of_eve):
        await act(client, "/account/permission", permission="research-nonprofit")
        assert (await submit(client, "/account/research", mine, do="join")).status_code == 422
        assert (
            "You take part in" in (await act(client, "/account/research", mine, do="join", agree="yes")).text
        )

    # Two people and four eyes: a delivery holds what is safe, of both.
    address = await delivered(server, page, olga, otto)
    shown = (await otto.get(page)).text
    assert "A face could be made of it" in shown
    assert "Quirkelbach" not in shown
    whole = await otto.get(address)
    assert whole.status_code == 200
    names = names_in(whole.content)
    images = [each for each in names if each.endswith(".dcm")]
    assert len(images) == 2
    assert len({each.split("/")[0] for each in images}) == 2
    _tells_nothing(whole.content, originals)
    half = len(whole.content) // 2
    rest = await otto.get(address, headers={"Range": f"bytes={half}-", "If-Range": whole.headers["etag"]})
    assert (rest.status_code, rest.content) == (206, whole.content[half:])
    activity = (await page_of_ada.get("/activity")).text
    assert "Images were given without your name to the project Lungs" in activity
    assert "Joined on" in (await page_of_ada.get("/account/research")).text
    assert "A research project" in (await page_of_ada.get("/account/consents")).text

    # Ada takes back the permission: at once nothing of hers goes, and the project has to delete it.
    await act(page_of_ada, "/account/permission", permission=[])
    less = await otto.get(address, headers={"Range": "bytes=0-99", "If-Range": whole.headers["etag"]})
    assert less.status_code == 200
    left = [each for each in names_in(less.content) if each.endswith(".dcm")]
    assert len(left) == 1
    [gone] = {each.split("/")[0] for each in images} - {left[0].split("/")[0]}
    assert gone in (await otto.get(page)).text
    await research.tell(server.services)
    assert "Quirkelbach" not in await told(server.services, CONTACT, gone)
    assert "Where you stopped" in (await page_of_ada.get("/account/research")).text

    # Given again, the permission joins nothing; joined again she is somebody else.
    await act(page_of_ada, "/account/permission", permission="research-nonprofit")
    assert "You take part in" not in (await page_of_ada.get("/account/research")).text
    await act(page_of_ada, "/account/research", mine, do="join", agree="yes")
    again = await otto.get(await delivered(server, page, olga, otto))
    assert gone not in {each.split("/")[0] for each in names_in(again.content)}
    assert len([each for each in names_in(again.content) if each.endswith(".dcm")]) == 2

    # Eve restricts her record: set aside, not given. She leaves: to be deleted. The project ends: nothing goes.
    services = server.services
    reach = await services.gate.reach_for_actor(actor_of(eve), restriction.PATIENT_UPDATE)
    await restriction.begin(services, eve.fhir_id, reach=reach, actor=actor_of(eve))
    assert "set aside" in (await otto.get(page)).text
    assert len([each for each in names_in((await otto.get(address)).content) if each.endswith(".dcm")]) == 0
    await act(page_of_eve, "/account/research", mine, do="leave")
    assert left[0].split("/")[0] in (await otto.get(page)).text
    await act(olga, page, do="end")
    assert (await otto.get(address)).status_code == 409


def _tells_nothing(archive: bytes, originals: list[bytes]) -> None:
    """No string of the input that identifies anybody is in any file of the output."""
    with zipfile.ZipFile(io.BytesIO(archive)) as read:
        files = {name: read.read(name) for name in read.namelist()}
    original = dcmread(io.BytesIO(originals[0]))
    secrets = ["Quirkelbach", "Zyxworth", "NRQuirkelbach77", "Hospizia", "19800229", "Reader", "20240131"]
    secrets += [
        str(original[each].value) for each in ("SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID")
    ]
    for name, data in files.items():
        for secret in secrets:
            assert secret.lower().encode() not in (name.encode() + data).lower(), (name, secret)
            assert secret.encode("utf-16-le") not in data
    [new] = [dcmread(io.BytesIO(data)) for name, data in files.items() if name.endswith(".dcm")][:1]
    assert (new.pixel_array == original.pixel_array).all()
    assert new.PatientIdentityRemoved == "YES"
    assert b"removed PatientAddress" not in files["report.csv"]
    assert b"left-out" not in files["left-out.csv"]
    assert b"face" in files["left-out.csv"]


async def test_who_leaves_in_the_middle_is_not_sent(server, people, staff, browsers, tmp_path) -> None:
    """Row 57: the stream breaks off before the first byte of a file of who has just left; a killed job goes on."""
    services = server.services
    olga, otto = staff
    ada, page_of_ada, _ = await patient(server, people, "Ida Vrobelkamp", browsers)
    made = await act(
        olga, "/operator/research", name="Chests", organization="Clinic", description="Chests", modalities="",
        purpose="education", contact="chests@clinic.example", options="faces",
        until=f"{clock.now() + timedelta(days=9):%Y-%m-%d}",
    )  # fmt: skip
    page = made.url.path
    await act(otto, page, do="approve")
    mine = f"/account/research/{page.rpartition('/')[2]}"
    await act(page_of_ada, "/account/permission", permission="education")
    await act(page_of_ada, "/account/research", mine, do="join", agree="yes")
    await delivered(server, page, olga, otto)
    [project] = [each for each in await research.listed(services, actor=OPERATOR) if each.name == "Chests"]
    [delivery] = await research_delivery.listed(services, project.id, actor=OPERATOR)

    # Killed after any file, the job goes on with the next: what is written down is not looked at again.
    before = await services.db.fetch_all(FILES, {"id": delivery.id})
    await services.db.execute(AGAIN, {"id": delivery.id})
    await services.db.execute(DROP_ONE, {"id": delivery.id})
    assert await research_planning.prepare(services, delivery.id)
    after = await services.db.fetch_all(FILES, {"id": delivery.id})
    assert [tuple(row) for row in after] == [tuple(row) for row in before]

    # Written out by the command line; again, nothing is left to do, and a broken file is made whole.
    done = await written(services, delivery.id, tmp_path)
    assert (done["written"], done["there"]) == (2, 0)
    first = next(tmp_path.rglob("*.dcm"))
    first.write_bytes(b"broken")
    done = await written(services, delivery.id, tmp_path)
    assert (done["written"], done["there"]) == (1, 1)
    sums = (line.split("  ") for line in (tmp_path / "manifest.sha256").read_text().splitlines())
    assert all(hashlib.sha256((tmp_path / path).read_bytes()).hexdigest() == said for said, path in sums)

    # Deleted since it was looked at, an image is left out, and all others go.
    one = {"sop": next(row["sop_uid"] for row in before if not row["reason"]), "now": clock.now()}
    await services.db.execute(DELETED, one)
    opened = await research_handover.hand_over(services, delivery.id, actor=OPERATOR)
    whole = b"".join([part async for part in opened.stream(0, opened.size)])
    assert len([each for each in names_in(whole) if each.endswith(".dcm")]) == 1
    await services.db.execute(DELETED, one | {"now": None})

    opened = await research_handover.hand_over(services, delivery.id, actor=OPERATOR)
    assert len(opened.rows) == 2
    stream = opened.stream(0, opened.size)
    assert (await anext(stream))[:4] == b"PK\3\4"
    reach = await consent_reach(services, ada)
    await research.leave(services, project.id, ada.fhir_id, actor=actor_of(ada), reach=reach)
    with pytest.raises(NotFound):
        await anext(stream)
    gone, _ = await research.to_delete(services, project.id, actor=OPERATOR)
    assert len(gone) == 1
    assert await services.db.fetch_all(FILES, {"id": delivery.id}) == []


FILES = Statement(
    "files",
    "SELECT sop_uid, path, sha256, reason FROM research_file WHERE delivery_id = :id ORDER BY sop_uid",
)
AGAIN = Statement("again", "UPDATE research_delivery SET state = 'preparing' WHERE id = :id")
DELETED = Statement("deleted", "UPDATE instance SET deleted_at = :now WHERE sop_uid = :sop")
DROP_ONE = Statement(
    "drop one",
    "DELETE FROM research_file WHERE delivery_id = :id"
    " AND number = (SELECT max(number) FROM research_file WHERE delivery_id = :id)",
)
