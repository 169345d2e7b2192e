# ruff: noqa: E501 - tables of hostile input read better in long lines
"""Hostile input to FHIR: 4xx with an OperationOutcome (interface.md), never a 500, nothing of the inside."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.core.errors import InvalidInput
from server.records.criteria import condition
from server.records.registry import resource_type
from tests.conftest import RunningServer
from tests.security.conftest import Ada, harmless, raw, refused

FHIR = "application/fhir+json"


def says_why(answer: httpx.Response, what: object = "") -> None:
    """FHIR R4, 3.1.0.1.5: an OperationOutcome with severity, code and diagnostics."""
    harmless(answer, what)
    if answer.status_code >= 400:
        body = answer.json()
        assert body["resourceType"] == "OperationOutcome", what
        assert all(issue["severity"] and issue["code"] and issue["diagnostics"] for issue in body["issue"])


@pytest.mark.parametrize(
    "id", ["%00", "a%00b", "%ff", "%2e%2e%2f", "a%20b", "'", "é", "x" * 65, "x" * 5000, "{id}", "$x", "_x"]
)
@pytest.mark.parametrize("type", ["Patient", "ImagingStudy", "AuditEvent", "%00"])
async def test_addresses_that_are_none(web: httpx.AsyncClient, type: str, id: str) -> None:
    """FHIR R4, 2.20 (id): letters, digits, minus and dot, 64 at most. What is none does not exist."""
    for below in ("", "/_history", "/_history/%00", "/_history/" + "9" * 400, "/$everything"):
        answer = await web.get(f"/fhir/{type}/{id}{below}")
        says_why(answer, (type, id[:20], below))
        assert answer.status_code in (400, 403, 404, 405, 414), (type, id[:20], below, answer.status_code)


BODIES: list[bytes] = [
    json.dumps(each).encode()
    for each in (
        {"meta": []}, {"meta": "x"}, {"meta": 5}, {"meta": None}, {"meta": {"tag": 5}}, {"meta": {"profile": [5]}}, {"id": []},
        {"id": {"a": 1}}, {"text": []}, {"text": {"div": 5}}, {"contained": {}}, {"contained": [5]}, {"extension": 5},
        {"code": "x"}, {"code": [[]]}, {"subject": []}, {"subject": {"reference": []}}, {"subject": {"reference": "Patient/" + "x" * 9000}},
        {"subject": {"reference": "Patient/a\u0000"}}, {"status": {"a": {}}}, {"valueQuantity": {"value": 10**400}},
        {"valueQuantity": {"value": [1]}}, {"_status": []}, {"_status": 5}, {"effectiveDateTime": "9999-99-99"}, {"": 1}, {"\u0000": 1},
        {"effectiveDateTime": "0000-00-00T00:00:00Z"}, {"valueString": "\u0000"}, {"resourceType": []}, {"resourceType": "Patient"},
        {"component": [{"code": {}}] * 3}, {"identifier": [{"value": "x" * 100_000}]}, {"valueInteger": -(2**70)},
    )
] + [
    b'{"resourceType":"Observation","id":"a","id":"b"}', b'{"resourceType":"Observation","valueDecimal":1e400}', b"\xef\xbb\xbf{}",
    b'{"resourceType":"Observation","code":' * 300, b"[" * 100_000, b'{"resourceType":"Observation","x":"\\ud800"}', b"\xff" * 50,
    b'{"resourceType":"Observation"}\0', b'{"resourceType":"Observation",}', b"\x1f\x8b\x08\x00", b'"Observation"', b"{}" * 100,
]  # fmt: skip


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
async def test_bodies_that_are_no_resource(web: httpx.AsyncClient, body: bytes) -> None:
    """Decision 16: 400 for what cannot be parsed, 422 for structure and rules; by every way that takes a body."""
    if body.startswith(b"{") and b'"resourceType"' not in body:
        body = b'{"resourceType":"Observation",' + body[1:]
    headers = {"Content-Type": FHIR}
    for method, path in (
        ("POST", "Observation"),
        ("PUT", "Observation/x"),
        ("PUT", "Observation?_id=x"),
        ("POST", "Observation/$validate"),
    ):
        answer = await web.request(method, f"/fhir/{path}", content=body, headers=headers)
        says_why(answer, (method, path, body[:80]))
        if "$validate" not in path:
            refused(answer, (method, path, body[:80]))
    for wrap in (
        b'{"resourceType":"Bundle","type":"%s","entry":[{"resource":%s,"request":{"method":"POST","url":"Observation"}}]}',
    ):
        for kind in (b"batch", b"transaction"):
            answer = await web.post("/fhir", content=wrap % (kind, body), headers=headers)
            says_why(answer, (kind, body[:80]))
            assert '"status":"5' not in answer.text


BUNDLES: list[Any] = [
    {}, {"entry": 5}, {"entry": {}}, {"entry": [5]}, {"entry": [{}]}, {"entry": [{"request": 5}]}, {"entry": [{"request": {"method": [], "url": {}}}]},
    {"entry": [{"request": {"method": "GET", "url": url}}]} if (url := "Patient/%00") else {},
    *(
        {"entry": [{"fullUrl": full, "request": {"method": method, "url": url, "ifMatch": match}, "resource": resource}]}
        for method, url, match, full, resource in (
            ("GET", "/", None, "x", None), ("GET", "?x", None, "x", None), ("GET", "http://evil.example/Patient/1", None, "x", None),
            ("GET", "Patient/../../x", None, "", None), ("GET", "Patient?name=%00", None, "", None), ("PUT", "Observation/\u0001", None, "", {}),
            ("DELETE", "Observation?", None, "", None), ("DELETE", "Observation/x", 'W/"9999999999999"', "", None), ("PATCH", "Patient/x", None, "", {"resourceType": "Binary", "data": "!"}),
            ("POST", "Observation", "x", "urn:uuid:" + "a" * 9000, {"resourceType": "Observation", "subject": {"reference": "Patient?name=%00"}}),
            ("POST", "Observation", None, "[", {"resourceType": "Observation", "text": {"div": "(((" * 3000}}), ("GET", "Patient/x/_history/x/y/z", None, "", None),
            ("POST", "Patient/_search?_has:x=y", None, "", None), ("PUT", "", None, "", {}), ("POST", "Bundle", None, "", {"resourceType": "Bundle"}),
        )
    ),
    {"entry": [{"request": {"method": "GET", "url": "metadata"}}] * 1001},
]  # fmt: skip


@pytest.mark.parametrize("bundle", BUNDLES, ids=range(len(BUNDLES)))
@pytest.mark.parametrize("kind", ["batch", "transaction"])
async def test_bundles_that_are_none(web: httpx.AsyncClient, bundle: dict[str, Any], kind: object) -> None:
    """FHIR R4, 3.1.0.11: each entry its own answer in a batch, one for all in a transaction."""
    answer = await web.post(
        "/fhir",
        content=json.dumps({"resourceType": "Bundle", "type": kind, **bundle}),
        headers={"Content-Type": FHIR},
    )
    says_why(answer, bundle)
    assert '"status":"5' not in answer.text, answer.text[:400]


@pytest.mark.parametrize(
    "parameters",
    [
        {}, {"parameter": 5}, {"parameter": {}}, {"parameter": [5]}, {"parameter": [{}]}, {"parameter": [None]}, {"parameter": "x"},
        {"parameter": [{"name": "resource"}]}, {"parameter": [{"name": "resource", "resource": []}]}, {"parameter": [{"name": "resource", "resource": {}}]},
    ],
)  # fmt: skip
async def test_validate_takes_no_nonsense(web: httpx.AsyncClient, parameters: dict[str, Any]) -> None:
    """FHIR R4, Resource-validate: Parameters without a resource are told so."""
    body = json.dumps({"resourceType": "Parameters", **parameters})
    says_why(
        await web.post("/fhir/Patient/$validate", content=body, headers={"Content-Type": FHIR}), parameters
    )


NAMES = [
    "_id", "_lastUpdated", "_count", "_sort", "_total", "_summary", "_elements", "_include", "_revinclude", "_page", "_format", "_pretty",
    "_has:Observation:patient:code", "_has", "_has:", "_has:x:y:z", "patient", "patient.name", "patient:Patient.name", "patient:missing",
    "identifier", "identifier:of-type", "started", "modality:not", "modality:text", "subject:identifier", "status:", ":", "", "name:exact:exact",
    "_type", "_since", "_at", "_query", "_filter", "_text", "_content", "_list", "%00", "'", "patient.subject.patient.subject.patient.subject",
]  # fmt: skip
VALUES = [
    "%00", "%ff%fe", "'%20OR%201=1--", "%5C", ",", "%7C", "%7C%7C%7C", "a%7Cb%7Cc%7Cd", "-1", "9" * 300, "1e999", "NaN", "ge", "gt0000", "ge9999-12-31",
    "lt2020-13-45", "ap", "ne-0001", "Patient/%00", "http://x/Patient/%00", "Patient/" + "x" * 3000, ",".join("x" * 101), "{reach}", ":now", "%F0%9F%92%80",
    "$%7Bx%7D", "*", "Observation:patient", "ImagingStudy:*", "-_lastUpdated,-_id,started,status,modality,patient,_id", "true", "",
]  # fmt: skip


@pytest.mark.parametrize("name", NAMES, ids=lambda name: name[:24] or "empty")
async def test_searches_that_are_odd(web: httpx.AsyncClient, name: str) -> None:
    """FHIR R4, 3.1.1: found, nothing found, or 400 in words; the statement is never what was typed."""
    for value in VALUES[NAMES.index(name) % 3 :: 3]:
        answer = await web.get(f"/fhir/ImagingStudy?{name}={value}")
        says_why(answer, (name, value[:40]))
        assert answer.status_code in (200, 400, 403, 406), (name, value[:40], answer.status_code)
    for path in ("AuditEvent", "Patient", "_history", "Observation/_history"):
        says_why(await web.get(f"/fhir/{path}?{name}=%00&{name}=x"), (path, name))


@given(st.sampled_from(NAMES) | st.text(max_size=40), st.text(max_size=80))
def test_parameters_are_read_or_refused(name: str, value: str) -> None:
    """Whatever is typed, parsing gives a condition or an error of ours."""
    for type in ("ImagingStudy", "Observation", "Patient"):
        try:
            condition(resource_type(type), name, value)
        except InvalidInput:
            continue  # told in words


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": ""}, {"Content-Type": "text/html"}, {"Content-Type": "application/fhir+json; charset=utf-16"}, {"Content-Type": "/"},
        {"Content-Type": FHIR, "If-Match": "x"}, {"Content-Type": FHIR, "If-Match": 'W/"' + "9" * 400 + '"'}, {"Content-Type": FHIR, "If-None-Exist": "%00=x"},
        {"Content-Type": FHIR, "If-None-Exist": "a" * 20_000}, {"Content-Type": FHIR, "Prefer": "=;=,return=" + "x" * 3000}, {"Content-Type": FHIR, "Content-Encoding": "gzip"},
        {"Content-Type": "text/plain", "X-Security-Context": "Patient/%00"}, {"Content-Type": "application/pdf\x7f"}, {"Content-Type": FHIR, "Accept": "application/xml"},
        {"Content-Type": FHIR, "If-Modified-Since": "Thu, 99 Foo 0000 99:99:99 GMT"}, {"Content-Type": FHIR, "If-None-Match": ',"'},
    ],
    ids=range(15),
)  # fmt: skip
async def test_headers_that_are_odd(web: httpx.AsyncClient, ada: Ada, headers: dict[str, str]) -> None:
    body = {
        "resourceType": "Observation",
        "status": "final",
        "code": {"text": "x"},
        "subject": {"reference": f"Patient/{ada.person.fhir_id}"},
    }
    for type in ("Observation", "Binary"):
        harmless(await web.post(f"/fhir/{type}", content=json.dumps(body), headers=headers), headers)
    harmless(await web.get(f"/fhir/Patient/{ada.person.fhir_id}", headers=headers), headers)


@pytest.mark.parametrize(
    "authorization",
    [
        "Bearer", "Bearer x", "Bearer a.b.c", "Bearer ..", "Bearer e30.e30.", "Bearer W10.e30.x", "Bearer " + "x" * 17_000, "Basic eDp5",
        "Bearer eyJhbGciOiJub25lIn0.e30.", "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6W119.e30.x", "Bearer eyJraWQiOiJcdTAwMDAifQ.e30.x", "bearer \xff", "Digest x", ",",
        "Bearer eyJhbGciOiJFUzI1NiIsImtpZCI6IlwiOyBEUk9QIFRBQkxFIn0.e30.AAAA", "Bearer x y z", "Bearer \tx", "Bearer bnVsbA.bnVsbA.bnVsbA", "Bearer IiI.IiI.IiI",
    ],
    ids=range(19),
)  # fmt: skip
async def test_tokens_that_are_none(server: RunningServer, authorization: str) -> None:
    """RFC 6750, 3.1: 401 on every surface, and what was sent does not come back."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        for path in ("/fhir/Patient", "/dicomweb/studies", "/fhir/_history"):
            answer = await client.get(path, headers={"Authorization": authorization.encode("latin-1")})
            harmless(answer, authorization)
            assert answer.status_code == 401, (authorization, answer.status_code)
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_requests_off_the_socket(server: RunningServer, ada: Ada) -> None:
    """What no client library would send (RFC 9112): bytes in paths, queries and headers."""
    rest = f"Host: x\r\nAuthorization: Bearer {ada.token}\r\nConnection: close\r\n".encode()
    for head in (
        b"GET /fhir/Patient?name=\xff\xfe HTTP/1.1\r\n", b"GET /fhir/Patient/\x80 HTTP/1.1\r\n", b"GET /fhir/Patient?_count=1#x HTTP/1.1\r\n",
        b"GET /fhir/Patient HTTP/1.1\r\nX-Forwarded-For: \0\r\n", b"GET /fhir/Patient HTTP/1.1\r\nAccept: \x01\x02\r\n", b"FOO /fhir/Patient HTTP/1.1\r\n",
        b"GET //evil.example/fhir/Patient HTTP/1.1\r\n", b"OPTIONS * HTTP/1.1\r\n", b"GET /fhir/" + b"%00" * 3000 + b" HTTP/1.1\r\n",
        b"POST /fhir/Observation HTTP/1.1\r\nContent-Type: application/fhir+json\r\nContent-Length: 0\r\n",
    ):  # fmt: skip
        harmless(await raw(server.url, head + rest + b"\r\n"), head)
