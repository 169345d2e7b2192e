"""Patient/$match: which patients in reach are probably this one.

FHIR R4, Patient-match (operation). For organizations and doctors; only among those the caller may search anyway, so
that a match tells nothing that a search would not. Demographics alone are never certain: an identifier and nothing
that speaks against it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import Verb
from server.access.actor import ActorKind
from server.access.reach import Reach
from server.core.errors import Forbidden, InvalidInput, Unprocessable
from server.records import search
from server.records.criteria import condition
from server.records.document import Json, dump, load_exact
from server.records.fold import fold
from server.records.registry import resource_type
from server.records.search import Found, Query
from server.records.search_references import Searching

from . import trail
from .bundle import bundle, entry
from .call import Call
from .format import Answer, resource_of, respond

GRADE = "http://hl7.org/fhir/StructureDefinition/match-grade"
MOST = 50
CANDIDATES = 100
MOST_WAYS = 20
_FOR = (ActorKind.CLIENT, ActorKind.PROVIDER, ActorKind.DOCTOR)
# What agreement says for it, and disagreement against it.
_WEIGHTS = {"identifier": 10, "birthDate": 6, "family": 5, "given": 3, "gender": 1, "telecom": 3}


@dataclass(frozen=True)
class Match:
    """A candidate and how well it fits."""

    found: Found
    score: float
    grade: str  # certain | probable | possible | certainly-not


async def match_patient(request: Request) -> Response:
    """POST [base]/Patient/$match"""
    call = await Call.of(request)
    reach = await call.reach("Patient", Verb.SEARCH)
    if call.actor.kind not in _FOR:
        raise Forbidden("Patients are matched by organizations and doctors.")
    body = await resource_of(request, limit=call.services.settings.max_resource_bytes)
    wanted, only_certain, count = _asked(body)
    matches = [_judged(wanted, found) for found in await _candidates(call, wanted, reach=reach)]
    shown = sorted((m for m in matches if m.grade != "certainly-not"), key=lambda m: -m.score)
    if only_certain:
        shown = [match for match in shown if match.grade == "certain"]
        shown = shown if len(shown) == 1 else []
    shown = shown[:count]
    people = [match.found.patient_id for match in shown]
    versions = ((match.found.key, match.found.version) for match in shown)
    await trail.searched(call, "Patient/$match", (), people, (dump(wanted), *versions))
    entries = [_entry(call, match) for match in shown]
    return await respond(request, Answer(200, bundle("searchset", entries, total=len(entries))))


def _asked(body: Json) -> tuple[Json, bool, int]:
    """The Patient looked for, onlyCertainMatches, count."""
    if body["resourceType"] == "Patient":
        return body, False, MOST
    parameters = body.get("parameter")
    if body["resourceType"] != "Parameters" or not isinstance(parameters, list):
        raise InvalidInput("A Parameters resource with a Patient is expected.")
    given = {each.get("name"): each for each in parameters if isinstance(each, dict)}
    wanted = given.get("resource", {}).get("resource")
    if not isinstance(wanted, dict) or wanted.get("resourceType") != "Patient":
        raise InvalidInput("The parameter resource must be a Patient.", expression="Parameters.parameter")
    count = next((v for k, v in given.get("count", {}).items() if k.startswith("value")), MOST)
    if isinstance(count, bool) or not isinstance(count, int) or count < 1:
        raise InvalidInput("count must be a positive number.", expression="Parameters.parameter")
    only = given.get("onlyCertainMatches", {}).get("valueBoolean") is True
    return wanted, only, min(count, MOST)


async def _candidates(call: Call, wanted: Json, *, reach: Reach) -> list[Found]:
    """Whoever shares something that few have: an identifier, a birth date and a name, a telephone."""
    type, found = resource_type("Patient"), dict[str, Found]()
    ways = list(_ways(wanted))[:MOST_WAYS]
    if not ways:
        raise Unprocessable("There is nothing to match by: an identifier, or a name with a birth date.")
    for way in ways:
        query = Query(type, tuple(condition(type, name, value) for name, value in way))
        page = await search.page(call.services.db, query, Searching(call.base), reach=reach, limit=CANDIDATES)
        found |= {one.id: one for one in page}
    return list(found.values())


def _ways(wanted: Json) -> Iterator[list[tuple[str, str]]]:
    for system, value in sorted(_identifiers(wanted)):
        yield [("identifier", f"{_escaped(system)}|{_escaped(value)}" if system else _escaped(value))]
    born = wanted.get("birthDate")
    families = sorted(_parts(wanted, "family"))
    if isinstance(born, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", born):
        yield from ([("family", _escaped(each)), ("birthdate", born)] for each in families)
        yield from ([("given", _escaped(each)), ("birthdate", born)] for each in sorted(_givens(wanted)))
    for family in families:
        yield from ([("family", _escaped(family)), ("given", _escaped(g))] for g in sorted(_givens(wanted)))
    yield from ([("telecom", _escaped(each))] for each in sorted(_telecoms(wanted)))


def _escaped(text: str) -> str:
    return re.sub(r"([\\,|$])", r"\\\1", text)


def _judged(wanted: Json, found: Found) -> Match:
    """Agreement of what both say; what one of them does not say counts for nothing."""
    there = load_exact(found.json)
    agreed = {name: same for name, same in _compared(wanted, there) if same is not None}
    weight = sum(_WEIGHTS[name] for name in agreed)
    reached = sum(_WEIGHTS[name] for name, same in agreed.items() if same)
    score = round(reached / weight, 2) if weight else 0.0
    against = [name for name in ("birthDate", "family") if agreed.get(name) is False]
    if agreed.get("identifier") and not against:
        return Match(found, max(score, 0.95), "certain")
    whole = all(agreed.get(name) for name in ("birthDate", "family", "given"))
    if agreed.get("identifier") or (whole and agreed.get("gender") is not False):
        return Match(found, min(score, 0.9), "probable")
    return Match(found, min(score, 0.7), "possible" if score >= 0.4 else "certainly-not")


def _compared(wanted: Json, there: Json) -> Iterator[tuple[str, bool | None]]:
    yield "identifier", _shared(_identifiers(wanted), _identifiers(there))
    yield "birthDate", _equal(wanted.get("birthDate"), there.get("birthDate"))
    yield "family", _shared(_parts(wanted, "family"), _parts(there, "family"))
    yield "given", _shared(_givens(wanted), _givens(there))
    yield "gender", _equal(wanted.get("gender"), there.get("gender"))
    yield "telecom", _shared(_telecoms(wanted), _telecoms(there)) or None


def _shared(one: set[Any], other: set[Any]) -> bool | None:
    return bool(one & other) if one and other else None


def _equal(one: Any, other: Any) -> bool | None:
    return one == other if one and other else None


def _identifiers(patient: Json) -> set[tuple[str, str]]:
    return {(each.get("system", ""), each["value"]) for each in _dicts(patient, "identifier") if _text(each)}


def _telecoms(patient: Json) -> set[str]:
    return {each["value"] for each in _dicts(patient, "telecom") if _text(each)}


def _text(element: Json) -> bool:
    return isinstance(element.get("value"), str) and isinstance(element.get("system", ""), str)


def _parts(patient: Json, part: str) -> set[str]:
    found = (each.get(part) for each in _dicts(patient, "name"))
    return {fold(text) for text in found if isinstance(text, str) and text.strip()}


def _givens(patient: Json) -> set[str]:
    """The first given name of each name."""
    found = (each.get("given") for each in _dicts(patient, "name"))
    return {
        fold(given[0]) for given in found if isinstance(given, list) and given and isinstance(given[0], str)
    }


def _dicts(patient: Json, name: str) -> list[Json]:
    found = patient.get(name, [])
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _entry(call: Call, match: Match) -> bytes:
    found = match.found
    extension = [{"url": GRADE, "valueCode": match.grade}]
    searched: Json = {"extension": extension, "mode": "match", "score": match.score}
    return entry(call.address("Patient", found.id), found.json, {"search": searched})
