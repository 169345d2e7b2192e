"""DocumentReference/$docref: the documents of a patient.

US Core 8, operation docref (SHALL of its DocumentReference). start and end are about care, not about the record: the
period of the documents' context, or their date where they say no period. Documents are stored, none is made on demand.
"""

from __future__ import annotations

from collections.abc import Iterator

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.reach import Reach
from server.core.errors import InvalidInput
from server.records import search as records
from server.records.document import Json, dump
from server.records.search import Found

from . import studies, trail
from .bundle import bundle, entry
from .call import Call
from .format import Answer, body_of, resource_of, respond
from .problem import information
from .search import MOST_FORM, searching_for
from .search_params import Pairs, pairs_of, parse

MOST = 1000  # documents in one answer
_KNOWN = ("patient", "start", "end", "type", "on-demand", "profile")
_OURS = ("_format", "_pretty")
DEFINITION = "http://hl7.org/fhir/us/core/OperationDefinition/docref"


async def docref(request: Request) -> Response:
    """GET and POST [base]/DocumentReference/$docref"""
    call = await Call.of(request)
    return await respond(request, await _answer(call, await _asked(call)))


async def _asked(call: Call) -> Pairs:
    request, pairs = call.request, pairs_of(call.request.url.query)
    if request.method == "POST":
        kind = request.headers.get("content-type", "").partition(";")[0]
        if kind == "application/x-www-form-urlencoded":
            body = await body_of(request, limit=MOST_FORM)
            return [*pairs, *pairs_of(body.decode("utf-8", "replace"))]
        body_resource = await resource_of(request, limit=call.services.settings.max_resource_bytes)
        return [*pairs, *_of_parameters(body_resource)]
    return pairs


def _of_parameters(resource: Json) -> Iterator[tuple[str, str]]:
    parameters = resource.get("parameter")
    if resource["resourceType"] != "Parameters" or not isinstance(parameters, list):
        raise InvalidInput("A Parameters resource is expected.")
    for each in parameters:
        values = [key for key in each if key.startswith("value")] if isinstance(each, dict) else []
        if len(values) != 1 or not isinstance(each.get("name"), str):
            raise InvalidInput("Each parameter has a name and one value.", expression="Parameters.parameter")
        yield from ((each["name"], text) for text in _texts(each[values[0]]))


def _texts(value: object) -> Iterator[str]:
    """A value of a Parameters as a search parameter spells it."""
    if isinstance(value, bool):
        yield str(value).lower()
    elif isinstance(value, str):
        yield value
    elif isinstance(value, dict):  # a Coding, or a CodeableConcept
        codings = value.get("coding", [value])
        for coding in codings if isinstance(codings, list) else []:
            if isinstance(coding, dict) and isinstance(coding.get("code"), str):
                yield (
                    f"{coding.get('system', '')}|{coding['code']}" if coding.get("system") else coding["code"]
                )


async def _answer(call: Call, pairs: Pairs) -> Answer:
    asked: dict[str, list[str]] = {}
    for name, value in pairs:
        if name not in (*_KNOWN, *_OURS):
            raise InvalidInput(f"$docref has no parameter {name[:50]}.", expression=name[:50])
        asked.setdefault(name, []).append(value)
    if len(asked.get("patient", [])) != 1:
        raise InvalidInput("$docref needs one patient.", expression="patient")
    patient = asked["patient"][0].removeprefix("Patient/")
    reach = await call.reach("DocumentReference", Verb.SEARCH)
    await call.require_patients(reach, [patient])
    found = [] if "true" in asked.get("on-demand", []) else await _found(call, patient, asked, reach=reach)
    shown = [(one.key, one.version) for one in found]
    await trail.searched(call, "DocumentReference/$docref", pairs, [patient], shown)
    entries = [
        entry(call.address(one.type, one.id), one.json, {"search": {"mode": "match"}}) for one in found[:MOST]
    ]
    total = len(entries)
    if said := _said(asked, len(found) > MOST):
        entries.append(entry("", dump(information(said)), {"search": {"mode": "outcome"}}))
    links = [("self", f"{call.base}/DocumentReference/$docref")]
    return Answer(200, bundle("searchset", entries, total=total, links=links))


def _said(asked: dict[str, list[str]], more: bool) -> str:
    if "true" in asked.get("on-demand", []):
        return "No document is made on demand here; without on-demand, those that are stored are found."
    return f"There are more than {MOST} documents: narrow them by start, end or type." if more else ""


async def _found(call: Call, patient: str, asked: dict[str, list[str]], *, reach: Reach) -> list[Found]:
    """Current documents, the newest first; those without a period go by their date."""
    common = [("patient", patient), ("status", "current")]
    if types := asked.get("type"):
        common.append(("type", ",".join(types)))
    if profiles := asked.get("profile"):
        common.append(("_profile", ",".join(profiles)))
    span = [(f"ge{each}") for each in asked.get("start", [])] + [f"le{each}" for each in asked.get("end", [])]
    if not span:
        return await _page(call, patient, common, reach=reach)
    by_period = await _page(call, patient, [*common, *(("period", each) for each in span)], reach=reach)
    undated = [*common, ("period:missing", "true"), *(("date", each) for each in span)]
    found = [*by_period, *await _page(call, patient, undated, reach=reach)]
    return sorted(found, key=lambda one: one.key, reverse=True)


async def _page(call: Call, patient: str, pairs: Pairs, *, reach: Reach) -> list[Found]:
    asked = parse("DocumentReference", pairs, strict=True)
    await studies.fresh(call, reach, [patient])
    searching = await searching_for(call, asked.query)
    return await records.page(call.services.db, asked.query, searching, reach=reach, limit=MOST + 1)
