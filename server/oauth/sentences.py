"""Scopes as sentences that a patient understands, in the reader's language."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

from babel.dates import format_date

from server.access import days
from server.access.scopes import DATES, Filter, Scope, Scopes
from server.core.texts import DEFAULT, N_, locale, translations

# How a sentence speaks of the record. {your} in the texts below becomes one of these; a translation may put it
# where its grammar wants it.
YOURS = N_("your")
NAMED = N_("{name}'s")
CHOSEN = N_("the chosen person's")
ANYONES = N_("the")

_THINGS = {
    "*": N_("everything in {your} record"),
    "Patient": N_("{your} name, birth date and contact details"),
    "ImagingStudy": N_("{your} imaging studies and their images"),
    "Endpoint": N_("the address where {your} images can be fetched"),
    "DiagnosticReport": N_("{your} reports"),
    "DocumentReference": N_("{your} documents"),
    "Observation": N_("{your} measurements and results"),
    "Condition": N_("{your} diagnoses and health problems"),
    "AllergyIntolerance": N_("{your} allergies"),
    "MedicationRequest": N_("{your} medicines"),
    "Immunization": N_("{your} vaccinations"),
    "Procedure": N_("{your} procedures and operations"),
    "Encounter": N_("{your} visits"),
    "ServiceRequest": N_("orders from doctors in {your} record"),
    "Consent": N_("whom {your} record is shared with"),
    "Practitioner": N_("the doctors named in {your} record"),
    "Organization": N_("the hospitals and practices named in {your} record"),
    "Device": N_("the machines that made {your} images"),
    "Provenance": N_("where each entry of {your} record came from"),
    "AuditEvent": N_("who looked at {your} record"),
    "Binary": N_("files attached to {your} record"),
    "Basic": N_("what apps keep for themselves in {your} record"),
    "RelatedPerson": N_("the people who act for {your} record"),
}
_MODALITIES = {
    "CT": "CT",
    "MR": N_("MRI"),
    "US": N_("ultrasound"),
    "CR": N_("X-ray"),
    "DX": N_("X-ray"),
    "MG": N_("mammography"),
    "XA": N_("angiography"),
    "PT": "PET",
    "NM": N_("nuclear medicine"),
}
_SHARING = N_("It can invite people to see the record, and change what they may see.")
_SPECIAL = {
    "openid": N_("Know that it is you, by a number that says nothing else about you"),
    "fhirUser": N_("Know which entry in the record is yours"),
    "profile": N_("Know which entry in the record is yours"),
    "launch": N_("Know what you had open when you started it"),
    "launch/patient": N_("Know whose record this is"),
    "launch/encounter": N_("Know which visit this is about"),
    "launch/imagingstudy": N_("Know which imaging study this is about"),
    "online_access": N_("Stay connected until you sign out here"),
    "offline_access": N_("Stay connected when you are not here"),
}
_VERBS = ((N_("see"), "rs"), (N_("add"), "c"), (N_("change"), "u"), (N_("delete"), "d"))


@dataclass(frozen=True)
class Line:
    """One box on the consent page."""

    value: str  # the scope
    sentence: str
    more: str = ""
    grave: bool = False  # changes or deletes, or acts in the person's name
    data: bool = True  # opens data; else it is about who and how long


@dataclass(frozen=True)
class Words:
    """A language, and whose record is spoken of in it."""

    language: str
    your: str

    @property
    def say(self) -> Callable[[str], str]:
        return translations(self.language).gettext

    def joined(self, words: list[str]) -> str:
        """`see, add and delete`."""
        both = self.say(N_("{first} and {last}"))
        return both.format(first=", ".join(words[:-1]), last=words[-1]) if len(words) > 1 else words[0]

    def day(self, value: date) -> str:
        return format_date(value, "long", locale=locale(self.language))


def whose(name: str | None, *, own: bool, language: str = DEFAULT) -> str:
    """How a sentence to the person speaks of what is in a record; no name: it is chosen yet."""
    say = translations(language).gettext
    if own:
        return say(YOURS)
    return say(NAMED).format(name=name) if name else say(CHOSEN)


def lines(scopes: Scopes, *, your: str, language: str = DEFAULT) -> list[Line]:
    """A line for each scope, in the order asked; `your` says whose record it is (`whose`)."""
    words = Words(language, your)
    return [
        Line(item, words.say(_SPECIAL[item]) + ".", data=False)
        if isinstance(item, str)
        else _line(item, words)
        for item in scopes.items
    ]


def kind_of_images(modality: str, language: str = DEFAULT) -> str:
    """A DICOM modality (PS3.3 C.7.3.1.1.1) as patients call it."""
    return translations(language).gettext(_MODALITIES.get(modality, modality))


def _line(scope: Scope, words: Words) -> Line:
    say, of_all = words.say, scope.context != "patient"
    owner = say(ANYONES) if of_all else words.your
    of_whom = say(N_(" of everyone whose record you may open")) if of_all else ""
    if scope.type == "Consent" and scope.verbs & {"c", "u"}:
        sentence = say(N_("Share {your} record{of_whom} with others, in your name."))
        sharing = sentence.format(your=owner, of_whom=of_whom)
        return Line(scope.text, sharing, say(_SHARING), grave=True)
    thing = say(_THINGS[scope.type]) if scope.type in _THINGS else "{your} " + _words(scope.type)
    sentence = say(N_("{verbs} {what}{narrowed}{of_whom}.")).format(
        verbs=words.joined(_verbs(scope, say)),
        what=thing.replace("{your}", owner),
        narrowed="".join(_narrowed(each, words) for each in scope.filters),
        of_whom=of_whom,
    )
    sentence = " ".join(sentence.split())
    return Line(
        scope.text, sentence[:1].upper() + sentence[1:], _more(scope, say), bool(scope.verbs & {"u", "d"})
    )


def _verbs(scope: Scope, say: Callable[[str], str]) -> list[str]:
    return [say(word) for word, letters in _VERBS if scope.verbs & set(letters)]


def _narrowed(filter: Filter, words: Words) -> str:
    if filter.param in DATES:
        return " (" + _days(filter, words) + ")"
    if filter.param == "_id":
        text = words.say(N_(" (only the chosen studies: {count})"))
        return text.format(count=len(filter.values))
    names = list(dict.fromkeys(kind_of_images(value.code, words.language) for value in filter.values))
    either = words.say(N_("{first} or {last}"))
    joined = either.format(first=", ".join(names[:-1]), last=names[-1]) if len(names) > 1 else names[0]
    return words.say(N_(" ({kinds} only)")).format(kinds=joined)


def _days(filter: Filter, words: Words) -> str:
    said = []
    for value in filter.values:
        first, last = days.span(value.code) or (date.max, date.min)
        if last == date.max:
            said.append(words.say(N_("made on {day} or later")).format(day=words.day(first)))
        elif first == date.min:
            said.append(words.say(N_("made on {day} or before")).format(day=words.day(last)))
        else:
            text = words.say(N_("made from {first} to {last}"))
            said.append(text.format(first=words.day(first), last=words.day(last)))
    return ", ".join(said)


def _more(scope: Scope, say: Callable[[str], str]) -> str:
    if scope.type == "*" and scope.verbs & {"u", "d"}:
        return say(N_("This is the widest permission there is. Most apps do not need it."))
    if scope.type in ("*", "ImagingStudy") and "r" in scope.verbs:
        return say(N_("An app that can see images can also keep copies of them."))
    return ""


def _words(type: str) -> str:
    """`CarePlan` as `care plan`: a type without a sentence of its own."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type).lower()
