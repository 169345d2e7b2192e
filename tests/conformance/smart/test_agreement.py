"""FHIR and DICOMweb agree on what a token sees, for generated scopes over one archive (decision 3).

SMART App Launch 2.2: scopes are a union, each keeping its own filter; a patient's context never widens.
"""

from __future__ import annotations

import itertools
import random
from dataclasses import dataclass

import httpx
import pytest

from server.access.scopes import Filter, Scopes
from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.waiting import tries

DCM = "http://dicom.nema.org/resources/ontology/DCM"
KINDS = ((("CT",), "20220301"), (("MR",), "20240131"), (("PT", "CT"), "20240630"), (("US",), ""))
CONTEXTS = ("patient", "user")
VERBS = ("r", "s", "rs", "cruds", "c", "read")
FILTERS = (
    "",
    "?modality=CT",
    f"?modality={DCM}|MR",
    "?modality=CT,US",
    "?modality=urn:x|CT",
    "?modality=XX",
    "?started=ge2024",
    "?started=lt2024-06-30&modality=CT,MR",
    "?started=2024-01-31,le2022",
    "?started=gt2024-01&started=lt2025",
)


@dataclass(frozen=True)
class Archive:
    """Two patients with a study of each kind, and a doctor to whom one shares all and the other two studies."""

    people: People
    patients: tuple[Person, Person]
    doctor: Person
    modalities: dict[str, frozenset[str]]  # by Study Instance UID
    days: dict[str, str]
    owner: dict[str, str]
    shared: frozenset[str]


@pytest.fixture(scope="module")
async def archive(server: RunningServer) -> Archive:
    people = People(server.services)
    one, two, doctor = (
        await people.patient("Ada Moor"),
        await people.patient("Karl Weiss"),
        await people.doctor(),
    )
    modalities: dict[str, frozenset[str]] = {}
    days: dict[str, str] = {}
    owner: dict[str, str] = {}
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for person, (kinds, day) in itertools.product((one, two), KINDS):
            name = "^".join(
                reversed(person.name.split())
            )  # what differs from the profile only its holder sees
            first = instance(Modality=kinds[0], PatientName=name, StudyDate=day)
            series = [
                first,
                *(
                    instance(first.study, Modality=kind, PatientName=name, StudyDate=day)
                    for kind in kinds[1:]
                ),
            ]
            answer = await store(client, *series, **bearer(await people.token(person)))
            assert answer.status_code == 200, answer.text
            modalities[first.study], owner[first.study] = frozenset(kinds), person.fhir_id
            days[first.study] = day
    of_two = [study for study in owner if owner[study] == two.fhir_id]
    await people.share(one, doctor)
    await people.share(two, doctor, studies=of_two[:2])
    shared = frozenset(study for study in owner if owner[study] == one.fhir_id) | frozenset(of_two[:2])
    return Archive(people, (one, two), doctor, modalities, days, owner, shared)


def generated(count: int) -> list[str]:
    """Scope texts, the same in every run."""
    chosen = random.Random(7)
    made = [
        f"{context}/ImagingStudy.{verbs}{'' if verbs == 'read' else filter}"
        for context, verbs, filter in itertools.product(CONTEXTS, VERBS, FILTERS)
    ]
    return [" ".join(chosen.sample(made, chosen.randint(1, 3))) for _ in range(count)]


def expected(archive: Archive, scope: str, verb: str, who: Person, patient: Person) -> set[str] | None:
    """The meaning: the user's own studies, narrowed by any of the scopes; None when none of them names the verb."""
    scopes = Scopes.parse(scope).granting("ImagingStudy", verb)
    if not scopes:
        return None
    own = (
        archive.shared
        if who is archive.doctor
        else {s for s in archive.owner if archive.owner[s] == who.fhir_id}
    )
    seen = set()
    for each, study in itertools.product(scopes, own):
        in_context = each.context == "user" or archive.owner[study] == patient.fhir_id
        if in_context and all(selects(filter, archive, study) for filter in each.filters):
            seen.add(study)
    return seen


def selects(filter: Filter, archive: Archive, study: str) -> bool:
    """By the meaning of the words, written apart from the code under test."""
    if filter.param == "modality":
        codes = {value.code for value in filter.values if value.system in (None, DCM)}
        return bool(codes & archive.modalities[study])
    day = archive.days[study]
    return bool(day) and any(is_in(day, value.code) for value in filter.values)


def is_in(day: str, value: str) -> bool:
    """`20240131` within `ge2024`: digits compared as far as the value says."""
    prefix = value[:2] if value[:2].isalpha() else "eq"
    digits = value.removeprefix(prefix).replace("-", "")
    own = day[: len(digits)]
    return {
        "eq": own == digits,
        "ge": own >= digits,
        "gt": own > digits,
        "le": own <= digits,
        "lt": own < digits,
    }[prefix]


@pytest.mark.parametrize("scope", generated(24))
async def test_both_see_the_same(server: RunningServer, archive: Archive, scope: str) -> None:
    one, two = archive.patients
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:
        for who, patient in ((one, one), (archive.doctor, one), (archive.doctor, two)):
            token = bearer(await archive.people.token(who, scope, patient=patient.fhir_id))
            wanted = expected(archive, scope, "s", who, patient)
            assert await in_dicomweb(client, token) == wanted
            assert await in_fhir(client, token, len(wanted or ())) == wanted
            readable = expected(archive, scope, "r", who, patient)
            for study in archive.owner:
                status = (await client.get(f"/dicomweb/studies/{study}/metadata", headers=token)).status_code
                assert status == (403 if readable is None else 200 if study in readable else 404)


async def in_dicomweb(client: httpx.AsyncClient, token: dict[str, str]) -> set[str] | None:
    answer = await client.get("/dicomweb/studies", headers=token)
    if answer.status_code == 403:
        return None
    found = answer.json() if answer.status_code == 200 else []
    return {study["0020000D"]["Value"][0] for study in found}


async def in_fhir(client: httpx.AsyncClient, token: dict[str, str], count: int) -> set[str] | None:
    async for _ in tries():  # resources are built soon after the store
        answer = await client.get("/fhir/ImagingStudy", params={"_count": 50}, headers=token)
        if answer.status_code == 403:
            return None
        entries = answer.json().get("entry", [])
        if len(entries) >= count:
            break
    return {entry["resource"]["identifier"][0]["value"].removeprefix("urn:oid:") for entry in entries}
