"""DICOM person names, dates and times as FHIR datatypes.

DICOM PS3.5, 6.2 (PN, DA, TM); FHIR R4, HumanName, date, dateTime.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date, datetime
from typing import Any

Json = dict[str, Any]

# The part of a name's representation, by the group of the PN it stands in.
_REPRESENTATION = "http://hl7.org/fhir/StructureDefinition/iso21090-EN-representation"
_GROUPS = ("ABC", "IDE", "SYL")


_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


def printable(text: str) -> str:
    """Without the characters that no FHIR string may have, and that no object should (R4, string)."""
    return _CONTROL.sub("", text)


def human_names(groups: Iterable[str]) -> list[Json]:
    """One HumanName for each group of a PN that is there; the groups in the order of PS3.5 6.2.1.1."""
    found = [(code, human_name(group)) for code, group in zip(_GROUPS, groups, strict=False)]
    several = len([name for _, name in found if name]) > 1
    return [_represented(name, code) if several else name for code, name in found if name]


def human_name(group: str) -> Json:
    """One group of a PN, `family^given^middle^prefix^suffix`; empty when nothing is in it."""
    family, given, middle, prefix, suffix = (
        *(part.strip() for part in printable(group).split("^")),
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


def fhir_day(text: str) -> str | None:
    """A DA as a FHIR date, where the calendar has such a day."""
    digits = re.sub(r"[.\-\s]", "", text)
    try:
        return (
            date(int(digits[:4]), int(digits[4:6]), int(digits[6:])).isoformat() if len(digits) == 8 else None
        )
    except ValueError:
        return None


def fhir_instant(moment: str, offset: str) -> str | None:
    """A DT (or a DA and a TM joined) as a FHIR instant; None without a time of day or an offset from UTC."""
    found = re.fullmatch(r"(\d{8})(\d{2})(\d{2})?(\d{2})?(?:\.(\d{1,6}))?([+-]\d{4})?", moment.strip())
    if not found:
        return None
    day, hour, minute, second, fraction, own = found.groups()
    zone, second = fhir_zone(own or offset), "59" if second == "60" else second or "00"
    if zone is None:
        return None
    milliseconds = (fraction or "").ljust(3, "0")[:3]
    text = f"{day[:4]}-{day[4:6]}-{day[6:]}T{hour}:{minute or '00'}:{second}.{milliseconds}{zone}"
    try:
        datetime.fromisoformat(text)
    except ValueError:
        return None
    return text
