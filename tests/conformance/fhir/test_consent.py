"""A Consent through FHIR is a share (decision 5; IHE PCF). FHIR R4, Consent."""

from __future__ import annotations

import httpx

from tests.factories import People, Person

from .conftest import Api, Json

TREATMENT = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}


def consent(patient: str, recipient: str, status: str = "active", **more: object) -> Json:
    return {
        "resourceType": "Consent",
        "status": status,
        "scope": {
            "coding": [
                {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
            ]
        },
        "category": [{"coding": [{"system": "http://loinc.org", "code": "59284-0"}]}],
        "patient": {"reference": f"Patient/{patient}"},
        "dateTime": "2026-01-01T00:00:00Z",
        "policy": [{"uri": "http://example.org/policy"}],
        "provision": {
            "type": "permit",
            "purpose": [TREATMENT],
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
                    "reference": {"reference": recipient},
                }
            ],
        },
        **more,
    }


async def doctor_api(client: httpx.AsyncClient, people: People, ada: Person) -> tuple[str, Api]:
    doctor = await people.doctor()
    return doctor.fhir_id, Api(client, await people.token(doctor, "user/*.rs"), ada.fhir_id)


async def test_an_active_consent_opens_and_an_inactive_one_closes(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    """It takes effect at once, and ends at once, for tokens issued before too."""
    doctor, theirs = await doctor_api(client, people, ada)
    made = await api.made(api.observation())
    given = await api.made(consent(ada.fhir_id, f"Practitioner/{doctor}", language="en"))
    assert (given["status"], given["language"]) == ("active", "en")
    assert (await theirs.get(f"Observation/{made['id']}")).status_code == 200
    assert await theirs.found("Consent") == [given["id"]]
    ended = await api.put(f"Consent/{given['id']}", given | {"status": "inactive"})
    assert (ended.status_code, ended.json()["status"]) == (200, "inactive")
    assert (await theirs.get(f"Observation/{made['id']}")).status_code == 404
    assert (await theirs.get(f"Consent/{given['id']}")).status_code == 404


async def test_deleting_a_consent_ends_the_share(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    doctor, theirs = await doctor_api(client, people, ada)
    given = await api.made(consent(ada.fhir_id, f"Practitioner/{doctor}"))
    assert (await theirs.get(f"Patient/{ada.fhir_id}")).status_code == 200
    assert (await api.delete(f"Consent/{given['id']}")).status_code == 204
    assert (await theirs.get(f"Patient/{ada.fhir_id}")).status_code == 404


async def test_a_consent_that_cannot_be_enforced_is_422_while_active(api: Api, people: People) -> None:
    """Kept when it is not active; refused when it would say more than is done."""
    doctor = await people.doctor()
    body = consent(api.patient, f"Practitioner/{doctor.fhir_id}")
    body["provision"]["securityLabel"] = [{"code": "R"}]
    refused = await api.post("Consent", body)
    assert (refused.status_code, refused.json()["issue"][0]["expression"]) == (
        422,
        ["Consent.provision.securityLabel"],
    )
    assert (await api.post("Consent", body | {"status": "draft"})).status_code == 201
    unknown = await api.post("Consent", consent(api.patient, "Practitioner/nobody"))
    assert unknown.status_code == 422


async def test_nobody_consents_for_another(api: Api, stranger: Api, people: People) -> None:
    doctor = await people.doctor()
    body = consent(api.patient, f"Practitioner/{doctor.fhir_id}")
    assert (await stranger.post("Consent", body)).status_code in (404, 422)
    assert await api.found("Consent") == []


async def test_a_doctor_cannot_change_the_consent(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api
) -> None:
    doctor = await people.doctor()
    theirs = Api(client, await people.token(doctor, "user/*.cruds"), ada.fhir_id)
    given = await api.made(consent(ada.fhir_id, f"Practitioner/{doctor.fhir_id}"))
    assert (await theirs.get(f"Consent/{given['id']}")).status_code == 200
    changed = given | {"provision": given["provision"] | {"period": {"end": "2999-01-01"}}}
    assert (await theirs.put(f"Consent/{given['id']}", changed)).status_code == 405
    assert (await theirs.delete(f"Consent/{given['id']}")).status_code == 204
    assert (await api.get(f"Consent/{given['id']}")).json() == given


async def test_an_invitation_by_mail_waits(api: Api) -> None:
    """Posted as active or proposed, naming only an e-mail: it waits for the doctor."""
    contained = {
        "resourceType": "Practitioner",
        "id": "doc",
        "name": [{"text": "Dr New"}],
        "telecom": [{"system": "email", "value": f"new-{api.patient[:8]}@example.org"}],
    }
    given = await api.made(consent(api.patient, "#doc", contained=[contained]))
    assert given["status"] == "proposed"
    assert await api.found("Consent?status=proposed") == [given["id"]]
