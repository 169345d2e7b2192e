"""FHIR R4, 2.6.1: resources as XML, in and out."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from server.core.errors import InvalidInput
from server.fhir import fhir_xml
from server.records import document
from tests.factories import bearer

NS = {"f": "http://hl7.org/fhir"}
XML = "application/fhir+xml"
WHOLE = b"""{"resourceType":"Observation","id":"o1","meta":{"profile":["http://example.org/p"]},
"text":{"status":"generated","div":"<div xmlns=\\"http://www.w3.org/1999/xhtml\\"><p>5 &lt; 6</p></div>"},
"contained":[{"resourceType":"Patient","id":"p","active":true}],
"extension":[{"url":"http://example.org/e","valueDecimal":1.10},{"url":"http://example.org/m","extension":[
{"url":"part","valueBoolean":false}]}],
"status":"final","_status":{"id":"s","extension":[{"url":"http://example.org/why","valueString":"\\"a\\"\\n&b"}]},
"category":[{"text":"x"}],"code":{"coding":[{"system":"http://loinc.org","code":"8867-4","userSelected":true}]},
"subject":{"reference":"#p"},"effectiveDateTime":"2020-01-31T10:00:00.717+00:00",
"valueQuantity":{"value":0.50,"comparator":"<","unit":"mg"},
"component":[{"id":"c","code":{"text":"one"},"valueInteger":7}]}"""
NAMES = b"""{"resourceType":"Patient","name":[{"given":["Ada",null,"B"],"_given":[null,
{"extension":[{"url":"http://example.org/g","valueCode":"x"}]},null]}],
"_birthDate":{"extension":[{"url":"http://example.org/t","valueTime":"10:00:00"}]}}"""


@pytest.mark.parametrize("json", [WHOLE, NAMES], ids=["every form of element", "extensions of primitives"])
def test_there_and_back(json):
    """Nothing is lost: decimals, dates, extensions of primitives, narrative, contained resources."""
    resource = document.parse(json)
    xml = fhir_xml.dump(resource)
    back = fhir_xml.parse(xml)
    assert document.parse(document.dump(back)) == resource
    assert b"1.10" in document.dump(back) or b"Patient" in json[:40]
    assert fhir_xml.dump(back) == xml


def test_elements_come_in_the_order_of_the_definition():
    root = ElementTree.fromstring(fhir_xml.dump(document.parse(WHOLE)))  # noqa: S314 - our own
    names = [child.tag.rpartition("}")[2] for child in root]
    assert names == [
        *("id", "meta", "text", "contained", "extension", "extension", "status", "category", "code"),
        *("subject", "effectiveDateTime", "valueQuantity", "component"),
    ]
    assert root.find("f:valueQuantity/f:value", NS).attrib == {"value": "0.50"}
    assert root.find("f:extension", NS).attrib == {"url": "http://example.org/e"}


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<Patient",
        b"<Patient/>",
        b'<Patient xmlns="http://example.org"/>',
        b'<Spoon xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir">text</Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><colour value="red"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><gender value="male"/><gender value="male"/></Patient>',
        b'<Patient xmlns="http://hl7.org/fhir"><gender color="male"/></Patient>',
        b'<!DOCTYPE Patient><Patient xmlns="http://hl7.org/fhir"/>',
        b'<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><Patient xmlns="http://hl7.org/fhir">'
        b'<language value="&a;"/></Patient>',
        b'<?evil?><Patient xmlns="http://hl7.org/fhir"/>',
        b'<Patient xmlns="http://hl7.org/fhir">'
        + b"<extension>" * 200
        + b"</extension>" * 200
        + b"</Patient>",
        b'<?xml version="1.0" encoding="utf-7"?><Patient xmlns="http://hl7.org/fhir"/>',
        b"\xff\xfe\x00",
    ],
)
def test_what_is_no_fhir_is_refused(body):
    with pytest.raises(InvalidInput):
        fhir_xml.parse(body)


async def test_over_http(client, api):
    """_format, Accept and Content-Type; create, read, search, errors, transaction, FHIRPath Patch."""
    xml = {"content_type": XML, "accept": XML}
    body = fhir_xml.dump(api.observation(valueQuantity={"value": document.Number("1.10"), "unit": "g"}))
    made = await api.post("Observation", body, **xml)
    assert made.status_code == 201, made.text
    assert made.headers["content-type"].startswith(XML)
    stored = fhir_xml.parse(made.content)
    assert (await api.get(f"Observation/{stored['id']}")).text.count("1.10") == 1
    for query in ("?_format=xml", "?_format=application/fhir%2Bxml", "?_format=text/xml"):
        read = await api.get(f"Observation/{stored['id']}{query}")
        assert read.status_code == 200
        assert fhir_xml.parse(read.content)["id"] == stored["id"]
    found = fhir_xml.parse((await api.get("Observation?_format=xml")).content)
    assert (found["resourceType"], found["total"]) == ("Bundle", 1)
    assert found["entry"][0]["resource"]["id"] == stored["id"]
    missing = await api.get("Observation/none", accept=XML)
    assert missing.status_code == 404
    assert fhir_xml.parse(missing.content)["resourceType"] == "OperationOutcome"
    broken = await api.post("Observation", b"<Observation", **xml)
    assert broken.status_code == 400
    bundle = {
        "resourceType": "Bundle",
        "type": "transaction",
        "entry": [{"resource": api.observation(), "request": {"method": "POST", "url": "Observation"}}],
    }
    done = await client.post(
        "/fhir", headers=bearer(api.token) | {"content-type": XML}, content=fhir_xml.dump(bundle)
    )
    assert done.status_code == 200, done.text
    assert done.json()["type"] == "transaction-response"
    patch = {
        "resourceType": "Parameters",
        "parameter": [
            {
                "name": "operation",
                "part": [
                    {"name": "type", "valueCode": "replace"},
                    {"name": "path", "valueString": "Observation.status"},
                    {"name": "value", "valueCode": "amended"},
                ],
            }
        ],
    }
    patched = await api.patch(f"Observation/{stored['id']}", fhir_xml.dump(patch), content_type=XML)
    assert patched.json()["status"] == "amended", patched.text
