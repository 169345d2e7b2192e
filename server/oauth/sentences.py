"""Scopes as sentences that a patient understands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.access.scopes import Filter, Scope, Scopes

_THINGS = {
    "*": "everything in the record",
    "Patient": "name, birth date and contact details",
    "ImagingStudy": "imaging studies and their images",
    "Endpoint": "the address where images can be fetched",
    "DiagnosticReport": "reports",
    "DocumentReference": "documents",
    "Observation": "measurements and results",
    "Condition": "diagnoses and health problems",
    "AllergyIntolerance": "allergies",
    "MedicationRequest": "medicines",
    "Immunization": "vaccinations",
    "Procedure": "procedures and operations",
    "Encounter": "visits",
    "ServiceRequest": "orders from doctors",
    "Practitioner": "the doctors named in the record",
    "Organization": "the hospitals and practices named in the record",
    "Device": "the machines that made the images",
    "Provenance": "where each entry came from",
    "AuditEvent": "the list of who looked at the record",
    "Binary": "attached files",
}
_MODALITIES = {
    "CT": "CT",
    "MR": "MRI",
    "US": "ultrasound",
    "CR": "X-ray",
    "DX": "X-ray",
    "MG": "mammography",
    "XA": "angiography",
    "PT": "PET",
    "NM": "nuclear medicine",
}
_SPECIAL = {
    "openid": "Know that it is you, by a number that says nothing else about you",
    "fhirUser": "Know which entry in the record is yours",
    "profile": "Know which entry in the record is yours",
    "launch": "Know what you had open when you started it",
    "launch/patient": "Know whose record this is",
    "launch/encounter": "Know which visit this is about",
    "launch/imagingstudy": "Know which imaging study this is about",
    "online_access": "Stay connected until you sign out here",
    "offline_access": "Stay connected when you are not here",
}


@dataclass(frozen=True)
class Line:
    """One box on the consent page."""

    value: str  # the scope
    sentence: str
    more: str = ""
    grave: bool = False  # changes or deletes, or acts in the person's name


def lines(scopes: Scopes, *, whose: str) -> list[Line]:
    """A line for each scope, in the order asked."""
    return [
        Line(item, _SPECIAL[item] + ".") if isinstance(item, str) else _line(item, whose)
        for item in scopes.items
    ]


def _line(scope: Scope, whose: str) -> Line:
    if scope.type == "Consent" and scope.verbs & {"c", "u"}:
        return Line(
            scope.text,
            "Share your record with others, in your name.",
            "It can invite people to see your record and change what they may see.",
            grave=True,
        )
    what = _THINGS.get(scope.type) or _words(scope.type)
    narrowed = "".join(_narrowed(each) for each in scope.filters)
    of_whom = "of everyone whose record you may see" if scope.context == "user" else f"of {whose}"
    sentence = f"{_verbs(scope)} {what}{narrowed}, {of_whom}."
    return Line(scope.text, sentence, _more(scope), grave=bool(scope.verbs & {"u", "d"}))


def _verbs(scope: Scope) -> str:
    words = [
        word
        for word, letters in (("see", "rs"), ("add", "c"), ("change", "u"), ("delete", "d"))
        if scope.verbs & set(letters)
    ]
    text = " and ".join([", ".join(words[:-1]), words[-1]]) if len(words) > 1 else words[0]
    return text.capitalize()


def _narrowed(filter: Filter) -> str:
    names = dict.fromkeys(_MODALITIES.get(value.code, value.code) for value in filter.values)
    return f" ({' or '.join(names)} only)"


def _more(scope: Scope) -> str:
    if scope.type == "*" and scope.verbs & {"u", "d"}:
        return "This is the widest permission there is. Most apps do not need it."
    if scope.type in ("*", "ImagingStudy") and scope.verbs & {"r", "s"}:
        return "Who can see images can also keep copies of them."
    return ""


def _words(type: str) -> str:
    """`CarePlan` as `care plan`: a type without a sentence of its own."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type).lower()
