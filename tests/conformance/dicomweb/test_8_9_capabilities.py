"""DICOM PS3.18, 8.9: Retrieve Capabilities; and what is not in the table of routes."""

from __future__ import annotations

from xml.etree import ElementTree

import httpx

from server.dicomweb import wado_rendered
from server.imaging import drawing, summary
from server.imaging.report import FailureReason, WarningReason
from server.imaging.transcode import COMPRESSED
from tests.conformance.dicomweb.resources import PAGE, with_table
from tests.conformance.dicomweb.samples import multiframe, store


async def test_wadl(web: httpx.AsyncClient):
    answer = await web.options("/dicomweb/", headers={"Accept": "application/vnd.sun.wadl+xml"})
    assert answer.status_code == 200
    root = ElementTree.fromstring(answer.content)  # noqa: S314 - our own
    resources = {each.get("path") for each in root.iter("{http://wadl.dev.java.net/2009/02}resource")}
    assert {"studies", "studies/{study}/metadata"} <= resources


async def test_json(web: httpx.AsyncClient):
    answer = await web.options("/dicomweb/studies", headers={"Accept": "application/json"})
    assert answer.json()["base"].endswith("/dicomweb")
    assert {each["path"] for each in answer.json()["resources"]} == {"/studies"}
    assert answer.headers["allow"] == "GET, HEAD, POST, OPTIONS"


async def test_what_is_named_can_be_had(web: httpx.AsyncClient):
    """H: every media type that a resource says it gives is an answer, not a 406."""
    sample = multiframe(2)
    assert (await store(web, sample)).status_code == 200
    places = {"study": sample.study, "series": sample.series, "instance": sample.sop, "frames": "1"}
    described = (await web.options("/dicomweb/", headers={"Accept": "application/json"})).json()["resources"]
    wrong = []
    for each in described:
        path = each["path"].replace("{path:path}", "7FE00010").format(**places)
        query = f"?requestType=WADO&studyUID={sample.study}&seriesUID={sample.series}&objectUID={sample.sop}"
        for kind in each["gives"] if each["methods"] == ["GET"] else ():
            one_only = kind == "application/dicom" and "{instance}" not in each["path"] and path != "/wado"
            needs_others = "/frames/{frames}" in each["path"] and "image/jphc" in kind
            if one_only or needs_others:
                continue
            answer = await web.get(
                f"/dicomweb{path}{query if path == '/wado' else ''}", headers={"Accept": kind}
            )
            if answer.status_code != 200:
                wrong.append((path, kind, answer.status_code, answer.text[:100]))
    assert wrong == []
    assert {"limit", "includefield"} <= set(described[2]["query"])


async def test_needs_no_token(client: httpx.AsyncClient):
    assert (await client.options("/dicomweb/")).status_code == 200


async def test_unknown_resources(web: httpx.AsyncClient):
    for path in ("/dicomweb/nothing", "/dicomweb/studies/1.2/nothing", "/dicomweb/"):
        answer = await web.get(path)
        assert answer.status_code == 404
        assert answer.json()["error"]
    assert (await web.options("/dicomweb/nothing")).status_code == 404


async def test_methods_that_are_not_possible(web: httpx.AsyncClient):
    answer = await web.put("/dicomweb/studies/1.2")
    assert answer.status_code == 405
    assert answer.headers["allow"] == "DELETE, GET, HEAD, POST, OPTIONS"


async def test_preflight_needs_no_token(client: httpx.AsyncClient):
    headers = {"Origin": "https://viewer.example", "Access-Control-Request-Method": "GET"}
    assert (await client.options("/dicomweb/studies", headers=headers)).status_code == 204


def test_the_statement_names_every_resource():
    """docs/dicomweb.md: its table of resources is the table of routes."""
    page = PAGE.read_text()
    assert with_table(page) == page, "run python -m tests.conformance.dicomweb.resources"


def test_the_page_names_every_code_and_encoding():
    """docs/dicomweb.md: each Failure and Warning Reason, each transfer syntax that is written, each rendered type."""
    page = PAGE.read_text()
    codes = [f"{reason:04X}" for kind in (FailureReason, WarningReason) for reason in kind]
    syntaxes = [each.removeprefix("1.2.840.10008.1.2.4") for each in COMPRESSED]
    types = [*drawing.TYPES, *summary.TYPES, *wado_rendered.FORMATS]
    assert [each for each in (*codes, *syntaxes, *types) if each not in page] == []
