"""Which elements each FHIR type has: read once from the fields of the `fhir.resources` R4B models.

The models themselves are not run: they accept wrong required codes, `"true"` for true, null and empty arrays, and
take 200 ms for a large study. Their fields are the definition; `validate.py` walks by it. There is no R4 package;
R4B fits R4 for our types but for the differences listed here.
"""

from __future__ import annotations

import typing
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from typing import Any

from fhir.resources.R4B import get_fhir_model_class

from .fold import words

# Resource types that R4B has and R4 has not.
NOT_IN_R4 = words(
    "AdministrableProductDefinition Citation ClinicalUseDefinition EvidenceReport Ingredient"
    " ManufacturedItemDefinition MedicinalProductDefinition NutritionProduct PackagedProductDefinition"
    " RegulatedAuthorization SubscriptionStatus SubscriptionTopic SubstanceDefinition"
)
_R4_TARGETS = {
    ("DiagnosticReport", "subject"): ("Patient", "Group", "Device", "Location"),
    ("Observation", "subject"): ("Patient", "Group", "Device", "Location"),
    ("GroupMember", "entity"): (
        "Patient",
        "Practitioner",
        "PractitionerRole",
        "Device",
        "Medication",
        "Substance",
        "Group",
    ),
}
# Required bindings whose list the models cut short.
_CODES = {
    (
        "DiagnosticReport",
        "status",
    ): "registered partial preliminary final amended corrected appended cancelled entered-in-error unknown",
    (
        "Observation",
        "status",
    ): "registered preliminary final amended corrected cancelled entered-in-error unknown",
    (
        "Encounter",
        "status",
    ): "planned arrived triaged in-progress onleave finished cancelled entered-in-error unknown",
    ("EncounterStatusHistory", "status"): "planned arrived triaged in-progress onleave finished cancelled"
    " entered-in-error unknown",
    ("AuditEvent", "action"): "C R U D E",
    ("AuditEvent", "outcome"): "0 4 8 12",
    ("AuditEventAgentNetwork", "type"): "1 2 3 4 5",
    ("Quantity", "comparator"): "< <= >= >",
    ("DeviceUdiCarrier", "entryType"): "barcode rfid manual card self-reported unknown",
    ("Expression", "language"): "",  # extensible
    ("CapabilityStatement", "format"): "",  # media types
}
_NOT_R4_ELEMENTS = {("Extension", "valueCodeableReference"), ("Extension", "valueRatioRange")}
_PRIMITIVES = {
    "String": "string",
    "Code": "code",
    "Uri": "uri",
    "DateTime": "dateTime",
    "Id": "id",
    "Decimal": "decimal",
    "Instant": "instant",
    "UnsignedInt": "unsignedInt",
    "PositiveInt": "positiveInt",
    "Integer": "integer",
    "Base64Binary": "base64Binary",
    "Canonical": "canonical",
    "Url": "url",
    "Date": "date",
    "Markdown": "markdown",
    "Time": "time",
    "Oid": "oid",
    "UuidVersion": "uuid",
    "Xhtml": "xhtml",
}


@dataclass(frozen=True)
class Element:
    """One element of a type."""

    name: str
    type: str  # 'string', 'code' … for primitives; else the name of a complex type
    many: bool = False
    required: bool = False
    codes: frozenset[str] = frozenset()  # of a required binding
    targets: tuple[str, ...] = ()  # of a Reference
    choice: str = ""  # the stem, 'value' for valueString
    choice_required: bool = False
    in_summary: bool = False  # FHIR R4, 3.1.1.5.7 (Σ)

    @property
    def primitive(self) -> bool:
        return self.type[:1].islower()


@dataclass(frozen=True)
class Structure:
    """The elements of one type, by name."""

    name: str
    elements: Mapping[str, Element]
    resource: bool  # has a resourceType


def is_r4_resource(name: str) -> bool:
    """Whether R4 knows a resource of this name."""
    if name in NOT_IN_R4 or not (name.isascii() and name.isalpha() and name[0].isupper()):
        return False
    try:
        return structure(name).resource
    except KeyError:
        return False


@cache
def structure(name: str) -> Structure:
    """The definition of a type; raises KeyError for a name that is none."""
    try:
        model = get_fhir_model_class(name)
    except ValueError as error:
        raise KeyError(name) from error
    elements: dict[str, Element] = {}
    for field_name, field in model.model_fields.items():
        if field_name == "fhir_comments" or field_name.endswith("__ext"):
            continue
        alias = field.alias or field_name
        if (name, alias) in _NOT_R4_ELEMENTS:
            continue
        elements[alias] = _element(name, alias, field)
    if name == "Extension":
        elements["valueMeta"] = replace(elements["valueCoding"], name="valueMeta", type="Meta")
    return Structure(name, elements, "implicitRules" in elements)


def _element(owner: str, name: str, field: Any) -> Element:
    extra: dict[str, Any] = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    inner, many = _unwrapped(field.annotation)
    targets = _R4_TARGETS.get((owner, name), tuple(extra.get("enum_reference_types", ())))
    return Element(
        name=name,
        type=_type_name(inner),
        many=many,
        required=field.is_required() or bool(extra.get("element_required")),
        codes=_codes(
            _CODES[owner, name].split() if (owner, name) in _CODES else extra.get("enum_values", ())
        ),
        targets=() if "Resource" in targets else targets,
        choice=extra.get("one_of_many", ""),
        choice_required=bool(extra.get("one_of_many_required")),
        in_summary=bool(extra.get("summary_element_property")) or field.is_required(),
    )


def _codes(values: typing.Iterable[str]) -> frozenset[str]:
    """The codes of a required binding; none where the list was cut short (it then ends in a plus)."""
    codes = frozenset(values)
    return codes if "+" not in codes else frozenset()


def _unwrapped(annotation: Any) -> tuple[Any, bool]:
    """The annotation without Optional and List, and whether there was a List."""
    origin = typing.get_origin(annotation)
    if origin is list:
        return _unwrapped(typing.get_args(annotation)[0])[0], True
    if origin is typing.Union or str(origin) == "<class 'types.UnionType'>":
        inner = [arg for arg in typing.get_args(annotation) if arg is not type(None)]
        return _unwrapped(inner[0])
    return annotation, False


def _type_name(annotation: Any) -> str:
    if annotation is bool:
        return "boolean"
    for mark in getattr(annotation, "__metadata__", ()):
        found = _PRIMITIVES.get(type(mark).__name__)
        if found:
            return found
    name: str = annotation.__name__
    return name.removesuffix("Type")
