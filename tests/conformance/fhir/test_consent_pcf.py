"""IHE Privacy Consent on FHIR (PCF) 1.1: the basic and the intermediate profile, element by element, and their effect.

ITI PCF, Volume 3, profiles consentFoundation, consentBasic, consentIntermediate; transaction ITI-108 (Access Consent).
"""

from __future__ import annotations

from typing import Any

import httpx

from server.sharing import pcf
from tests.conformance.dicomweb.samples import instance
from tests.factories import People, Person

from .conftest import Api, Json
from .test_consent import consent
from .test_smart_imaging import keep

SCOPE = {"system": "http://terminology.hl7.org/CodeSystem/consentscope", "code": "patient-privacy"}
IRCP = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
REASON = "http://terminology.hl7.org/CodeSystem/v3-ActReason"


def require_foundation(found: Json) -> None:
    """consentFoundation: 1..1 and 1.. elements, patterns, and what is not used."""
    assert {"status", "scope", "category", "patient", "dateTime", "performer", "organization"} <= set(found)
    assert SCOPE in found["scope"]["coding"]
    assert {"sourceAttachment", "sourceReference"} & set(found)
    assert all(each["uri"] and "authority" not in each for each in found["policy"])
    assert not {"policyRule", "verification"} & set(found)
    provision = found["provision"]
    assert provision["type"] == "permit"
    assert not {"action", "class", "code", "securityLabel"} & set(provision)
    assert all(IRCP in actor["role"]["coding"] for actor in provision["actor"])
    assert {each["code"] for each in provision["purpose"]} == {"TREAT"}
    assert {each["system"] for each in provision["purpose"]} == {REASON}
    assert "start" in provision["period"]
    assert "provision" not in provision


async def test_basic(client: httpx.AsyncClient, people: People, ada: Person, api: Api) -> None:
    """A share of everything is a basic Consent: it opens all to its recipient, for treatment, until it is inactive."""
    doctor = await people.doctor()
    await people.share(ada, doctor)
    theirs = Api(client, await people.token(doctor, "user/*.rs"), ada.fhir_id)
    [found] = (await api.get(f"Consent?patient={api.patient}&status=active")).json()["entry"]
    made = found["resource"]
    require_foundation(made)
    assert not {"data", "dataPeriod"} & set(made["provision"])
    assert made["meta"]["profile"] == [pcf.BASIC]
    assert made["performer"] == [{"reference": f"Patient/{api.patient}"}] == [made["patient"]]
    assert made["provision"]["actor"][0]["reference"]["reference"] == f"Practitioner/{doctor.fhir_id}"
    observation = await api.made(api.observation())
    assert (await theirs.get(f"Observation/{observation['id']}")).status_code == 200
    for query in (f"_id={made['id']}", "category=http://loinc.org|59284-0", f"actor=Practitioner/{doctor.fhir_id}",
                  "purpose=TREAT", "scope=patient-privacy", "period=ge2020-01-01", "date=ge2020-01-01"):  # fmt: skip
        assert await api.found(f"Consent?patient={api.patient}&status=active&{query}") == [made["id"]], query
    ended = (await api.put(f"Consent/{made['id']}", made | {"status": "inactive"})).json()
    assert (ended["status"], ended["meta"]["profile"]) == ("inactive", [pcf.BASIC])
    assert (await theirs.get(f"Observation/{observation['id']}")).status_code == 404


async def test_intermediate(client: httpx.AsyncClient, people: People, ada: Person, api: Api) -> None:
    """A share of chosen studies is an intermediate Consent: data meant as instances, and nothing else is opened."""
    chosen, other, doctor = instance(), instance(), await people.doctor()
    for each in (chosen, other):
        await keep(api, each)
    await people.share(ada, doctor, studies=[chosen.study])
    theirs = Api(client, await people.token(doctor, "user/*.rs"), ada.fhir_id)
    [study] = await theirs.found(f"ImagingStudy?patient={api.patient}")
    [found] = (await api.get(f"Consent?patient={api.patient}&status=active")).json()["entry"]
    made = found["resource"]
    require_foundation(made)
    assert made["provision"]["data"] == [
        {"meaning": "instance", "reference": {"reference": f"ImagingStudy/{study}"}}
    ]
    assert made["meta"]["profile"] == [pcf.INTERMEDIATE]
    assert await api.found(f"Consent?data=ImagingStudy/{study}") == [made["id"]]
    seen = (await client.get("/dicomweb/studies", headers={"authorization": f"Bearer {theirs.token}"})).json()
    assert [each["0020000D"]["Value"] for each in seen] == [[chosen.study]]
    hidden = await client.get(f"/dicomweb{other.path}", headers={"authorization": f"Bearer {theirs.token}"})
    assert hidden.status_code == 404
    # The patient adds the other one: the same Consent says so, and it is open at once.
    [more] = set(await api.found("ImagingStudy")) - {study}
    both = [
        *made["provision"]["data"],
        {"meaning": "instance", "reference": {"reference": f"ImagingStudy/{more}"}},
    ]
    changed = await api.put(f"Consent/{made['id']}", made | {"provision": made["provision"] | {"data": both}})
    assert changed.status_code == 200, changed.text
    assert set(await theirs.found(f"ImagingStudy?patient={api.patient}")) == {study, more}


NOT_ENFORCED: list[tuple[str, Any]] = [
    ("type", "deny"),
    ("dataPeriod", {"start": "2020-01-01"}),
    ("data", [{"meaning": "related", "reference": {"reference": "Encounter/1"}}]),
    ("data", [{"meaning": "authoredby", "reference": {"reference": "Practitioner/1"}}]),
    ("provision", [{"type": "deny", "purpose": [{"system": REASON, "code": "TREAT"}]}]),
    ("purpose", [{"system": REASON, "code": "HRESCH"}]),
    ("class", [{"code": "ImagingStudy"}]),
    ("code", [{"text": "x"}]),
]


async def test_what_is_not_enforced_does_not_hold(api: Api, people: People) -> None:
    """Decision 5: what of the intermediate profile cannot be enforced is refused while active, and kept when not."""
    doctor = await people.doctor()
    for element, value in NOT_ENFORCED:
        body = consent(api.patient, f"Practitioner/{doctor.fhir_id}")
        body["provision"] |= {element: value}
        refused = await api.post("Consent", body)
        assert refused.status_code == 422, element
        assert refused.json()["issue"][0]["expression"][0].startswith(f"Consent.provision.{element}")
        assert (await api.post("Consent", body | {"status": "draft"})).status_code == 201, element


def test_the_claim_follows_the_content() -> None:
    """Basic, intermediate, or none: a Consent that lacks something claims nothing."""
    api = consent("1", "Practitioner/1", performer=[{"reference": "Patient/1"}], organization=[{"display": "x"}],
                  sourceAttachment={"title": "x"})  # fmt: skip
    assert pcf.claimed(api)["meta"] == {"profile": [pcf.BASIC]}
    data = {"data": [{"meaning": "instance", "reference": {"reference": "ImagingStudy/1"}}]}
    narrow = pcf.claimed({**pcf.claimed(api), "provision": api["provision"] | data})
    assert narrow["meta"] == {"profile": [pcf.INTERMEDIATE]}
    for name in ("dateTime", "performer", "organization", "policy", "sourceAttachment"):
        assert "meta" not in pcf.claimed({key: value for key, value in narrow.items() if key != name})
    assert "meta" not in pcf.claimed({**narrow, "policyRule": {"text": "x"}})
