"""DICOM person names, dates and times as FHIR datatypes.

DICOM PS3.5, 6.2 (PN, DA, TM); FHIR R4, HumanName, date, dateTime.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

Json = dict[str, Any]

# The part of a name's representation, by the group of the PN it stands in.
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_GROUPS = ("ABC", "IDE", "SYL")


def human_names(groups: Iterable[str]) -> list[Json]:
    """One HumanName for each group of a PN that is there; the groups in the order of PS3.5 6.2.1.1."""
    found = [(code, human_name(group)) for code, group in zip(_GROUPS, groups, strict=False)]
    several = len([name for _, name in found if name]) > 1
    return [_represented(name, code) if several else name for code, name in found if name]


def human_name(group: str) -> Json:
    """One group of a PN, `family^given^middle^prefix^suffix`; empty when nothing is in it."""
    family, given, middle, prefix, suffix = (
        *(part.strip() for part in group.split("^")),
        "",
        "",
        "",
        "",
        "",
    )[:5]
    name: Json = {}
    if family:
        name["family"] = family
    if givens := [*given.split(), *middle.split()]:
        name["given"] = givens
    if prefix:
        name["prefix"] = prefix.split()
    if suffix:
        name["suffix"] = suffix.split()
    if name:
        words = [*name.get("prefix", []), *name.get("given", []), family, *name.get("suffix", [])]
        name = {"text": " ".join(word for word in words if word), **name}
    return name


def _represented(name: Json, code: str) -> Json:
    return {"extension": [{"url": _REPRESENTATION, "valueCode": code}], **name}


def fhir_date(day: str) -> str | None:
    """YYYYMMDD as a FHIR date; of a corrected date maybe the year or the month only."""
    return "-".join(filter(None, (day[:4], day[4:6], day[6:8]))) if len(day) in (4, 6, 8) else None


def fhir_moment(day: str, time: str, offset: str) -> str | None:
    """A DICOM date and time (HHMMSSffffff) as a FHIR dateTime.

    A time of day needs a timezone there (R4 dateTime): without an offset from UTC in the object it is left out,
    for it would be a guess.
    """
    date = fhir_date(day)
    zone = fhir_zone(offset)
    if date is None or not time or zone is None:
        return date
    fraction = f".{time[6:9]}" if time[6:9].strip("0") else ""
    second = "59" if time[4:6] == "60" else time[4:6]
    return f"{date}T{time[:2]}:{time[2:4]}:{second}{fraction}{zone}"


def fhir_zone(offset: str) -> str | None:
    """Timezone Offset From UTC (0008,0201), `+0100`, as FHIR writes it."""
    found = re.fullmatch(r"([+-])(\d{2})(\d{2})", offset.strip())
    if not found or int(found[2]) > 14 or int(found[3]) > 59:
        return None
    return f"{found[1]}{found[2]}:{found[3]}"
