# ruff: noqa: E501 - tables of hostile input read better in long lines
"""What one party's rights never do to another's data: shares, organizations, apps (privacy.md; decisions 1-6, 9, 14)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import httpx
import pytest

from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.factories import People, Person, bearer

NAME = "Quarzbogen"


@dataclass
class Record:
    """A patient with two studies and a report of her own, and a way to act for anybody."""

    client: httpx.AsyncClient
    people: People
    ada: Person
    token: str
    one: Sample
    two: Sample
    report: dict[str, Any]

    async def get(self, token: str, path: str, **headers: str) -> httpx.Response:
        return await self.client.get(path, headers=bearer(token) | headers)

    async def fhir(self, token: str, method: str, path: str, body: Any = None) -> httpx.Response:
        headers = bearer(token) | {"content-type": "application/fhir+json"}
        return await self.client.request(method, f"/fhir/{path}", headers=headers, json=body)

    async def stow(self, token: str, *samples: Sample, query: str = "") -> httpx.Response:
        root = f"/patients/{self.ada.fhir_id}/dicomweb"
        if query:
            headers = bearer(token) | {"content-type": "application/dicom"}
            return await self.client.post(f"{root}/studies?{query}", content=samples[0].data, headers=headers)
        return await store(self.client, *samples, root=root, **bearer(token))

    async def doctor(self, *rights: str, studies: list[str] | None = None) -> tuple[Person, str]:
        """A doctor with a share of these rights, and an app of theirs with every scope."""
        doctor = await self.people.doctor()
        await self.people.share(self.ada, doctor, rights=rights, studies=studies)
        return doctor, await self.people.token(doctor, "user/*.cruds")


def report_of(patient: str, **more: Any) -> dict[str, Any]:
    return {
        "resourceType": "DiagnosticReport",
        "status": "final",
        "code": {"text": NAME},
        "subject": {"reference": f"Patient/{patient}"},
        **more,
    }


@pytest.fixture
async def record(client: httpx.AsyncClient, people: People) -> Record:
    ada = await people.patient("Ada Moor")
    token = await people.token(ada)
    one, two = instance(), instance()
    answer = await store(client, one, two, **bearer(token))
    assert answer.status_code == 200, answer.text
    found = await client.get(f"/fhir/ImagingStudy?identifier=urn:oid:{one.study}", headers=bearer(token))
    study = found.json()["entry"][0]["resource"]["id"]
    body = report_of(ada.fhir_id, imagingStudy=[{"reference": f"ImagingStudy/{study}"}])
    made = await client.post(
        "/fhir/DiagnosticReport", json=body, headers=bearer(token) | {"content-type": "application/fhir+json"}
    )
    assert made.status_code == 201, made.text
    return Record(client, people, ada, token, one, two, made.json())


# -- shares


async def test_download_without_images_downloads_nothing(record: Record) -> None:
    """Decision 4: a right is given beside the others, it does not stand for them."""
    _, token = await record.doctor("reports", "download")
    for accept in ("application/zip", 'multipart/related; type="application/dicom"; transfer-syntax=*'):
        answer = await record.get(token, f"/dicomweb/studies/{record.one.study}", accept=accept)
        assert answer.status_code == 404


async def test_images_without_download_are_looked_at_only(record: Record) -> None:
    """Decision 4: without download no ZIP and no application/dicom; metadata, frames and pictures stay."""
    _, token = await record.doctor("images")
    for path, status in (
        (f"/studies/{record.one.study}", 404),
        (record.one.path, 404),
        (f"{record.one.path}/metadata", 200),
    ):
        assert (await record.get(token, f"/dicomweb{path}")).status_code == status
    accept = {"accept": "multipart/related; type=application/octet-stream; transfer-syntax=*"}
    assert (await record.get(token, f"/dicomweb{record.one.path}/frames/1", **accept)).status_code == 200
    assert (await record.fhir(token, "GET", f"DiagnosticReport/{record.report['id']}")).status_code == 404


async def test_a_doctor_who_may_add_revives_nothing(record: Record) -> None:
    """Decision 9: what the patient deleted stays deleted for all others, whatever they store."""
    _, token = await record.doctor("images", "add")
    assert (
        await record.client.delete(f"/dicomweb/studies/{record.one.study}", headers=bearer(record.token))
    ).status_code == 204
    answer = await record.stow(token, record.one, instance(study=record.one.study))
    assert answer.status_code < 500
    for who in (token, record.token):
        assert (await record.get(who, f"/dicomweb/studies/{record.one.study}/metadata")).status_code == 404
    answer = await record.stow(record.token, record.one)
    assert answer.status_code == 200, answer.text
    assert (
        await record.get(record.token, f"/dicomweb/studies/{record.one.study}/metadata")
    ).status_code == 200


async def test_only_the_holder_says_mine(record: Record) -> None:
    """Decision 9: images of another name wait for the holder's word; a doctor's `mine=true` is none."""
    _, token = await record.doctor("images", "add")
    strange = instance(PatientName="Someone^Else", PatientBirthDate="19010101")
    assert (await record.stow(token, strange, query="mine=true")).status_code in (200, 202)
    assert (await record.get(token, f"/dicomweb/studies/{strange.study}/metadata")).status_code == 404
    mine = instance(PatientName="Someone^Else", PatientBirthDate="19010101")
    assert (await record.stow(record.token, mine, query="mine=true")).status_code == 200
    assert (await record.get(token, f"/dicomweb/studies/{mine.study}/metadata")).status_code == 200


async def test_a_share_of_chosen_studies_adds_to_those_only(record: Record) -> None:
    """Decision 14: who was lent one study cannot write into another, hidden one."""
    _, token = await record.doctor("images", "add", studies=[record.one.study])
    assert (await record.stow(token, instance(study=record.one.study))).status_code == 200
    for study in (record.two.study, None):
        sample = instance(study=study)
        refused = await record.stow(token, sample)
        assert refused.status_code == 409, refused.text
        assert refused.json()["00081198"]["Value"][0]["00081197"]["Value"] == [0x0124]
        assert (await record.get(record.token, f"/dicomweb{sample.path}/metadata")).status_code == 404


async def test_to_add_is_not_to_change_what_others_wrote(record: Record) -> None:
    """Decision 4, 14: the right to add. The patient's report is neither changed nor read through a patch."""
    _, token = await record.doctor("reports", "add")
    own = await record.fhir(token, "POST", "DiagnosticReport", report_of(record.ada.fhir_id))
    assert own.status_code == 201, own.text
    changed = {**own.json(), "conclusion": "mine"}
    assert (await record.fhir(token, "PUT", f"DiagnosticReport/{changed['id']}", changed)).status_code == 200
    theirs = {**record.report, "conclusion": "forged"}
    assert (await record.fhir(token, "PUT", f"DiagnosticReport/{theirs['id']}", theirs)).status_code == 405
    patch = {"Content-Type": "application/json-patch+json", **bearer(token)}
    url = f"/fhir/DiagnosticReport/{theirs['id']}"
    answer = await record.client.patch(
        url, content=b'[{"op":"test","path":"/status","value":"final"}]', headers=patch
    )
    assert (answer.status_code, NAME in answer.text) == (404, False)
    assert (await record.fhir(token, "DELETE", f"DiagnosticReport/{theirs['id']}")).status_code in (204, 405)
    read = await record.fhir(record.token, "GET", f"DiagnosticReport/{theirs['id']}")
    assert (read.status_code, read.json().get("conclusion")) == (200, None)


async def test_an_ended_share_closes_everything_at_once(record: Record) -> None:
    """privacy.md: viewer, thumbnails, entity tags held, paging links, tokens made before, and the session."""
    doctor, token = await record.doctor("images", "reports", "download")
    tags = {}
    paths = [
        f"/dicomweb{record.one.path}{below}"
        for below in ("", "/metadata", "/frames/1", "/rendered", "/thumbnail", "/bulkdata/7FE00010")
    ] + [
        f"/dicomweb/studies/{record.one.study}{below}"
        for below in ("", "/thumbnail", "/metadata", "/rendered")
    ]
    paths.append(f"/fhir/Patient/{record.ada.fhir_id}")
    for path in paths:
        answer = await record.get(token, path)
        assert answer.status_code == 200, (path, answer.text[:200])
        control = answer.headers.get("cache-control", "")
        assert "private" in control, path
        assert "no-store" in control or "no-cache" in control, path
        tags[path] = answer.headers["etag"]
    listed = await record.get(token, "/fhir/ImagingStudy?_count=1")
    following = next(link["url"] for link in listed.json()["link"] if link["relation"] == "next")
    async with httpx.AsyncClient(base_url=record.client.base_url) as browser:
        await record.people.session(browser, doctor)
        assert (await browser.get(f"/dicomweb{record.one.path}/metadata")).status_code == 200
        ended = await record.client.get(
            f"/fhir/Consent?patient={record.ada.fhir_id}", headers=bearer(record.token)
        )
        for entry in ended.json()["entry"]:
            gone = await record.fhir(record.token, "DELETE", f"Consent/{entry['resource']['id']}")
            assert gone.status_code == 204
        for path in paths:
            for headers in ({}, {"If-None-Match": tags[path]}, {"If-None-Match": "*"}):
                assert (await record.get(token, path, **headers)).status_code == 404, (path, headers)
                assert (await browser.get(path, headers=headers)).status_code == 404, (path, headers)
        assert (await record.get(token, following)).json().get("entry", []) == []
        for path in (
            f"/my-patients/{record.ada.fhir_id}",
            f"/studies/{record.one.study}?patient={record.ada.fhir_id}",
        ):
            assert (await browser.get(path)).status_code == 404
    for path in ("/dicomweb/studies", "/dicomweb/instances"):
        assert (await record.get(token, path)).json() == []


# -- organizations


@pytest.fixture
async def hospital(record: Record) -> tuple[str, Sample]:
    """A system token, and a study it brought to a patient whom it calls P-77 and who is Ada."""
    system = await record.people.backend("County PACS")
    token = await record.people.system_token(system)
    brought = instance(PatientID="P-77")
    await record.people.services.db.execute(
        assert_identifier(),
        {"organization": system.organization_id, "value": "P-77", "patient": record.ada.fhir_id},
    )
    answer = await store(record.client, brought, **bearer(token))
    assert answer.status_code == 200, answer.text
    return token, brought


def assert_identifier():
    from server.storage.sql import Statement

    return Statement(
        "assert",
        "INSERT INTO patient_identifier (organization_id, value, patient_id) VALUES (:organization, :value, :patient)",
    )


async def test_an_organization_has_what_it_brought_and_no_more(
    record: Record, hospital: tuple[str, Sample]
) -> None:
    """Decision 2: the study it brought; not the patient's other studies, reports, shares, or log."""
    token, brought = hospital
    assert (await record.get(token, f"/dicomweb/studies/{brought.study}/metadata")).status_code == 200
    for study in (record.one.study, record.two.study):
        assert (await record.get(token, f"/dicomweb/studies/{study}/metadata")).status_code == 404
    listed = (await record.get(token, "/dicomweb/studies")).json()
    assert [each["0020000D"]["Value"][0] for each in listed] == [brought.study]
    for type in ("DiagnosticReport", "Consent", "AuditEvent", "Provenance", "Binary"):
        answer = await record.fhir(
            token, "GET", f"{type}?patient={record.ada.fhir_id}" if type != "Binary" else type
        )
        assert answer.json().get("entry", []) == [], type


async def test_what_others_say_of_a_brought_study_stays_theirs(
    record: Record, hospital: tuple[str, Sample]
) -> None:
    """The patient's own report on the hospital's study is neither read, changed nor deleted by the hospital."""
    token, brought = hospital
    found = await record.fhir(record.token, "GET", f"ImagingStudy?identifier=urn:oid:{brought.study}")
    study = found.json()["entry"][0]["resource"]["id"]
    body = report_of(record.ada.fhir_id, imagingStudy=[{"reference": f"ImagingStudy/{study}"}])
    made = (await record.fhir(record.token, "POST", "DiagnosticReport", body)).json()
    url = f"DiagnosticReport/{made['id']}"
    assert (await record.fhir(token, "GET", f"ImagingStudy/{study}")).status_code == 200
    assert (await record.fhir(token, "GET", url)).status_code == 404
    assert NAME not in (await record.fhir(token, "GET", f"{url}/_history")).text
    assert NAME not in (await record.fhir(token, "GET", "DiagnosticReport/_history")).text
    assert NAME not in (await record.fhir(token, "GET", f"Patient/{record.ada.fhir_id}/$everything")).text
    await record.fhir(token, "PUT", url, {**made, "conclusion": "forged"})
    await record.fhir(token, "DELETE", url)
    read = await record.fhir(record.token, "GET", url)
    assert (read.status_code, read.json().get("conclusion")) == (200, None)


async def test_a_number_that_a_patient_typed_matches_nobody(record: Record) -> None:
    """Decision 6: an identifier in the patient's own Patient resource fetches no hospital's scans."""
    system = await record.people.backend("Other PACS")
    token = await record.people.system_token(system)
    own = (await record.fhir(record.token, "GET", f"Patient/{record.ada.fhir_id}")).json()
    typed = {
        **own,
        "identifier": [
            {"value": "P-1"},
            {"system": f"urn:lightbox:{system.organization_id}", "value": "P-1"},
        ],
    }
    assert (await record.fhir(record.token, "PUT", f"Patient/{record.ada.fhir_id}", typed)).status_code == 200
    brought = instance(PatientID="P-1")
    assert (await store(record.client, brought, **bearer(token))).status_code == 200
    assert (await record.get(record.token, f"/dicomweb/studies/{brought.study}/metadata")).status_code == 404


# -- searches as oracles


async def test_searches_tell_nothing_that_reads_refuse(record: Record) -> None:
    """smart.md: chains, `_has`, includes and compartments need the scope of every type they look into."""
    narrow = await record.people.token(record.ada, "patient/ImagingStudy.rs")
    for query in (
        "ImagingStudy?patient.name=Ada", "ImagingStudy?_has:Observation:derived-from:status=final", "ImagingStudy?patient.family=M",
    ):  # fmt: skip
        assert (await record.fhir(narrow, "GET", query)).status_code == 403, query
    along = await record.fhir(
        narrow, "GET", "ImagingStudy?_include=*&_revinclude=DiagnosticReport:imaging-study"
    )
    # The guide of imaging access lets this scope find the Endpoint of the studies, too; nothing else comes along.
    found = {entry["resource"]["resourceType"] for entry in along.json()["entry"]}
    assert found == {"ImagingStudy", "Endpoint"}
    assert NAME not in along.text
    other = await record.people.patient("Eve Other")
    stranger = await record.people.token(other)
    for query in (
        f"DiagnosticReport/_history?_count=50&patient={record.ada.fhir_id}", f"Patient?_has:DiagnosticReport:patient:code:text={NAME}",
        f"DiagnosticReport?code:text={NAME}", f"DiagnosticReport?_id={record.report['id']}", "_history", "Patient?name=Ada",
        f"Patient?_id={other.fhir_id}&_revinclude=DiagnosticReport:patient",
    ):  # fmt: skip
        answer = await record.fhir(stranger, "GET", query)
        found = str(answer.json().get("entry", []))  # the query itself comes back in the link to it
        assert NAME not in found, query
        assert record.ada.fhir_id not in found, query
    for method, url in (
        ("GET", f"Patient/{record.ada.fhir_id}/DiagnosticReport"),
        ("GET", f"DiagnosticReport?patient={record.ada.fhir_id}"),
    ):
        known, unknown = [
            await record.fhir(stranger, method, url.replace(record.ada.fhir_id, id))
            for id in (record.ada.fhir_id, "nobody")
        ]
        assert known.status_code == unknown.status_code == 403
        assert known.json() == unknown.json()


async def test_what_is_hidden_answers_like_what_is_not(record: Record) -> None:
    """Decision 1: the same status, body and headers, so that ids can be tried in vain."""
    stranger = await record.people.token(await record.people.patient("Eve Other"))
    hidden = {
        f"/fhir/DiagnosticReport/{record.report['id']}": "/fhir/DiagnosticReport/nothing",
        f"/fhir/Patient/{record.ada.fhir_id}": "/fhir/Patient/nothing",
        f"/fhir/Patient/{record.ada.fhir_id}/$everything": "/fhir/Patient/nothing/$everything",
        f"/dicomweb{record.one.path}/metadata": "/dicomweb/studies/1.2/series/1.2/instances/1.2/metadata",
        f"/dicomweb{record.one.path}/frames/1": "/dicomweb/studies/1.2/series/1.2/instances/1.2/frames/1",
        f"/dicomweb/studies/{record.one.study}/thumbnail": "/dicomweb/studies/1.2/thumbnail",
        f"/patients/{record.ada.fhir_id}/dicomweb/studies": "/patients/nothing/dicomweb/studies",
    }
    for known, unknown in hidden.items():
        for headers in ({}, {"If-None-Match": "*"}, {"Accept": "text/nonsense"}):
            one, other = (
                await record.get(stranger, known, **headers),
                await record.get(stranger, unknown, **headers),
            )
            assert (one.status_code, one.content) == (other.status_code, other.content), known
            drop = ("date",)
            assert {k: v for k, v in one.headers.items() if k not in drop} == {
                k: v for k, v in other.headers.items() if k not in drop
            }


async def test_doctors_cannot_be_listed(record: Record) -> None:
    """privacy.md: searching people enumerates them: never, histories neither."""
    doctor = await record.people.doctor(f"Bo {NAME}")
    stranger = await record.people.token(await record.people.patient("Eve Other"))
    for path in (
        "Practitioner/_history", "_history?_count=500", "Practitioner", "Practitioner?name=Bo", "Practitioner?_lastUpdated=gt2000",
        "Organization/_history", "Organization?name=County", "PractitionerRole/_history", "Practitioner?identifier:missing=false",
        "Practitioner?_id:not=x", "Practitioner?identifier=%7C", "Practitioner?identifier:not=x",
    ):  # fmt: skip
        assert NAME not in (await record.fhir(stranger, "GET", path)).text, path
    assert (await record.fhir(stranger, "GET", f"Practitioner/{doctor.fhir_id}")).status_code == 200


@pytest.mark.parametrize(
    "scope",
    [
        "patient/Patient.rs",
        "openid fhirUser",
        "patient/ImagingStudy.s",
        "user/Observation.cruds",
        "patient/ImagingStudy.cud",
    ],
)
async def test_scopes_open_dicomweb_by_their_letters(record: Record, scope: str) -> None:
    """Decision 3: s opens QIDO, r WADO, c or u STOW, d delete; nothing else opens anything."""
    token = await record.people.token(record.ada, scope)
    letters = scope.partition("ImagingStudy.")[2]
    wanted = {
        ("GET", "/dicomweb/studies"): "s",
        ("GET", f"/dicomweb{record.one.path}/metadata"): "r",
        ("GET", f"/dicomweb{record.one.path}/rendered"): "r",
        ("DELETE", "/dicomweb/studies/1.2.3"): "d",
    }
    for (method, path), letter in wanted.items():
        answer = await record.client.request(method, path, headers=bearer(token))
        assert (answer.status_code == 403) is (letter not in letters), (
            scope,
            method,
            path,
            answer.status_code,
        )


# -- content beside its row


async def test_content_is_opened_like_its_record(record: Record) -> None:
    """A large Binary lies in the object store: no range, tag, version or form of it opens for others."""
    own = record.token
    context = {
        "content-type": "application/octet-stream",
        "x-security-context": f"Patient/{record.ada.fhir_id}",
    }
    content = NAME.encode() * 5000
    made = await record.client.post("/fhir/Binary", content=content, headers=bearer(own) | context)
    assert made.status_code == 201, made.text
    path = f"/fhir/Binary/{made.headers['location'].partition('/Binary/')[2].partition('/')[0]}"
    raw = {"accept": "*/*"}
    shown = await record.get(own, path, **raw)
    assert shown.content == content
    _, looks = await record.doctor("images", "download")
    _, reads = await record.doctor("reports")
    _, chosen = await record.doctor("images", "reports", studies=[record.one.study])
    stranger = await record.people.token(await record.people.patient())
    system = await record.people.system_token(await record.people.backend())
    assert (await record.get(reads, path, **raw)).content == content
    forms: tuple[tuple[str, dict[str, str]], ...] = (
        ("", raw),
        ("", {"accept": "application/fhir+json"}),
        ("", raw | {"range": "bytes=0-10"}),
        ("", raw | {"if-none-match": shown.headers["etag"]}),
        ("", raw | {"if-modified-since": shown.headers["last-modified"]}),
        ("/_history/1", raw),
        ("/_history", {"accept": "application/fhir+json"}),
    )
    for token in (looks, chosen, stranger, system):
        for more, headers in forms:
            for method in ("GET", "HEAD"):
                answer = await record.client.request(method, path + more, headers=bearer(token) | headers)
                assert answer.status_code in (404, 405), (more, headers)
                assert NAME not in answer.text
    for more, accept in (
        (f"/studies/{record.one.study}/metadata", "application/dicom+json"),
        (record.one.path, "application/dicom"),
        (f"{record.one.path}/rendered", "image/png"),
        (f"{record.one.path}/frames/1", "*/*"),
    ):
        seen = await record.get(own, f"/dicomweb{more}", accept=accept)
        assert seen.status_code == 200
        for known in ({"if-none-match": seen.headers["etag"]}, {"range": "bytes=0-10"}):
            hidden = await record.get(stranger, f"/dicomweb{more}", accept=accept, **known)
            assert hidden.status_code == 404, (more, known)
            assert "etag" not in hidden.headers
