"""An unclaimed profile's Patient, from the first object that an organization brought.

FHIR R4, Patient; DICOM PS3.3, C.7.1.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from .names import fhir_date, human_names

Json = dict[str, Any]

_GENDER = {"M": "male", "F": "female", "O": "other"}


class Claimed(Protocol):
    """What an object says of whom it shows."""

    @property
    def names(self) -> Sequence[str]: ...
    @property
    def birth_day(self) -> str: ...
    @property
    def sex(self) -> str: ...


def unclaimed(identity: Claimed, system: str, value: str) -> Json:
    """The elements of the Patient; `system` and `value` are the identifier that the organization asserts."""
    patient: Json = {}
    for step in (_identifier(system, value), _name(identity), _gender(identity), _birth_date(identity)):
        patient |= step
    return patient


def _identifier(system: str, value: str) -> Json:
    return {"identifier": [{"system": system, "value": value}]} if value else {}


def _name(identity: Claimed) -> Json:
    names = human_names(identity.names)
    return {"name": names} if names else {}


def _gender(identity: Claimed) -> Json:
    gender = _GENDER.get(identity.sex.upper())
    return {"gender": gender} if gender else {}


def _birth_date(identity: Claimed) -> Json:
    date = fhir_date(identity.birth_day)
    return {"birthDate": date} if date else {}
