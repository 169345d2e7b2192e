"""References: what they lead to, whose a resource is, and which study it is about.

FHIR R4, 2.3.0 (Reference): relative `Type/id`, absolute `base/Type/id`, either with `/_history/v`. Decision 12: the
reference that says whose a resource is must be in reach; others may dangle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from server.core.errors import Unprocessable
from server.storage.db import Database
from server.storage.sql import load

from .document import Json
from .registry import ResourceType

QUERIES = load(__package__, "references.sql")

_TARGET = re.compile(
    r"(?:(?P<base>https?://[^\s?#|]+)/)?(?P<type>[A-Z][A-Za-z]{1,40})/(?P<id>[A-Za-z0-9.\-]{1,64})"
    r"(?:/_history/(?P<version>[A-Za-z0-9.\-]{1,64}))?",
    re.ASCII,
)


@dataclass(frozen=True)
class Target:
    """Where a reference leads; `base` is empty for a relative one."""

    type: str
    id: str
    base: str = ""


@dataclass(frozen=True)
class Belonging:
    """Whose a resource is, and the study it is about."""

    patient_id: str = ""
    study_uid: str | None = None


def target(text: str) -> Target | None:
    """Where a reference leads; None for what is no address of a resource (urn:, #contained, a canonical)."""
    found = _TARGET.fullmatch(text)
    return Target(found["type"], found["id"], found["base"] or "") if found else None


def here(text: str, base: str) -> Target | None:
    """As `target`, for references to this server only, whose address is `base`."""
    found = target(text)
    return Target(found.type, found.id) if found and found.base in ("", base) else None


async def belonging(
    db: Database, resource: Json, type: ResourceType, *, base: str, required: bool = True
) -> Belonging:
    """Whose a resource is, read from its compartment element, and the study it is about.

    Raises Unprocessable when the element is missing or leads nowhere near a patient, where one is required. Whether
    the caller may write there is the reach's business: a patient that does not exist and one that may not be seen
    are refused alike.
    """
    if type.name == "Patient":
        return Belonging(str(resource.get("id", "")))
    if type.patient is None:
        return Belonging()
    owner = await _owner(db, resource, type, base, required)
    study = await _study(db, resource, type, base, owner.patient_id)
    return Belonging(owner.patient_id, owner.study_uid or study)


async def _owner(db: Database, resource: Json, type: ResourceType, base: str, required: bool) -> Belonging:
    """A Patient named directly; else what the referenced resource belongs to (Provenance.target, a List of …)."""
    assert type.patient is not None
    targets = list(_targets(type.patient.find(resource), base))
    for one in targets:
        if one.type == "Patient":
            return Belonging(one.id)
    for one in targets:
        row = await db.fetch_one(QUERIES["belonging"], {"type": one.type, "id": one.id})
        if row is not None and row["patient_id"]:
            return Belonging(row["patient_id"], row["study_uid"])
    if type.name in OPTIONAL or not required:
        return Belonging()
    raise _no_patient(type)


# Types of which some belong to nobody in particular.
OPTIONAL = frozenset({"Device", "Group", "List", "Basic", "Binary", "AuditEvent", "Provenance"})


def _no_patient(type: ResourceType) -> Unprocessable:
    assert type.patient is not None
    element = sorted(type.patient.elements)[0]
    return Unprocessable(
        f"{type.name}.{element} must be a reference to a Patient on this server.",
        expression=f"{type.name}.{element}",
    )


async def _study(db: Database, resource: Json, type: ResourceType, base: str, patient_id: str) -> str | None:
    """The first ImagingStudy of the same patient that the resource is about."""
    if type.study is None:
        return None
    for one in _targets(type.study.find(resource), base):
        if one.type != "ImagingStudy":
            continue
        row = await db.fetch_one(QUERIES["belonging"], {"type": one.type, "id": one.id})
        if row is not None and row["patient_id"] == patient_id:
            uid: str | None = row["study_uid"]
            return uid
    return None


def _targets(elements: Iterator[Any], base: str) -> Iterator[Target]:
    for element in elements:
        text = element.get("reference") if isinstance(element, dict) else element
        found = here(text, base) if isinstance(text, str) else None
        if found is not None:
            yield found
