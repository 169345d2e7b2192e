"""What the property test of searches draws: resources, and the queries asked of them.

Small pools, so that what is asked for is often there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from .naive import BASE, PREFIXES, Json, Parameter, period, span, texts_of

STATUS = "http://hl7.org/fhir/observation-status"
CATEGORY = "http://terminology.hl7.org/CodeSystem/observation-category"
V2 = "http://terminology.hl7.org/CodeSystem/v2-0203"
UCUM = "http://unitsofmeasure.org"
SETS = "http://hl7.org/fhir/ValueSet"
TEXTS = ["Ångström", "angst", "ANG", "b ang", "100%", "a,b", "a\\b", "a$b|c"]
WORDS = ["bone", "Liver", "Röntgen", "metastasis"]
DATES = ["2020", "2020-06", "2020-06-15", "2020-06-15T12:00:00Z", "2020-06-15T12:00:00.5Z", "2021-01-01",
         "2019-12-31", "2020-06-15T23:30:00-02:00"]  # fmt: skip
NUMBERS = ["5", "5.4", "5.40", "-3", "100", "99.6", "0"]
CODES = ["x", "y", "Z"]
SYSTEMS = ["urn:a", "urn:b"]
URLS = [
    "http://x.org/a",
    "http://x.org/a/b",
    "http://x.org/a/b/c",
    "http://x.org/ab",
    "urn:uuid:1",
    "http://x.org",
]
MEDIA = ["text/plain", "text/plain;charset=utf-8", "image/png", "image/x", "imagery/x"]
ENCOUNTERS = {"e1": None, "e2": "e1", "e3": "e2", "e4": None}
PATIENTS = {"p1": "Moor", "p2": "Linden"}

any_of = st.sampled_from


def maybe(values: SearchStrategy[Any]) -> SearchStrategy[Any]:
    return st.none() | values


@st.composite
def element(draw: Callable[..., Any], **parts: SearchStrategy[Any]) -> Json:
    """An element of what is drawn; None is left out."""
    drawn = {name: draw(part) for name, part in parts.items()}
    return {name: value for name, value in drawn.items() if value is not None}


def reference(*targets: str) -> SearchStrategy[Json]:
    return element(reference=any_of(targets))


coding = element(system=maybe(any_of(SYSTEMS)), code=any_of(CODES), display=maybe(any_of(TEXTS[:4])))
concept = element(coding=st.lists(coding, min_size=1, max_size=2), text=maybe(any_of(TEXTS[:4])))
category = element(
    coding=st.lists(element(system=st.just(CATEGORY), code=any_of(["exam", "x"])), min_size=1, max_size=1)
)
periods = st.tuples(any_of(DATES), any_of(DATES)).map(lambda two: sorted(two, key=lambda text: span(text)[0]))
amount = element(value=any_of(NUMBERS).map(float), comparator=maybe(any_of(["<", ">"])),
                 unit=maybe(any_of(["mg", "kg"])),
                 system=maybe(st.just(UCUM)), code=maybe(any_of(["mg", "kg"])))  # fmt: skip
author = reference(
    "Practitioner/d1", "Organization/d1", f"{BASE}/Practitioner/d2", "http://else.org/Practitioner/d1"
)
identifier = element(
    system=maybe(any_of(SYSTEMS)), value=any_of(["1", "2", "x|y"]),
    type=maybe(element(coding=st.just([{"system": V2, "code": "MR"}]))),
)  # fmt: skip
OBSERVATION = element(
    resourceType=st.just("Observation"),
    status=any_of(["final", "amended", "corrected"]),
    code=concept,
    category=maybe(st.lists(category, min_size=1, max_size=2)),
    subject=reference("Patient/p1", "Patient/p1", "Patient/p2"),
    effectiveDateTime=maybe(any_of(DATES)),
    valueString=maybe(any_of(TEXTS)),
    valueQuantity=maybe(amount),
    encounter=maybe(reference(*(f"Encounter/{id}" for id in ENCOUNTERS))),
    performer=maybe(st.lists(author | element(identifier=identifier), min_size=1, max_size=2)),
    identifier=maybe(st.lists(identifier, min_size=1, max_size=2)),
    hasMember=maybe(st.lists(reference("Observation/o0", "Observation/o1", "Observation/o9"), min_size=1, max_size=1)),
    text=maybe(any_of(WORDS).map(lambda word: {"status": "generated", "div": f'<div xmlns="x">a <b>{word}</b></div>'})),
    meta=element(tag=maybe(st.lists(coding, min_size=1, max_size=1)), source=maybe(any_of(URLS)),
                 profile=maybe(st.lists(any_of(URLS), min_size=1, max_size=2))),
)  # fmt: skip
DOCUMENT = element(
    resourceType=st.just("DocumentReference"),
    status=st.just("current"),
    subject=reference("Patient/p1"),
    content=st.lists(
        element(attachment=element(url=maybe(any_of(URLS)), contentType=maybe(any_of(MEDIA)))), min_size=1, max_size=2
    ),
    context=maybe(element(period=periods.map(lambda two: {"start": two[0], "end": two[1]})
                          | any_of(DATES).map(lambda one: {"start": one})
                          | any_of(DATES).map(lambda one: {"end": one}))),
    relatesTo=maybe(st.lists(element(code=any_of(["replaces", "signs"]),
                                     target=reference("DocumentReference/o1", "DocumentReference/o2")), max_size=2)),
)  # fmt: skip


# What the naive reading looks at -----------------------------------------------------------------------------------


def coded(concepts: list[Json]) -> list[Json]:
    """Codings, and the words beside them."""
    return [
        found
        for each in concepts
        for found in (*({**one, "texts": [one.get("display", "")]} for one in each.get("coding", [])),
                      *([{"texts": [each["text"]]}] if "text" in each else []))
    ]  # fmt: skip


def plain_code(system: str, name: str) -> Parameter:
    return Parameter("token", lambda r: [{"system": system, "code": r[name]}] if name in r else [])


def in_list(kind: str, name: str) -> Parameter:
    return Parameter(kind, lambda r: r.get(name, []))


def only(kind: str, name: str) -> Parameter:
    return Parameter(kind, lambda r: [r[name]] if name in r else [])


def narrative(resource: Json) -> str:
    return (
        str(resource.get("text", {}).get("div", ""))
        .replace('<div xmlns="x">', " ")
        .replace("<b>", " ")
        .replace("</", " ")
    )


ANY = {
    "_id": Parameter("token", lambda r: [{"code": r["id"]}]),
    "_tag": Parameter("token", lambda r: r.get("meta", {}).get("tag", [])),
    "_source": Parameter("uri", lambda r: [r["meta"]["source"]] if "source" in r.get("meta", {}) else []),
    "_profile": Parameter("uri", lambda r: r.get("meta", {}).get("profile", [])),
    "_text": Parameter("words", lambda r: [narrative(r)] if "text" in r else []),
    "_content": Parameter("words", lambda r: [" ".join([narrative(r), *texts_of(r)])]),
}
PARAMETERS = {
    "Patient": {"family": Parameter("string", lambda r: [r["name"][0]["family"]])},
    "Encounter": {"part-of": only("reference", "partOf")},
    "Provenance": {
        "target": in_list("reference", "target"),
        "recorded": Parameter("date", lambda r: [span(r["recorded"])]),
    },
    "List": {},
    "Observation": ANY | {
        "status": plain_code(STATUS, "status"),
        "code": Parameter("token", lambda r: coded([r["code"]])),
        "category": Parameter("token", lambda r: coded(r.get("category", []))),
        "date": Parameter("date", lambda r: [span(r["effectiveDateTime"])] if "effectiveDateTime" in r else []),
        "value-string": only("string", "valueString"),
        "value-quantity": only("quantity", "valueQuantity"),
        "performer": in_list("reference", "performer"),
        "encounter": only("reference", "encounter"),
        "subject": only("reference", "subject"),
        "patient": only("reference", "subject"),
        "has-member": in_list("reference", "hasMember"),
        "identifier": in_list("token", "identifier"),
        "code-value-quantity": Parameter(
            "token$quantity", lambda r: [[r["code"]["coding"], [r["valueQuantity"]] if "valueQuantity" in r else []]]),
        "code-value-string": Parameter(
            "token$string", lambda r: [[r["code"]["coding"], [r["valueString"]] if "valueString" in r else []]]),
    },
    "DocumentReference": ANY | {
        "location": Parameter("uri", lambda r: [
            c["attachment"]["url"] for c in r["content"] if "url" in c["attachment"]]),
        "contenttype": Parameter("token", lambda r: [
            {"system": "urn:ietf:bcp:13", "code": c["attachment"]["contentType"]}
            for c in r["content"] if "contentType" in c["attachment"]]),
        "period": Parameter("date", lambda r: [period(r["context"]["period"])] if "context" in r else []),
        "relationship": Parameter("reference$token", lambda r: [
            [[one["target"]], [{"code": one["code"]}]] for one in r.get("relatesTo", [])]),
    },
}  # fmt: skip

# What is asked -----------------------------------------------------------------------------------------------------

prefix = any_of(["", *PREFIXES])


def escaped(text: str) -> str:
    for sign in ("\\", ",", "|", "$"):
        text = text.replace(sign, f"\\{sign}")
    return text


token = (
    any_of(CODES)
    | st.tuples(any_of(["", *SYSTEMS]), any_of(CODES)).map("|".join)
    | any_of(SYSTEMS).map(lambda system: f"{system}|")
)
text = any_of([*TEXTS, "ang", "ANGSTR", "%", "_"]).map(escaped)
when = st.tuples(prefix, any_of(DATES)).map("".join)
number = st.tuples(prefix, any_of([*NUMBERS, "1e2"]), any_of(["", f"|{UCUM}|mg", "||mg", f"|{UCUM}|"])).map(
    "".join
)
boolean = any_of(["true", "false"])
word = any_of(["bone", "LIVER", "rontgen", "ang", "a", "final", "bone a", "nothing"])
named = any_of(["1", "2", "x|y"]).map(escaped)
known = st.tuples(any_of(["", "|", *(f"{system}|" for system in SYSTEMS)]), named).map("".join)
somebody = any_of(["Practitioner/d1", "Organization/d1", "d1", "d2", f"{BASE}/Practitioner/d1",
                   "http://else.org/Practitioner/d1"])  # fmt: skip
encounter = any_of([*(f"Encounter/{id}" for id in ENCOUNTERS), "e1", f"{BASE}/Encounter/e2"])
url = any_of([*URLS, "http://x.org/", "http://x.org/a/b/c/d"]).map(escaped)
status = any_of(["final", "amended", "corrected", f"{STATUS}|amended", f"{STATUS}|final"])
ids = st.integers(0, 12).map("o{}".format)
coded_queries = {"": token, ":not": token, ":text": text, ":missing": boolean}
ANY_QUERIES: dict[str, SearchStrategy[str]] = {
    "_id": ids, "_id:not": ids, "_tag": token, "_tag:not": token, "_tag:missing": boolean,
    "_source": url, "_source:below": url, "_source:above": url, "_source:missing": boolean,
    "_profile": url, "_profile:below": url, "_profile:above": url,
    "_text": word, "_text:missing": boolean, "_content": word,
}  # fmt: skip
QUERIES: dict[str, dict[str, SearchStrategy[str]]] = {
    "Observation": ANY_QUERIES | {
        **{f"code{modifier}": value for modifier, value in coded_queries.items()},
        **{f"category{modifier}": value for modifier, value in coded_queries.items()},
        "category:in": st.just(f"{SETS}/observation-category"),
        "category:not-in": st.just(f"{SETS}/observation-category"),
        "status": status, "status:not": status, "status:below": status, "status:above": status,
        "status:in": st.just(f"{SETS}/observation-status"), "status:not-in": st.just(f"{SETS}/observation-status"),
        "date": when, "date:missing": boolean,
        "value-string": text, "value-string:exact": text, "value-string:contains": text,
        "value-string:missing": boolean,
        "value-quantity": number, "value-quantity:missing": boolean,
        "performer": somebody, "performer:Practitioner": any_of(["d1", "d2"]), "performer:identifier": known,
        "performer:missing": boolean,
        "encounter": encounter, "encounter:below": encounter, "encounter:above": encounter,
        "identifier": known, "identifier:of-type": named.map(lambda value: f"{V2}|MR|{value}"),
        "code-value-quantity": st.tuples(token, number).map("$".join),
        "code-value-string": st.tuples(token, text).map("$".join),
        "patient.family": any_of(["mo", "linden"]), "subject:Patient.family:exact": any_of(["Moor", "moor"]),
        "has-member:Observation.code": token, "has-member:Observation.has-member:Observation.status": status,
        "_has:Observation:has-member:code": token, "_has:Observation:has-member:date": when,
        "_has:Provenance:target:recorded": when, "_list": any_of(["l1", "l2", "l3"]),
    },
    "DocumentReference": ANY_QUERIES | {
        "location": url, "location:below": url, "location:above": url, "location:missing": boolean,
        "contenttype": any_of(MEDIA), "contenttype:below": any_of(["image", "text", "text/plain", "image/png"]),
        "contenttype:above": any_of(MEDIA), "contenttype:not": any_of(MEDIA),
        "period": when, "period:missing": boolean,
        "relationship": st.tuples(any_of(["DocumentReference/o1", "o2"]), any_of(["replaces", "signs"])).map("$".join),
        "relationship:missing": boolean,
    },
}  # fmt: skip
ONE_VALUE = (":missing", "_text", "_content", ":in", ":not-in", "_list")
