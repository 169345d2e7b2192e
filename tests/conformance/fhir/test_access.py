"""Who may do what through FHIR: the status matrix of decision 1, in every interaction."""

from __future__ import annotations

import httpx
import pytest

from tests.conformance.dicomweb.samples import instance, store
from tests.factories import People, Person, bearer

from .conftest import Api


@pytest.mark.parametrize("path", ["Patient", "Patient/1", "Observation/_history", "_history", "AuditEvent/1"])
async def test_no_token_is_401(client: httpx.AsyncClient, path: str) -> None:
    """RFC 6750, 3: WWW-Authenticate: Bearer."""
    answer = await client.get(f"/fhir/{path}")
    assert (answer.status_code, answer.json()["issue"][0]["code"]) == (401, "login")
    assert answer.headers["www-authenticate"].startswith("Bearer")
    dead = await client.get(f"/fhir/{path}", headers=bearer("dead"))
    assert dead.status_code == 401
    assert 'error="invalid_token"' in dead.headers["www-authenticate"]


async def test_a_scope_that_is_missing_is_403(client: httpx.AsyncClient, people: People, ada: Person) -> None:
    """RFC 6750, 3.1: insufficient_scope, for each verb of its own."""
    api = Api(client, await people.token(ada, "patient/Observation.r"), ada.fhir_id)
    body = api.observation()
    refused = [
        await api.get("Observation"),
        await api.get("Patient/x"),
        await api.post("Observation", body),
        await api.put("Observation/x", body),
        await api.patch("Observation/x", []),
        await api.delete("Observation/x"),
        await api.get("Observation/_history"),
        await api.post("Nonsense/_search", b""),
    ]
    assert [answer.status_code for answer in refused] == [403] * 7 + [404]
    assert 'error="insufficient_scope"' in refused[0].headers["www-authenticate"]
    assert (await api.get("Observation/x")).status_code == 404


async def test_a_stranger_sees_nothing(api: Api, stranger: Api) -> None:
    """Instance reads 404 with the same body as for what does not exist; searches are filtered."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    hidden, unknown = await stranger.get(path), await stranger.get("Observation/unknown")
    assert (hidden.status_code, hidden.text) == (404, unknown.text)
    assert (await stranger.get(f"{path}/_history")).status_code == 404
    assert (await stranger.get(f"{path}/_history/1")).status_code == 404
    assert await stranger.found(f"Observation?_id={made['id']}") == []
    assert (await stranger.get(f"Patient/{api.patient}")).status_code == 404


async def test_patient_of_another_is_403_like_one_that_does_not_exist(api: Api, stranger: Api) -> None:
    """SMART Imaging Access: 403, not an empty Bundle; no telling whether the id exists."""
    for type in ("Observation", "ImagingStudy", "AuditEvent", "Consent"):
        known = await stranger.get(f"{type}?patient={api.patient}")
        unknown = await stranger.get(f"{type}?patient=nobody")
        assert (known.status_code, known.text) == (403, unknown.text), type
    assert (await stranger.get(f"Observation?subject=Patient/{api.patient}")).status_code == 403
    assert (await stranger.get(f"Observation?subject:Patient={api.patient}")).status_code == 403
    form = {"content_type": "application/x-www-form-urlencoded"}
    answer = await stranger.post("Observation/_search", f"patient={api.patient}", **form)
    assert answer.status_code == 403


async def test_a_stranger_changes_nothing(api: Api, stranger: Api) -> None:
    """PUT 405, PATCH 404, DELETE 204 and nothing happens; a create for another's patient 422."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    assert (await stranger.put(path, made)).status_code == 405
    assert (await stranger.patch(path, [])).status_code == 404
    assert (await stranger.delete(path)).status_code == 204
    for patient in (api.patient, "nobody"):
        body = api.observation(subject={"reference": f"Patient/{patient}"})
        assert (await stranger.post("Observation", body)).status_code == 422
    assert (await api.get(path)).json() == made


async def test_no_search_is_an_oracle(api: Api, stranger: Api) -> None:
    """Chains, _has, includes and counts tell a stranger nothing."""
    made = await api.made(api.observation(valueString="secret"))
    reference = [{"reference": f"Observation/{made['id']}"}]
    theirs = await stranger.made(
        stranger.observation(hasMember=reference, focus=[{"reference": f"Patient/{api.patient}"}])
    )
    assert await stranger.found("Observation?has-member:Observation.value-string=secret") == []
    assert await stranger.found("Observation?focus:Patient.name=ada") == []
    assert (
        await stranger.found(f"Patient?_id={api.patient}&_has:Observation:patient:value-string=secret") == []
    )
    for include in (
        "_include=Observation:has-member",
        "_include=Observation:focus",
        "_include=*",
        "_revinclude=Observation:has-member",
    ):
        bundle = (await stranger.get(f"Observation?_id={theirs['id']}&{include}")).json()
        assert {api.patient, made["id"]}.isdisjoint(each["resource"]["id"] for each in bundle["entry"])
    count = (await stranger.get("Observation?value-string=secret&_summary=count")).json()
    assert count["total"] == 0
    back = (await api.get(f"Patient?_id={api.patient}&_revinclude=Observation:focus")).json()
    assert [each["resource"]["id"] for each in back["entry"]] == [api.patient]


async def test_a_chain_needs_a_scope_for_what_it_passes(
    client: httpx.AsyncClient, people: People, ada: Person
) -> None:
    """smart.md: a chained or _has search on a type without a scope of its own is refused, or it is an oracle."""
    api = Api(client, await people.token(ada, "patient/Observation.crs"), ada.fhir_id)
    await api.made(api.observation())
    assert (await api.get("Observation?subject:Patient.name=ada")).status_code == 403
    included = (await api.get("Observation?_include=Observation:subject")).json()
    assert [each["search"]["mode"] for each in included["entry"]] == ["match"]


async def test_a_doctor_sees_what_was_shared(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    """A share opens the record for reading; when it ends, the very next request is refused."""
    doctor = await people.doctor()
    made = await api.made(api.observation())
    theirs = Api(client, await people.token(doctor, "user/*.rs"), ada.fhir_id)
    assert (await theirs.get(f"Observation/{made['id']}")).status_code == 404
    share = await people.share(ada, doctor)
    assert (await theirs.get(f"Observation/{made['id']}")).status_code == 200
    assert await theirs.found(f"Observation?patient={ada.fhir_id}") == [made["id"]]
    assert (await theirs.post("Observation", api.observation())).status_code == 403
    consent = (await api.get(f"Consent/{share}")).json()
    assert consent["status"] == "active"
    ended = await api.put(f"Consent/{share}", consent | {"status": "inactive"})
    assert ended.status_code == 200, ended.text
    assert (await theirs.get(f"Observation/{made['id']}")).status_code == 404
    assert (await theirs.get(f"Observation?patient={ada.fhir_id}")).status_code == 403


async def test_system_tokens_create_by_put_for_their_patients_only(
    client: httpx.AsyncClient, people: People, api: Api
) -> None:
    """Decision 1; an organization writes for the patients it brought, never for others."""
    system = await people.backend()
    token = await people.system_token(system)
    own = Api(client, token, "")
    patient = await own.post("Patient", {"resourceType": "Patient", "name": [{"family": "New"}]})
    assert patient.status_code == 201, patient.text
    own.patient = patient.json()["id"]
    id = f"chosen-{own.patient[:8]}"
    assert (await own.put(f"Observation/{id}", own.observation(id=id))).status_code == 201
    assert (await own.get(f"Observation/{id}")).status_code == 200
    assert (await own.get(f"Patient/{api.patient}")).status_code == 404
    for other in (api.patient, "nobody"):
        body = own.observation(subject={"reference": f"Patient/{other}"})
        assert (await own.post("Observation", body)).status_code == 422

    # An order made by PUT is one that the images of its study refer to, like an order made by POST.
    kept = await store(
        client,
        instance(PatientName="New", PatientBirthDate=""),
        root=f"/patients/{own.patient}/dicomweb",
        **bearer(token),
    )
    assert kept.status_code == 200, kept.text
    order = {
        "resourceType": "ServiceRequest", "id": f"order-{own.patient[:8]}", "status": "active", "intent": "order",
        "subject": {"reference": f"Patient/{own.patient}"}, "identifier": [{"value": "A1"}],
    }  # fmt: skip
    [study] = (await own.get(f"ImagingStudy?patient={own.patient}")).json()["entry"]
    assert "reference" not in study["resource"]["basedOn"][0]  # by its number only
    assert (await own.put(f"ServiceRequest/{order['id']}", order)).status_code == 201
    [study] = (await own.get(f"ImagingStudy?patient={own.patient}")).json()["entry"]
    assert study["resource"]["basedOn"][0]["reference"] == f"ServiceRequest/{order['id']}"


async def test_a_granular_scope_narrows_everything(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    """smart.md: the filter is ANDed onto search, read, vread, history, includes; for writes old and new match."""
    lab = [{"coding": [{"system": "urn:cat", "code": "laboratory"}]}]
    vital = [{"coding": [{"system": "urn:cat", "code": "vital-signs"}]}]
    first = await api.made(api.observation(category=lab))
    second = await api.made(
        api.observation(category=vital, hasMember=[{"reference": f"Observation/{first['id']}"}])
    )
    scope = "patient/Observation.cruds?category=urn:cat|laboratory patient/Patient.rs"
    narrow = Api(client, await people.token(ada, scope), ada.fhir_id)
    assert await narrow.found("Observation") == [first["id"]]
    assert await narrow.found(f"Observation?_id={second['id']}") == []
    for path in ("", "/_history", "/_history/1"):
        assert (await narrow.get(f"Observation/{first['id']}{path}")).status_code == 200
        assert (await narrow.get(f"Observation/{second['id']}{path}")).status_code == 404
    history = (await narrow.get("Observation/_history")).json()
    assert [each["resource"]["id"] for each in history["entry"]] == [first["id"]]
    back = (await narrow.get(f"Patient?_id={ada.fhir_id}&_revinclude=Observation:patient")).json()
    assert {each["resource"]["id"] for each in back["entry"]} == {ada.fhir_id, first["id"]}
    everything = (await narrow.get(f"Patient/{ada.fhir_id}/$everything")).json()
    assert second["id"] not in {each["resource"]["id"] for each in everything["entry"]}
    assert await narrow.found(f"Patient?_has:Observation:patient:_id={second['id']}") == []
    # writing
    assert (await narrow.post("Observation", api.observation(category=lab))).status_code == 201
    assert (await narrow.post("Observation", api.observation(category=vital))).status_code == 422
    assert (await narrow.put(f"Observation/{first['id']}", first | {"category": vital})).status_code == 422
    assert (await narrow.put(f"Observation/{second['id']}", second | {"category": lab})).status_code == 405
    assert (await narrow.delete(f"Observation/{second['id']}")).status_code == 204
    assert (await api.get(f"Observation/{second['id']}")).json() == second
    assert (await api.get(f"Observation/{first['id']}")).json() == first


async def test_a_search_names_a_bounded_number_of_patients(api: Api) -> None:
    """Each patient named is asked for: thousands in one search are refused, not worked through."""
    many = ",".join(f"Patient/p{number}" for number in range(51))
    answer = await api.get(f"Observation?patient={many}")
    assert answer.status_code == 400
    assert "at most 50 patients" in answer.json()["issue"][0]["diagnostics"]
