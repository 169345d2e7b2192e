"""The invariants of FHIR R4 that are checked, each with its name on the page of its type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from .document import Json
from .moments import span

Finding = tuple[str, str]  # a sentence, the element


def of_element(value: Json, type: str) -> Iterator[Finding]:
    """What an object of this type breaks."""
    rule = _ELEMENTS.get(type)
    if rule is not None:
        yield from rule(value)


def of_resource(value: Json, type: str, *, contained: bool) -> Iterator[Finding]:
    """What a resource of this type breaks."""
    yield from _dom(value, contained=contained)
    rule = _RESOURCES.get(type)
    if rule is not None:
        yield from rule(value)


def _dom(value: Json, *, contained: bool) -> Iterator[Finding]:
    """dom-2 to dom-5, on the resource that is contained or contains."""
    if contained:
        if "contained" in value:
            yield "dom-2: a contained resource contains no others.", "contained"
        meta = value.get("meta")
        for name in ("versionId", "lastUpdated", "security"):
            if isinstance(meta, dict) and name in meta:
                yield f"dom-4, dom-5: a contained resource has no meta.{name}.", f"meta.{name}"
    inner = value.get("contained")
    if isinstance(inner, list) and inner:
        yield from _referred_to(value, inner)


def _referred_to(value: Json, inner: list[Any]) -> Iterator[Finding]:
    """dom-3: a contained resource is referred to, or refers to its container."""
    local = set(_local_references(value))
    for place, one in enumerate(inner):
        id = one.get("id") if isinstance(one, dict) else None
        if f"#{id}" not in local and "#" not in set(_local_references(one)):
            yield "dom-3: a contained resource must be referred to.", f"contained[{place}]"


def _local_references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for key, member in value.items():
            if isinstance(member, str):
                if member.startswith("#") and (
                    key == "reference" or key.startswith("value") or key.endswith("Canonical")
                ):
                    yield member
            else:
                yield from _local_references(member)
    elif isinstance(value, list):
        for member in value:
            yield from _local_references(member)


def _extension(value: Json) -> Iterator[Finding]:
    has_value = any(key.lstrip("_").startswith("value") for key in value)
    if has_value == ("extension" in value):
        yield "ext-1: an extension has either extensions or a value.", ""


def _period(value: Json) -> Iterator[Finding]:
    start, end = value.get("start"), value.get("end")
    try:
        reversed_ = isinstance(start, str) and isinstance(end, str) and span(start).low >= span(end).high
    except ValueError:
        return  # reported as a wrong date
    if reversed_:
        yield "per-1: the start must not be after the end.", "start"


def _contact_point(value: Json) -> Iterator[Finding]:
    if "value" in value and "system" not in value:
        yield "cpt-2: a system is needed where a value is given.", "system"


def _quantity(value: Json) -> Iterator[Finding]:
    if "code" in value and "system" not in value:
        yield "qty-3: a system is needed where a code for the unit is given.", "system"


def _attachment(value: Json) -> Iterator[Finding]:
    if "data" in value and "contentType" not in value:
        yield "att-1: a contentType is needed where data is given.", "contentType"


def _patient_contact(value: Json) -> Iterator[Finding]:
    if not any(name in value for name in ("name", "telecom", "address", "organization")):
        yield "pat-1: a contact needs details or a reference to an organization.", ""


def _consent(value: Json) -> Iterator[Finding]:
    if "policy" not in value and "policyRule" not in value:
        yield "ppc-1: a policy or a policyRule is needed.", "policy"


def _organization(value: Json) -> Iterator[Finding]:
    if "identifier" not in value and "name" not in value:
        yield "org-1: an identifier or a name is needed.", ""


def _observation(value: Json) -> Iterator[Finding]:
    has_value = any(key.startswith("value") for key in value)
    if "dataAbsentReason" in value and has_value:
        yield "obs-6: dataAbsentReason is for an observation without a value.", "dataAbsentReason"


def _list(value: Json) -> Iterator[Finding]:
    if "emptyReason" in value and "entry" in value:
        yield "lst-1: emptyReason is for a list without entries.", "emptyReason"


def _bundle(value: Json) -> Iterator[Finding]:
    if "total" in value and value.get("type") not in ("searchset", "history"):
        yield "bdl-1: only a search or a history has a total.", "total"


_ELEMENTS: dict[str, Callable[[Json], Iterator[Finding]]] = {
    "Extension": _extension,
    "Period": _period,
    "ContactPoint": _contact_point,
    "Quantity": _quantity,
    "Attachment": _attachment,
    "PatientContact": _patient_contact,
}
_RESOURCES: dict[str, Callable[[Json], Iterator[Finding]]] = {
    "Consent": _consent,
    "Organization": _organization,
    "Observation": _observation,
    "List": _list,
    "Bundle": _bundle,
}
