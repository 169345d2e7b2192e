"""US Core 8 for a server that holds Patients, reports and documents: profiles, searches, $docref.

US Core Implementation Guide 8: the server's CapabilityStatement (us-core-server), and the pages of the profiles
us-core-patient, us-core-diagnosticreport-note, us-core-documentreference.
"""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import httpx

from server.records import us_core
from tests.conformance.dicomweb.samples import instance
from tests.factories import People
from tests.flows.portal_steps import submit

from .conftest import Api, Json
from .test_smart_imaging import keep

CORE = "http://hl7.org/fhir/us/core/StructureDefinition"
OMB = "urn:oid:2.16.840.1.113883.6.238"
LOINC = "http://loinc.org"
CATEGORY = {"system": LOINC, "code": "LP29684-5"}
NOTE = us_core.CLINICAL_NOTE


def omb(name: str, code: str, text: str) -> Json:
    coding = {"url": "ombCategory", "valueCoding": {"system": OMB, "code": code, "display": text}}
    return {"url": f"{CORE}/us-core-{name}", "extension": [coding, {"url": "text", "valueString": text}]}


def extensions() -> list[Json]:
    """Everything of a person that US Core has as an extension, birthsex of the versions before too."""
    tribe = {"system": "http://terminology.hl7.org/CodeSystem/v3-TribalEntityUS", "code": "187"}
    affiliation = {"url": "tribalAffiliation", "valueCodeableConcept": {"coding": [tribe]}}
    sex = {"system": "http://snomed.info/sct", "code": "248152002", "display": "Female (finding)"}
    return [
        omb("race", "2106-3", "White"),
        omb("ethnicity", "2186-5", "Not Hispanic or Latino"),
        {"url": f"{CORE}/us-core-tribal-affiliation", "extension": [affiliation]},
        {"url": f"{CORE}/us-core-sex", "valueCoding": sex},
        {"url": f"{CORE}/us-core-birthsex", "valueCode": "F"},
        {"url": f"{CORE}/us-core-interpreter-needed", "valueCoding": {**sex, "code": "373067005"}},
    ]  # fmt: skip


def whole_patient(kept: Json) -> Json:
    """Each must-support element of the profile on the caller's own Patient."""
    old = {"use": "old", "period": {"end": "2010-01-01"}}
    return {
        **kept,
        "meta": {"profile": [f"{CORE}/us-core-patient"]},
        "extension": extensions(),
        "identifier": [*kept["identifier"], {"system": "urn:mrn", "value": "M-1"}],
        "name": [
            {"family": "Shaw", "given": ["Amy", "V."], "suffix": ["PhD"]},
            {"family": "Baxter", "given": ["Amy"], **old},
        ],
        "telecom": [{"system": "phone", "value": "555-555-5555", "use": "home"}],
        "gender": "female",
        "birthDate": "1987-02-20",
        "deceasedDateTime": "2026-05-01",
        "address": [
            {"line": ["49 Meadow St"], "city": "Mounds", "state": "OK", "postalCode": "74047"},
            {"line": ["x"], **old},
        ],
        "communication": [{"language": {"coding": [{"system": "urn:ietf:bcp:47", "code": "en-US"}]}}],
    }  # fmt: skip


def report(api: Api, **more: Any) -> Json:
    return {
        "resourceType": "DiagnosticReport",
        "meta": {"profile": [f"{CORE}/us-core-diagnosticreport-note"]},
        "status": "final",
        "category": [{"coding": [CATEGORY]}],
        "code": {"coding": [{"system": LOINC, "code": "24627-2"}]},
        "subject": {"reference": f"Patient/{api.patient}"},
        "encounter": {"reference": "Encounter/e1"},
        "effectiveDateTime": "2026-03-04T05:06:07Z",
        "issued": "2026-03-04T06:00:00.000Z",
        "performer": [{"reference": "Practitioner/p1"}, {"reference": "Organization/o1"}],
        "resultsInterpreter": [{"reference": "Practitioner/p1"}],
        "result": [{"reference": "Observation/o1"}],
        "media": [{"link": {"reference": "Media/m1"}}],
        "presentedForm": [{"contentType": "text/plain", "data": b64encode(b"words").decode()}],
        **more,
    }


def document(api: Api, **more: Any) -> Json:
    period = {"start": "2026-03-04T00:00:00Z", "end": "2026-03-05T00:00:00Z"}
    system = "http://ihe.net/fhir/ihe.formatcode.fhir/CodeSystem/formatcode"
    form = {"system": system, "code": "urn:ihe:iti:xds:2017:mimeTypeSufficient"}
    return {
        "resourceType": "DocumentReference",
        "meta": {"profile": [f"{CORE}/us-core-documentreference"]},
        "identifier": [{"system": "urn:ietf:rfc:3986", "value": "urn:oid:2.16.840.1.113883.19.5.99999.1"}],
        "status": "current",
        "type": {"coding": [{"system": LOINC, "code": "34117-2"}]},
        "category": [{"coding": [NOTE]}],
        "subject": {"reference": f"Patient/{api.patient}"},
        "date": "2026-03-06T00:00:00.000Z",
        "author": [{"reference": "Practitioner/p1"}],
        "content": [{"attachment": {"contentType": "text/plain", "url": "Binary/b1"}, "format": form}],
        "context": {"encounter": [{"reference": "Encounter/e1"}], "period": period},
        **more,
    }


def less(resource: Json) -> Json:
    """Without what the server gives."""
    meta = {k: v for k, v in resource["meta"].items() if k not in ("versionId", "lastUpdated")}
    return {**{k: v for k, v in resource.items() if k not in ("id", "meta")}, "meta": meta}


async def test_the_patient(api: Api) -> None:
    """us-core-patient: every must-support element and extension goes round; each search that a server SHALL have,
    and those it SHOULD have."""
    made = (await api.get(f"Patient/{api.patient}")).json()
    [own] = made["identifier"]
    assert (own["system"], own["value"]) == (us_core.RECORD, api.patient)
    assert made["meta"]["profile"] == [
        f"{CORE}/us-core-patient"
    ]  # as it was made: it has all that is mandatory
    whole = whole_patient(made)
    stored = await api.put(f"Patient/{api.patient}", whole)
    assert stored.status_code == 200, stored.text
    assert less((await api.get(f"Patient/{api.patient}")).json()) == less(whole)
    for query in (
        f"_id={api.patient}",
        f"identifier={us_core.RECORD}|{api.patient}",
        "identifier=urn:mrn|M-1",
        "name=shaw",
        "name=amy&birthdate=1987-02-20",
        "family=Shaw&birthdate=1987-02-20",
        "family=shaw&death-date=2026-05-01",
        "family=shaw&gender=female",
        "name=shaw&gender=female",
        "birthdate=1987-02-20&name=Baxter",
    ):
        assert api.patient in await api.found(f"Patient?{query}"), query
    assert await api.found("Patient?name=amy&birthdate=1987-02-21") == []


async def test_reports_and_notes(api: Api) -> None:
    """us-core-diagnosticreport-note: read and create SHALL; searches by patient with category, code, date, status,
    _lastUpdated; Provenance by _revinclude."""
    made = await api.made(report(api))
    assert less(made) == report(api)
    await api.made(report(api, status="preliminary", effectiveDateTime="2025-01-01", code={"text": "other"}))
    who = f"patient={api.patient}"
    for query in (
        f"{who}&status=final",
        f"{who}&status=final,amended",
        f"{who}&code={LOINC}|24627-2",
        f"{who}&code={LOINC}|24627-2,{LOINC}|1-1&date=ge2026-03-01&date=le2026-03-31",
        f"{who}&category={LOINC}|LP29684-5&date=gt2026-03-04T05:00:00Z&date=lt2026-03-04T06:00:00Z",
        f"{who}&category=LP29684-5&date=2026-03-04",
    ):
        assert await api.found(f"DiagnosticReport?{query}") == [made["id"]], query
    for query in (who, f"{who}&category={LOINC}|LP29684-5", f"patient=Patient/{api.patient}&category=LP29684-5",
                  f"{who}&category=LP29684-5&_lastUpdated=gt2026-01-01"):  # fmt: skip
        assert len(await api.found(f"DiagnosticReport?{query}")) == 2, query
    along = (await api.get(f"DiagnosticReport?_id={made['id']}&_revinclude=Provenance:target")).json()[
        "entry"
    ]
    [origin] = [each["resource"] for each in along if each["search"]["mode"] == "include"]
    assert origin["target"] == [{"reference": f"DiagnosticReport/{made['id']}"}]


async def test_documents(api: Api) -> None:
    """us-core-documentreference: searches by patient with category, type, date, period, status; by _id."""
    made = await api.made(document(api))
    assert less(made) == document(api)
    await api.made(document(api, status="superseded", type={"coding": [{"system": LOINC, "code": "11506-3"}]},
                            date="2025-01-01T00:00:00Z", context={"period": {"start": "2025"}}))  # fmt: skip
    who, note = f"patient={api.patient}", f"category={NOTE['system']}|clinical-note"
    for query in (
        f"_id={made['id']}",
        f"{who}&{note}&date=ge2026-03-01T00:00:00Z&date=lt2026-04-01T00:00:00Z",
        f"{who}&type={LOINC}|34117-2",
        f"{who}&type={LOINC}|34117-2&period=ge2026-03-01&period=le2026-03-31",
        f"{who}&status=current",
    ):
        assert await api.found(f"DocumentReference?{query}") == [made["id"]], query
    for query in (who, f"{who}&{note}", f"{who}&status=current,superseded"):
        assert len(await api.found(f"DocumentReference?{query}")) == 2, query


async def test_docref(api: Api, stranger: Api) -> None:
    """Operation docref, by GET and POST: current documents of a patient, of a time of care, of a type."""
    old = {"period": {"start": "2020-01-01", "end": "2020-01-02"}}
    new, then = await api.made(document(api)), await api.made(document(api, context=old))
    bare = await api.made(
        {k: v for k, v in document(api, date="2020-01-01T12:00:00Z").items() if k != "context"}
    )
    await api.made(document(api, status="entered-in-error"))

    async def found(query: str) -> set[str]:
        answer = await api.get(f"DocumentReference/$docref?{query}")
        assert answer.status_code == 200, answer.text
        body = answer.json()
        assert (body["type"], body["total"]) == (
            "searchset",
            len([e for e in body.get("entry", []) if e["search"]["mode"] == "match"]),
        )
        return {each["resource"]["id"] for each in body.get("entry", []) if each["search"]["mode"] == "match"}

    who = f"patient={api.patient}"
    assert await found(who) == {new["id"], then["id"], bare["id"]}
    assert await found(f"{who}&start=2026-01-01") == {new["id"]}
    assert await found(f"{who}&start=2019-12-31&end=2020-12-31") == {then["id"], bare["id"]}
    assert await found(f"{who}&type={LOINC}|34117-2&end=2019-01-01") == set()
    assert await found(f"{who}&type={LOINC}|34133-9") == set()
    assert await found(f"{who}&profile={CORE}/us-core-documentreference&type=34117-2") == {
        new["id"],
        then["id"],
        bare["id"],
    }
    assert await found(f"{who}&on-demand=true") == set()
    coding = {"coding": [{"system": LOINC, "code": "34117-2"}]}
    body = {
        "resourceType": "Parameters",
        "parameter": [{"name": "patient", "valueId": api.patient}, {"name": "start", "valueDateTime": "2026-01-01"},
                      {"name": "type", "valueCodeableConcept": coding}, {"name": "on-demand", "valueBoolean": False}],
    }  # fmt: skip
    posted = await api.post("DocumentReference/$docref", body)
    assert [each["resource"]["id"] for each in posted.json()["entry"]] == [new["id"]]
    for query in ("", f"{who}&{who}", f"{who}&unknown=1", f"{who}&start=yesterday"):
        assert (await api.get(f"DocumentReference/$docref?{query}")).status_code == 400, query
    assert (
        await api.post(
            "DocumentReference/$docref", {"resourceType": "Parameters", "parameter": [{"name": 1}]}
        )
    ).status_code == 400
    for more in ("", "&on-demand=true"):
        assert (await stranger.get(f"DocumentReference/$docref?{who}{more}")).status_code == 403
    form = {"authorization": f"Bearer {api.token}", "content-type": "application/x-www-form-urlencoded"}
    long = await api.client.post("/fhir/DocumentReference/$docref", content=b"a" * 100_000, headers=form)
    assert long.status_code == 413


async def test_what_the_server_makes_claims_what_it_has(
    api: Api, client: httpx.AsyncClient, people: People, ada: Any
) -> None:
    """Reports of the portal, manifests of studies: mandatory and must-support elements, and the profile's name."""
    sample = instance()
    await keep(api, sample)
    [manifest] = [(await api.get(f"DocumentReference/{id}")).json()
                  for id in await api.found(f"DocumentReference?patient={api.patient}")]  # fmt: skip
    assert f"{CORE}/us-core-documentreference" in manifest["meta"]["profile"]
    assert {"identifier", "status", "type", "category", "subject", "date", "content", "context"} <= set(
        manifest
    )
    assert manifest["content"][0]["format"]
    assert manifest["content"][0]["attachment"]["url"]
    await people.session(client, ada)
    form = {"title": "CT", "date": "2026-02-03", "text": "Nothing found."}
    assert (await submit(client, f"/studies/{sample.study}/reports/add", **form)).status_code == 303
    [found] = (await api.get(f"DiagnosticReport?patient={api.patient}&category={LOINC}|LP29684-5")).json()[
        "entry"
    ]
    made = found["resource"]
    assert f"{CORE}/us-core-diagnosticreport-note" in made["meta"]["profile"]
    assert {"status", "category", "code", "subject", "effectiveDateTime", "issued", "presentedForm"} <= set(
        made
    )


def test_a_claim_is_made_only_with_everything_there() -> None:
    """Without one of the mandatory elements there is no claim, and one that was there is taken back."""
    patient = {
        "resourceType": "Patient",
        "identifier": [us_core.record_identifier("1")],
        "name": [{"family": "A"}],
    }
    assert us_core.claimed(patient)["meta"] == {"profile": [us_core.PATIENT]}
    other = {"meta": {"profile": ["urn:other", us_core.PATIENT], "tag": [{"code": "t"}]}}
    for broken in (
        {"name": [{"text": "A"}]},
        {"name": []},
        {"identifier": [{"value": "1"}]},
        {"telecom": [{}]},
    ):
        assert us_core.claimed({**patient, **other, **broken})["meta"] == {
            "tag": [{"code": "t"}],
            "profile": ["urn:other"],
        }
    api = Api(None, "", "1")  # type: ignore[arg-type]
    for whole, broken in (
        (report(api), {"effectiveDateTime": None}), (report(api), {"category": [{"coding": [{"code": "RAD"}]}]}),
        (document(api), {"content": [{"attachment": {"title": "no file"}}]}), (document(api), {"type": {"text": "x"}}),
    ):  # fmt: skip
        assert us_core.claimed(whole)["meta"]["profile"]
        left = {name: value for name, value in {**whole, **broken}.items() if value is not None}
        assert "meta" not in us_core.claimed(left)


async def test_it_says_so(client: httpx.AsyncClient) -> None:
    """us-core-server: supportedProfile, the interactions and the operation in the CapabilityStatement."""
    rest = (await client.get("/fhir/metadata")).json()["rest"][0]
    said = {each["type"]: each for each in rest["resource"]}
    for type, profiles in us_core.SUPPORTED.items():
        assert said[type]["supportedProfile"] == profiles
        offered = {each["code"] for each in said[type]["interaction"]}
        assert {"create", "read", "vread", "search-type", "history-instance"} <= offered
    docref = {"name": "docref", "definition": "http://hl7.org/fhir/us/core/OperationDefinition/docref"}
    assert docref in said["DocumentReference"]["operation"]
