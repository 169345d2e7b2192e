"""Bad input: never a 500, nothing half stored, an OperationOutcome that says what is wrong (FHIR R4, 3.1.0.1.5)."""

from __future__ import annotations

import json

import pytest

from .conftest import Api, Json

DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


@pytest.mark.parametrize(
    "body",
    [
        b"", b"{", b"[]", b"null", b"5", b'"x"', b"{}", b"<Patient/>", b"\xff\xfe{}", b'{"resourceType":5}',
        b'{"resourceType":"Observation","status":"final","status":"final"}',
        b'{"resourceType":"Observation","status":NaN}',
        b'{"resourceType":"Observation","status":1e999}',
        b'{"resourceType":"Observation","status":"\\ud800"}',
        b'{"resourceType":"Observation","status":"a\\u0000b"}',
        b'{"resourceType":"Observation","a":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        b'{"resourceType":"Observation","a":' + b'{"a":' * 200 + b"1" + b"}" * 200 + b"}",
    ],
)  # fmt: skip
async def test_what_cannot_be_parsed_is_400(api: Api, body: bytes) -> None:
    """Decision 16: 400 for what cannot be parsed."""
    answer = await api.post("Observation", body)
    assert answer.status_code == 400, answer.text[:200]
    assert answer.json()["issue"][0]["code"] in ("invalid", "not-supported", "structure")


@pytest.mark.parametrize(
    ("elements", "expression"),
    [
        ({"status": None}, "Observation.status"),
        ({"status": "wrong"}, "Observation.status"),
        ({"status": ["final"]}, "Observation.status"),
        ({"status": ""}, "Observation.status"),
        ({"status": 5}, "Observation.status"),
        ({"category": {}}, "Observation.category"),
        ({"category": []}, "Observation.category"),
        ({"category": [{}]}, "Observation.category[0]"),
        ({"category": [None]}, "Observation.category[0]"),
        ({"nonsense": 1}, "Observation.nonsense"),
        ({"code": {"coding": [{"system": "a b"}]}}, "Observation.code.coding[0].system"),
        ({"valueBoolean": "true"}, "Observation.valueBoolean"),
        ({"valueInteger": 1.5}, "Observation.valueInteger"),
        ({"valueInteger": 2**40}, "Observation.valueInteger"),
        ({"valueQuantity": {"value": "5"}}, "Observation.valueQuantity.value"),
        ({"valueString": "a", "valueBoolean": True}, "Observation.valueBoolean"),
        ({"effectiveDateTime": "2020-02-30"}, "Observation.effectiveDateTime"),
        ({"effectiveDateTime": "2020-01-01T10:00"}, "Observation.effectiveDateTime"),
        ({"effectivePeriod": {"start": "2021", "end": "2020"}}, "Observation.effectivePeriod.start"),
        ({"issued": "2020-01-01"}, "Observation.issued"),
        ({"subject": {"reference": "Practitioner/1"}}, "Observation.subject"),
        ({"subject": "Patient/1"}, "Observation.subject"),
        ({"text": {"status": "generated", "div": DIV.format("<script>x</script>")}}, "Observation.text.div"),
        (
            {"text": {"status": "generated", "div": DIV.format('<b onclick="x">x</b>')}},
            "Observation.text.div",
        ),
        (
            {"text": {"status": "generated", "div": DIV.format('<a href="javascript:x">x</a>')}},
            "Observation.text.div",
        ),
        ({"text": {"status": "generated", "div": "<!DOCTYPE a>" + DIV.format("x")}}, "Observation.text.div"),
        ({"text": {"status": "generated", "div": "<p>x</p>"}}, "Observation.text.div"),
        ({"contained": [{"resourceType": "Patient", "id": "p"}]}, "Observation.contained[0]"),
        ({"extension": [{"url": "http://example.org/e"}]}, "Observation.extension[0]"),
        ({"dataAbsentReason": {"text": "x"}, "valueString": "y"}, "Observation.dataAbsentReason"),
        ({"_status": {"nonsense": 1}}, "Observation._status.nonsense"),
        ({"contained": [{"resourceType": "Nonsense"}]}, "Observation.contained[0].resourceType"),
    ],
)
async def test_what_breaks_a_rule_is_422_and_named(
    api: Api, elements: dict[str, object], expression: str
) -> None:
    """Decision 16: 422 for structure and rules; the expression names the element."""
    answer = await api.post("Observation", api.observation(**elements))
    assert answer.status_code == 422, answer.text
    named = [where for issue in answer.json()["issue"] for where in issue["expression"]]
    assert expression in named
    checked = await api.post("Observation/$validate", api.observation(**elements))
    assert (checked.status_code, checked.json()["issue"]) == (200, answer.json()["issue"])


async def test_a_resource_without_a_patient_is_422(api: Api) -> None:
    body = api.observation()
    del body["subject"]
    for subject in (
        None,
        {"display": "somebody"},
        {"reference": "urn:uuid:1"},
        {"reference": "https://else.example/Patient/1"},
    ):
        answer = await api.post("Observation", body | ({"subject": subject} if subject else {}))
        assert answer.status_code == 422


async def test_a_body_that_is_too_large_is_413(api: Api) -> None:
    """Told before the body is read where Content-Length says so, and else when the limit is passed."""
    large = json.dumps(api.observation(valueString="x" * (9 * 2**20)))
    assert (await api.post("Observation", large)).status_code == 413

    async def chunks():  # type: ignore[no-untyped-def]
        for _ in range(100):
            yield b" " * 100_000

    headers = {"authorization": f"Bearer {api.token}", "content-type": "application/fhir+json"}
    answer = await api.client.post("/fhir/Observation", content=chunks(), headers=headers)
    assert answer.status_code == 413


async def test_long_values_are_kept_and_found(api: Api) -> None:
    """An index row holds 2,700 bytes; what is longer is still stored, and found by its beginning."""
    text = "ж" * 5000
    made = await api.made(
        api.observation(
            valueString=text, code={"coding": [{"system": f"urn:{text}", "code": text}], "text": text}
        )
    )
    assert made["valueString"] == text
    assert await api.found(f"Observation?value-string={text[:200]}") == [made["id"]]
    form = {"content_type": "application/x-www-form-urlencoded"}
    answer = await api.post("Observation/_search", f"code={text[:2000]}", **form)
    assert answer.status_code == 200


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "POST"])
async def test_methods_that_are_not_there(api: Api, method: str) -> None:
    for path in ("metadata", "Observation/1/_history", "_history"):
        answer = await api.client.request(
            method, f"/fhir/{path}", headers={"authorization": f"Bearer {api.token}"}
        )
        assert answer.status_code in (403, 404, 405)
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_validation_for_a_purpose(api: Api, stranger: Api) -> None:
    """R4, Resource-validate: `mode` update and delete at a resource; a profile that is not known is an error."""
    made = await api.made(api.observation())

    def asked(resource: Json | None = None, **texts: str) -> Json:
        named = [{"name": name, "valueCode": value} for name, value in texts.items()]
        whole = [{"name": "resource", "resource": resource}] if resource is not None else []
        return {"resourceType": "Parameters", "parameter": [*named, *whole]}

    here, core = f"Observation/{made['id']}", "http://hl7.org/fhir/StructureDefinition/Observation"
    for path, body, status, severity in (
        (here, asked(mode="delete"), 200, "information"),
        (here, asked(made, mode="update", profile=f"{core}|4.0.1"), 200, "information"),
        (here, asked(api.observation(), mode="update"), 200, "error"),
        ("Observation", asked(api.observation(), mode="create"), 200, "information"),
        (f"Patient/{api.patient}", asked(mode="delete"), 200, "error"),
        ("Observation", asked(made, mode="update"), 400, "error"),
        ("Observation", asked(made, mode="fly"), 400, "error"),
        ("Observation", asked(mode="create"), 400, "error"),
        ("Observation", asked(made, profile="http://example.org/profile"), 422, "error"),
        ("Observation/none", asked(mode="delete"), 404, "error"),
    ):
        answer = await api.post(f"{path}/$validate", body)
        assert (answer.status_code, answer.json()["issue"][0]["severity"]) == (status, severity), body
    assert (await stranger.post(f"{here}/$validate", asked(mode="delete"))).status_code == 404
