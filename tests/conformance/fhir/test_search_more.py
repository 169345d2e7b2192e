"""FHIR R4, 3.1.1.4: words, `_filter`, value sets and hierarchies; 3.1.1.5: wildcards and links of pages.

What a search looks at is what its caller may see: the words and trees of others answer nothing.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from tests.factories import People, bearer

from .conftest import Api
from .test_search_parameters import named, names
from .test_search_results import below_base, link

SETS = "http://hl7.org/fhir/ValueSet"
DIV = '<div xmlns="http://www.w3.org/1999/xhtml">{}</div>'


def told(text: str) -> dict[str, Any]:
    return {"text": {"status": "generated", "div": DIV.format(text)}}


async def test_text_and_content(api: Api, stranger: Api) -> None:
    """3.1.1.4.15: `_text` is the narrative, `_content` everything; nothing of another's record is told."""
    made = await named(
        api,
        bone=told("Metastases in the <b>bone</b>"),
        liver={**told("A liver with metástases"), "note": [{"text": "zebra"}]},
        plain={"valueString": "Bone scan"},
    )
    await stranger.made(stranger.observation(**told("quagga bone"), valueString="quagga"))
    for query, expected in {
        "_text=bone": {"bone"},
        "_text=(bone OR liver) and metastases": {"bone", "liver"},
        "_content=bone": {"bone", "plain"},
        "_content=bone,zebra": {"bone", "plain", "liver"},
        '_content="bone scan"': {"plain"},
        "_content=zeb*": {"liver"},
        "_content=bone -scan": {"bone"},
        "_text:missing=true": {"plain"},
        "_content=quagga": set(),
    }.items():
        assert await names(api, made, quote(query, safe="=&:*,")) == expected, query
    for query in ("_content=quagga", "_text=quagga", "_filter=_content co quagga", "_content=NOT nothing"):
        bundle = (await api.get(f"Observation?{query}&_summary=count")).json()
        assert bundle["total"] == (3 if "NOT" in query else 0), query
    first = next(id for id, name in made.items() if name == "plain")
    await api.put(f"Observation/{first}", api.observation(id=first, valueString="gone"))
    assert await names(api, made, '_content="bone scan"') == set()
    await api.delete(f"Observation/{first}")
    assert await api.found("Observation?_content=gone") == []


async def test_filter(api: Api, stranger: Api) -> None:
    """3.1.3: operators, and before or, not, chains and filters in brackets."""
    part = await api.made(api.observation(valueString="part", effectiveDateTime="2020"))
    made = await named(
        api,
        whole={"hasMember": [{"reference": f"Observation/{part['id']}"}], "effectiveDateTime": "2020-05-01"},
        text={"valueString": "Ångström", "status": "corrected"},
        old={"effectivePeriod": {"start": "2019", "end": "2020-03"}},
    )
    for query, expected in {
        'value-string co "strom"': {"text"},
        'value-string eq "ANGSTROM"': {"text"},
        'value-string ew "öm" and status ss http://hl7.org/fhir/observation-status|amended': {"text"},
        "date po 2020": {"whole", "old"},
        "date ge 2020-04 or status eq corrected and date pr true": {"whole"},
        "(date ge 2020-04 or status eq corrected) and not (date pr true)": {"text"},
        'has-member[value-string eq "part"].date sa 2019': {"whole"},
        "has-member.id eq " + part["id"]: {"whole"},
        'has-member ne "123"': {"whole"},
        "has-member ne " + part["id"]: set(),
        f"subject ne {api.patient} or value-string eq angstrom": {"text"},
        'patient.name co "oor" and subject re Patient/' + api.patient: set(made.values()),
        f"status in {SETS}/observation-status": set(made.values()),
    }.items():
        assert await names(api, made, f"_filter={quote(query)}") == expected, query
    for wrong in ("nonsense eq 1", "patient.nonsense eq 1", "status co x", "status eq", "date gt x"):
        assert (
            await api.get(f"Observation?_filter={wrong}", prefer="handling=lenient")
        ).status_code == 400, wrong
    assert (await api.get("Observation?_content=" + ",".join("abcdefghijk"))).status_code == 400
    other = await api.get(f"Observation?_filter=status eq final or patient eq Patient/{stranger.patient}")
    assert other.status_code == 403  # decision 1: patient= outside of the caller's, wherever it stands


async def test_value_sets_and_hierarchies_of_codes(api: Api) -> None:
    """3.1.1.4.5: :in, :not-in, :above, :below; what is not known is an error that names the parameter."""
    vital = {
        "coding": [
            {"system": "http://terminology.hl7.org/CodeSystem/observation-category", "code": "vital-signs"}
        ]
    }
    made = await named(
        api,
        plain={},
        vital={"category": [vital]},
        corrected={"status": "corrected"},
        amended={"status": "amended"},
    )
    for query, expected in {
        f"category:in={SETS}/observation-category": {"vital"},
        f"category:not-in={SETS}/observation-category": {"plain", "corrected", "amended"},
        f"code:in={SETS}/observation-vitalsignresult": set(made.values()),
        "status:below=amended": {"corrected", "amended"},
        "status:above=http://hl7.org/fhir/observation-status|corrected": {"corrected", "amended"},
        "status:below=corrected,final": {"plain", "vital", "corrected"},
    }.items():
        assert await names(api, made, query) == expected, query
    for query in (
        "code:in=http://snomed.info/sct?fhir_vs",
        "code:below=http://snomed.info/sct|1",
        "code:below=1",
    ):
        answer = await api.get(f"Observation?{query}", prefer="handling=lenient")
        assert answer.status_code == 400
        assert answer.json()["issue"][0]["expression"] == ["http.code"]
    document = {
        "resourceType": "DocumentReference", "status": "current", "subject": {"reference": f"Patient/{api.patient}"},
        "content": [{"attachment": {"contentType": "image/png", "title": "x"}}],
    }  # fmt: skip
    kept = await api.made(document)
    for query, count in (("image", 1), ("image/png", 1), ("imag", 0), ("text", 0)):
        found = await api.found(f"DocumentReference?contenttype:below={query}&_id={kept['id']}")
        assert len(found) == count, query


async def test_trees_of_references(api: Api, stranger: Api) -> None:
    """3.1.1.4.12: :above and :below of what forms a tree, through what the caller may see and nothing else."""

    async def encounter(of: Api, above: str | None = None) -> str:
        part_of = {"partOf": {"reference": f"Encounter/{above}"}} if above else {}
        made = {"resourceType": "Encounter", "status": "finished", "class": {"code": "AMB"}, **part_of}
        return str((await of.made({**made, "subject": {"reference": f"Patient/{of.patient}"}}))["id"])

    top = await encounter(api)
    middle = await encounter(api, top)
    leaf = await encounter(api, middle)
    hidden = await encounter(stranger, top)
    places = {"top": top, "middle": middle, "leaf": leaf, "hidden": hidden}
    made = await named(
        api, **{name: {"encounter": {"reference": f"Encounter/{id}"}} for name, id in places.items()}
    )
    for query, expected in {
        f"encounter:below={top}": {"top", "middle", "leaf"},
        f"encounter:below=Encounter/{middle}": {"middle", "leaf"},
        f"encounter:above=Encounter/{leaf}": {"top", "middle", "leaf"},
        f"encounter:above=Encounter/{hidden}": {"hidden"},
    }.items():
        assert await names(api, made, query) == expected, query
    assert (await api.get(f"Observation?subject:below=Patient/{api.patient}")).status_code == 400


async def test_trees_need_a_scope(api: Api, people: People, ada: Any) -> None:
    """As a chain: what it goes through must be open to the token."""
    token = await people.token(ada, "patient/Observation.rs")
    answer = await api.client.get("/fhir/Observation?encounter:below=x", headers=bearer(token))
    assert answer.status_code == 403


async def test_a_canonical_without_its_version(api: Api) -> None:
    """3.1.1.4.12: a version in what is stored is found with it and without it; a profile too."""
    made = await named(api, one={"meta": {"profile": ["http://p.example/one|1.0"]}}, other={})
    assert await names(api, made, "_profile=http://p.example/one") == {"one"}
    assert await names(api, made, "_profile=http://p.example/one|1.0") == {"one"}
    assert await names(api, made, "_profile=http://p.example/one|2") == set()
    order = {
        "resourceType": "ServiceRequest", "status": "active", "intent": "order",
        "subject": {"reference": f"Patient/{api.patient}"}, "instantiatesCanonical": ["http://p.example/PlanDefinition/1|3"],
    }  # fmt: skip
    kept = (await api.made(order))["id"]
    for value, found in (
        ("PlanDefinition/1", [kept]),
        ("PlanDefinition/1|3", [kept]),
        ("PlanDefinition/1|4", []),
    ):
        assert await api.found(f"ServiceRequest?instantiates-canonical=http://p.example/{value}") == found


async def test_wildcards_of_includes(api: Api) -> None:
    """3.1.1.5.3: *, Type:*."""
    member = await api.made(api.observation())
    whole = await api.made(api.observation(hasMember=[{"reference": f"Observation/{member['id']}"}]))
    for query, expected in {
        f"Observation?_id={whole['id']}&_include=*": {whole["id"], member["id"], api.patient},
        f"Observation?_id={whole['id']}&_include=Observation:*": {whole["id"], member["id"], api.patient},
        f"Observation?_id={member['id']}&_revinclude=Observation:*": {whole["id"], member["id"]},
        f"Observation?_id={member['id']}&_revinclude=*": {whole["id"], member["id"]},
    }.items():
        answer = await api.get(query, prefer="handling=strict")
        assert {each["resource"]["id"] for each in answer.json()["entry"]} == expected, query
    for query in (
        "Observation?_revinclude=Nothing:*", "Patient?_revinclude=Nothing:patient",
        "AuditEvent?_include=AuditEvent:action", "Patient?_has:AuditEvent:patient:action=R",
    ):  # fmt: skip
        assert (await api.get(query, prefer="handling=strict")).status_code == 400, query
    lenient = (await api.get("Patient?_revinclude=Nothing:patient")).json()
    assert (link(lenient, "self") or "").endswith("/fhir/Patient")  # what was not done is not shown as done


async def test_the_whole_compartment(api: Api, stranger: Api) -> None:
    """3.1.0.9: [base]/Patient/[id]/* searches all types of the compartment, for its own people only."""
    made = [(await api.made(api.observation()))["id"] for _ in range(2)]
    bundle = (await api.get(f"Patient/{api.patient}/*?_count=2")).json()
    found = [each["resource"]["id"] for each in bundle["entry"]]
    while following := link(bundle, "next"):
        bundle = (await api.get(below_base(following))).json()
        found += [each["resource"]["id"] for each in bundle["entry"]]
    assert len(found) == len(set(found))
    assert set(found) >= {api.patient, *made}
    only = (await api.get(f"Patient/{api.patient}/*?_type=Observation&nonsense=1")).json()
    assert only["total"] == 2
    assert (link(only, "self") or "").endswith(f"/Patient/{api.patient}/*?_type=Observation")
    for query in ("*", "*?_summary=count", "*?_type=Observation"):
        assert (await stranger.get(f"Patient/{api.patient}/{query}")).status_code == 403


async def test_links_of_a_page_that_goes_on(api: Api) -> None:
    """3.1.1.5.4: self is the page itself, first the search."""
    for _ in range(3):
        await api.made(api.observation())
    first = (await api.get("Observation?status=final&_count=1")).json()
    second = (await api.get(below_base(link(first, "next") or ""))).json()
    assert link(second, "first") == link(first, "self")
    again = (await api.get(below_base(link(second, "self") or ""))).json()
    assert again["entry"] == second["entry"]
    assert (second["total"], again["total"]) == (3, 3)
