"""Conditions asked in memory against the naive reading of the specification: the same draws as the searches have.

FHIR R4, 3.1.1.4.
"""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from server.core import clock
from server.records.conditions import Criterion
from server.records.criteria import condition
from server.records.in_memory import Seen, met
from server.records.registry import Kind, types

from .drawn import DOCUMENT, OBSERVATION, PARAMETERS, any_of
from .naive import BASE, Json, World
from .test_search_naive import query

KINDS = {Kind.TOKEN, Kind.STRING, Kind.DATE, Kind.REFERENCE, Kind.URI}


def asked_in_memory(found: Any) -> bool:
    """Trees need the resources between; words, quantities and composites are of no log."""
    if not isinstance(found, Criterion) or found.param.name in (
        "_text",
        "_content",
        "_lastUpdated",
        "phonetic",
    ):
        return False
    tree = found.param.kind is Kind.REFERENCE and found.modifier in ("above", "below")
    return found.param.kind in KINDS and not tree


@settings(max_examples=30, deadline=None)
@given(data=st.data(), type=any_of(["Observation", "DocumentReference"]))
def test_one_resource_is_judged_as_the_specification_reads(data: st.DataObject, type: str) -> None:
    drawn = data.draw({"Observation": OBSERVATION, "DocumentReference": DOCUMENT}[type])
    resource: Json = {**drawn, "id": "o1"}
    world = World({f"{type}/o1": resource}, PARAMETERS, clock.now())
    seen = Seen(resource, BASE)
    for _ in range(8):
        name, value = data.draw(query(type))
        found = condition(types()[type], name, value)
        if asked_in_memory(found):
            assert met(found, seen) == world.matches(resource, name, value), (name, value, resource)
