"""The portal's pages with identifiers of somebody else: each page that names something, as each kind of person.

`tests/conformance/test_every_route.py` asks with tokens and made-up names; here people are signed in, and every name
in an address or a form is one that exists: of a study, a report, a share, a link, a pass, a copy, an upload.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID, uuid4

import httpx
import pytest

from server.access.action import STUDY_READ, Action, Right, Verb
from server.access.services import Services
from server.core import clock
from server.portal.routes import routes
from server.rights import erasure, export
from server.sharing import viewer_pass
from server.storage.sql import Statement
from tests.conformance.dicomweb.samples import instance, store
from tests.conformance.test_every_route import walk
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_steps import submit
from tests.sharing_steps import actor_of, invite

NAME = "Marrowquill"  # stands nowhere else
TOMORROW = (clock.now() + timedelta(days=1)).date().isoformat()
KEEPING = (
    "SELECT table_schema || '.' || table_name AS name FROM information_schema.columns"
    " WHERE column_name = '{}' AND table_schema IN ('public', 'keys')"
)
# What a form may hold: enough of it is sent with each to come past what is asked of a form.
FILLED = {
    "name": "Somebody", "email": "somebody@example.org", "title": "T", "text": "T", "right": "images",
    "which": "chosen", "until": TOMORROW, "answer": "accept", "act": "end", "do": "leave", "agree": "yes",
    "sure": "yes", "was": "not-mine", "viewer": "weasis", "given": "A", "family": "B", "birth_date": "1980-01-01",
    "gender": "female", "attribute": "StudyDescription", "date": "2020", "modality": "CT",
}  # fmt: skip


@dataclass
class Victim:
    """A patient, and the names of all that she has."""

    person: Person
    places: dict[str, str]

    def fill(self, path: str) -> str:
        return re.sub(r"\{(\w+)(?::\w+)?\}", lambda found: self.places.get(found[1], "1"), path)


@pytest.fixture(scope="module")
async def victim(server: RunningServer) -> Victim:
    people, services = People(server.services), server.services
    person, friend = await people.patient(f"Vera {NAME}"), await people.doctor()
    token = await people.token(person)
    sample = instance(PatientName=f"{NAME}^Vera")
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        assert (await store(browser, sample, **bearer(token))).status_code == 200
        await people.session(browser, person)
        page = f"/studies/{sample.study}/reports/add"
        assert (await submit(browser, page, title=NAME, text=NAME, date="")).status_code == 303
        added = await submit(browser, "/records/new", kind="DX", year="1998", notes=NAME)
        assert added.status_code == 303, added.text
        record = added.headers["location"].split("?")[0].split("/")[2]
        until = {"name": NAME, "email": "guest@example.org", "until": TOMORROW}
        made = await submit(browser, "/sharing/links/new", **until)
        link = made.headers["location"].partition("?")[0].rpartition("/")[2]
        found = await browser.get("/fhir/DiagnosticReport", headers=bearer(token))
    share, _ = await invite(services, person, friend.email)
    gate, actor = services.gate, actor_of(person)
    reading = await gate.reach_for_actor(actor, STUDY_READ, right=Right.DOWNLOAD)
    await viewer_pass.create(
        services, person.fhir_id, sample.study, viewer_pass.Viewer.WEASIS, actor=actor, reach=reading
    )
    whole = await gate.reach_for_actor(actor, Action("Patient", Verb.READ))
    copy = await export.ask(services, person.fhir_id, reach=whole, actor=actor)
    upload, [going] = uuid4(), await _waiting_erasure(services, person)
    await services.db.execute(
        Statement(
            "upload",
            "INSERT INTO upload (id, patient_id, account_id, uids, studies, created_at, updated_at)"
            " VALUES (:id, :patient, :account, '{1.2}', 1, :now, :now)",
        ),
        {"id": upload, "patient": person.fhir_id, "account": person.account_id, "now": clock.now()},
    )
    pass_of = Statement("pass", "SELECT id FROM viewer_pass WHERE patient_id = :patient")
    pass_id = await services.db.fetch_val(pass_of, {"patient": person.fhir_id})
    report = found.json()["entry"][0]["resource"]["id"]
    places = {
        "uid": sample.study, "sop": sample.sop, "patient": person.fhir_id, "share": share.id, "link": link,
        "report": report, "record": record, "copy": str(copy), "upload": str(upload), "pass": str(pass_id),
        "erasure": str(going), "number": "0", "guest": link, "page": "x", "secret": "x", "project": str(uuid4()),
    }  # fmt: skip
    return Victim(person, places)


async def _waiting_erasure(services: Services, person: Person) -> list[UUID]:
    reach = await services.gate.reach_for_actor(actor_of(person), Action("Patient", Verb.DELETE))
    return await erasure.ask(services, actor=actor_of(person), reach=reach, wait=timedelta(days=14))


async def _kept(server: RunningServer, victim: Victim) -> dict[str, str]:
    """All rows that are about the victim, by table; what the server itself goes on writing is left out."""
    db, kept = server.services.db, {}
    for column, value in (("patient_id", victim.person.fhir_id), ("account_id", victim.person.account_id)):
        for row in await db.fetch_all(Statement("tables", KEEPING.format(column)), {}):
            if not row["name"].startswith("public.data_export"):
                rows = "coalesce(string_agg(kept::text, '|' ORDER BY kept::text), '')"
                text = f"SELECT {rows} FROM {row['name']} AS kept WHERE {column} = :value"
                kept[row["name"]] = await db.fetch_val(Statement("rows", text), {"value": value})
    return kept


@pytest.mark.parametrize("role", ["patient", "doctor", "provider"])
async def test_pages_of_somebody_else(
    server: RunningServer, people: People, victim: Victim, role: str
) -> None:
    """Nothing is shown, and nothing of hers is changed."""
    stranger = await getattr(people, role)("Stray Ger")
    before, wrong = await _kept(server, victim), []
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, stranger)
        csrf = _csrf(await browser.get("/account"))
        ids = {
            "patient": victim.person.fhir_id,
            "study": victim.places["uid"],
            "share": victim.places["share"],
        }
        ids |= {"guardian": str(victim.person.account_id), "record": victim.places["record"]}
        form = FILLED | ids | {"csrf": csrf}
        for method, path in sorted(set(walk(routes))):
            if "{" not in path or "{secret}" in path or path.startswith(("/link", "/operator")):
                continue
            sent = form if method == "POST" else None
            answer = await browser.request(method, victim.fill(path), data=sent)
            if answer.status_code >= 500 or NAME in answer.text:
                wrong.append((method, path, str(answer.status_code)))
            elif answer.status_code == 200 and path != "/erased/{erasure}":
                wrong.append((method, path, answer.text[:300]))
        for path in ("show", "code", "end", "emergency", "join"):
            await browser.post(f"/account/people/{path}", data=form)
        for path in (
            "/imaging",
            "/activity",
            "/activity.csv",
            "/sharing",
            "/account/people",
            "/account/profile",
        ):
            query = f"?patient={victim.person.fhir_id}&study={victim.places['uid']}"
            assert NAME not in (await browser.get(path + query)).text, path
    assert wrong == []
    after = await _kept(server, victim)
    assert {name for name in before if before[name] != after[name]} == set()


async def test_the_victim_herself_sees_it(server: RunningServer, people: People, victim: Victim) -> None:
    """The same pages by their owner: the names are right, and the checks above can fail."""
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as browser:
        await people.session(browser, victim.person)
        for path in ("studies/{uid}", "reports/{report}", "records/{record}", "sharing/links/{link}"):
            answer = await browser.get(victim.fill(f"/{path}"))
            assert (answer.status_code, NAME in answer.text) == (200, True), path
        for path in ("studies/{uid}/viewers", "sharing/{share}", "studies/{uid}/hashes"):
            assert (await browser.get(victim.fill(f"/{path}"))).status_code == 200, path
        fields = {"csrf": _csrf(await browser.get("/account"))}
        for path in ("upload/{upload}/forget", "viewers/{pass}/end", "account/delete/{erasure}/take-back"):
            assert (await browser.post(victim.fill(f"/{path}"), data=fields)).status_code == 303, path


def _csrf(page: httpx.Response) -> str:
    return page.text.partition('name="csrf" value="')[2].partition('"')[0]
