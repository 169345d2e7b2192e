"""Scopes as sentences that a patient understands."""

from __future__ import annotations

import re
from dataclasses import dataclass

from server.access.scopes import Filter, Scope, Scopes

# {your} becomes "your", "Ada Moor's", "the".
_THINGS = {
    "*": "everything in {your} record",
    "Patient": "{your} name, birth date and contact details",
    "ImagingStudy": "{your} imaging studies and their images",
    "Endpoint": "the address where {your} images can be fetched",
    "DiagnosticReport": "{your} reports",
    "DocumentReference": "{your} documents",
    "Observation": "{your} measurements and results",
    "Condition": "{your} diagnoses and health problems",
    "AllergyIntolerance": "{your} allergies",
    "MedicationRequest": "{your} medicines",
    "Immunization": "{your} vaccinations",
    "Procedure": "{your} procedures and operations",
    "Encounter": "{your} visits",
    "ServiceRequest": "orders from doctors in {your} record",
    "Consent": "whom {your} record is shared with",
    "Practitioner": "the doctors named in {your} record",
    "Organization": "the hospitals and practices named in {your} record",
    "Device": "the machines that made {your} images",
    "Provenance": "where each entry of {your} record came from",
    "AuditEvent": "who looked at {your} record",
    "Binary": "files attached to {your} record",
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
_SHARING = "It can invite people to see the record, and change what they may see."
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
    data: bool = True  # opens data; else it is about who and how long


def lines(scopes: Scopes, *, your: str) -> list[Line]:
    """A line for each scope, in the order asked; `your` says whose record it is ("your", "Ada Moor's")."""
    return [
        Line(item, _SPECIAL[item] + ".", data=False) if isinstance(item, str) else _line(item, your)
        for item in scopes.items
    ]


def kind_of_images(modality: str) -> str:
    """A DICOM modality (PS3.3 C.7.3.1.1.1) as patients call it."""
    return _MODALITIES.get(modality, modality)


def _line(scope: Scope, your: str) -> Line:
    of_all = scope.context != "patient"
    owner = "the" if of_all else your
    what = (_THINGS.get(scope.type) or "{your} " + _words(scope.type)).replace("{your}", owner)
    narrowed = "".join(_narrowed(each) for each in scope.filters)
    of_whom = " of everyone whose record you may open" if of_all else ""
    if scope.type == "Consent" and scope.verbs & {"c", "u"}:
        return Line(
            scope.text, f"Share {owner} record{of_whom} with others, in your name.", _SHARING, grave=True
        )
    sentence = f"{_verbs(scope)} {what}{narrowed}{of_whom}."
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
    names = dict.fromkeys(kind_of_images(value.code) for value in filter.values)
    return f" ({' or '.join(names)} only)"


def _more(scope: Scope) -> str:
    if scope.type == "*" and scope.verbs & {"u", "d"}:
        return "This is the widest permission there is. Most apps do not need it."
    if scope.type in ("*", "ImagingStudy") and "r" in scope.verbs:
        return "An app that can see images can also keep copies of them."
    return ""


def _words(type: str) -> str:
    """`CarePlan` as `care plan`: a type without a sentence of its own."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type).lower()
