"""Studies as people see them: titles, dates in words, pictures.

Reads the catalogue; every statement takes the reach.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import cached_property
from itertools import groupby
from typing import Any

import orjson

from server.access.reach import NOTHING, Ground, Reach
from server.core import clock
from server.core.errors import Conflict, NotFound
from server.core.texts import translations
from server.imaging.removal import KEPT
from server.imaging.to_fhir.overlay import corrected_modalities, original_values
from server.storage.db import Database, Record
from server.storage.sql import load
from server.storage.where import FALSE, TRUE, Where

from . import matches, words

QUERIES = load(__package__)
Json = dict[str, Any]
_UID = re.compile(r"[0-9.]{1,64}")


@dataclass(frozen=True)
class Study:
    """One study of the catalogue, in a reader's language."""

    row: Record
    language: str = "en"
    seen_by: str = ""
    link: str = ""  # the guest's link through which it is looked at

    @property
    def uid(self) -> str:
        return str(self.row["study_uid"])

    @property
    def fhir_id(self) -> str:
        return str(self.row["fhir_id"])

    @property
    def patient_id(self) -> str:
        return str(self.row["patient_id"])

    @property
    def differs(self) -> bool:
        """Name or birth date are not the profile's, and nobody has said whose it is."""
        return bool(self.row["standing"] == "differs")

    @property
    def deleted(self) -> bool:
        """Deleted, and still to be brought back; else it was said not to be mine."""
        return self.row["deleted_at"] is not None

    @property
    def images(self) -> int:
        return int(self.row["instance_count"])

    @property
    def reports(self) -> int:
        return int(self.row["reports"])

    @property
    def created_at(self) -> datetime:
        at: datetime = self.row["created_at"]
        return at

    @property
    def modality(self) -> str:
        return "/".join(self.modalities)

    @cached_property
    def corrected(self) -> dict[str, str]:
        """What the patient says instead of the images, by attribute (imaging/corrections.py)."""
        found: dict[str, str] = orjson.loads(self.row["corrected"])
        return found

    @cached_property
    def said(self) -> dict[str, str]:
        """What the images themselves say of the same attributes."""
        return original_values(self.row)

    @property
    def modalities(self) -> list[str]:
        said: list[str] = self.row["modalities"]
        code = self.corrected.get("modality")
        return corrected_modalities(said, code) if code else said

    @cached_property
    def attributes(self) -> Json:
        return _json(self.row["attributes"])

    @property
    def day(self) -> date | None:
        return day_of(self.row["shown_day"])

    @property
    def year(self) -> int | None:
        digits = self.row["shown_day"][:4]
        return int(digits) if digits else None

    @property
    def sorting(self) -> str:
        return str(self.row["shown_day"])

    @property
    def date_words(self) -> str:
        """The day; of a corrected date maybe the month or the year only."""
        said = date_in_words(self.row["shown_day"], self.language)
        return said or translations(self.language).gettext("Date unknown")

    @property
    def title(self) -> str:
        """What was done, as the hospital described it, or the kind of images."""
        kinds = ", ".join(self.kinds)
        said = self.corrected.get("description") or value(self.attributes, "00081030").replace("^", " ")
        text = " ".join(said.split())
        if not text:
            return kinds or translations(self.language).gettext("Images")
        return text if not kinds or kinds.casefold() in text.casefold() else f"{text} ({kinds})"

    @property
    def kinds(self) -> list[str]:
        gettext = translations(self.language).gettext
        return [gettext(each) for each in words.kinds(self.modalities)]

    @property
    def place(self) -> str:
        """Where it was made: as the images say, else who brought it."""
        said = value(self.attributes, "00080080") or value(_json(self.row["series_attributes"]), "00080080")
        return said or str(self.row["organization"] or "")

    @property
    def person(self) -> str:
        return self.corrected.get("name") or words.person(value(self.attributes, "00100010"))

    @property
    def birth_date(self) -> date | None:
        return day_of(value(self.attributes, "00100030"))

    @property
    def root(self) -> str:
        """Where its images are asked for: under the patient, for UIDs of two patients may be equal."""
        if self.link:
            return f"/link/{self.link}/dicomweb/studies/{self.uid}"
        return f"/patients/{self.patient_id}/dicomweb/studies/{self.uid}"

    @property
    def thumbnail(self) -> str:
        return f"{self.root}/thumbnail?viewport=144,144" if self.images else ""


@dataclass(frozen=True)
class Series:
    """One series of a study."""

    row: Record
    root: str
    preview: str
    language: str = "en"

    @property
    def uid(self) -> str:
        return str(self.row["series_uid"])

    @property
    def modality(self) -> str:
        return str(self.row["modality"])

    @property
    def images(self) -> int:
        return int(self.row["images"])

    @property
    def frames(self) -> int:
        """How many pictures can be shown; 0: a report, a structure set, a waveform."""
        return int(self.row["frames"] or 0)

    @property
    def title(self) -> str:
        gettext = translations(self.language).gettext
        said = value(_json(self.row["attributes"]), "0008103E").strip()
        return said or ", ".join(gettext(each) for each in words.kinds([self.modality]))

    @property
    def thumbnail(self) -> str:
        return f"{self.root}/series/{self.uid}/thumbnail?viewport=208,208" if self.frames else ""


@dataclass(frozen=True)
class Year:
    """What is of one year; without a year the date is unknown."""

    year: int | None
    entries: list[Any]


async def find(
    db: Database,
    *,
    reach: Reach,
    reports: Reach = NOTHING,
    match: Where = TRUE,
    limit: int,
    offset: int = 0,
    language: str = "en",
) -> list[Study]:
    """A page of studies, the newest study date first; of their reports, those within `reports` are counted."""
    values = {"limit": limit, "offset": offset}
    parts = {"reach": reach.studies(), "reports": reports.resources(), "match": match}
    rows = await db.fetch_all(QUERIES["studies_page"], values, **parts)
    return [Study(row, language) for row in rows]


async def removed(db: Database, patient_id: str, *, reach: Reach, language: str = "en") -> list[Study]:
    """What a patient removed lately and can bring back; seen by who holds the record (reach of the patient)."""
    values = {"patient": patient_id, "since": clock.now() - KEPT}
    parts = {"reach": _held(reach).patients(), "reports": FALSE}
    rows = await db.fetch_all(QUERIES["removed_studies"], values, **parts)
    return [Study(row, language) for row in rows]


async def count(db: Database, *, reach: Reach, kind: str = "") -> tuple[int, int]:
    """How many studies there are, and how many of them wait for a "mine"."""
    row = await db.fetch_one(QUERIES["count_studies"], {}, reach=reach.studies(), match=matches.of_kind(kind))
    assert row is not None
    return int(row["total"]), int(row["differing"])


async def kinds(db: Database, *, reach: Reach) -> list[str]:
    """The modalities of the studies in reach."""
    rows = await db.fetch_all(
        QUERIES["kinds_of_studies"], {}, reach=reach.studies(), kinds=matches.SHOWN_KINDS
    )
    return [str(row["modality"]) for row in rows]


def is_uid(text: str) -> bool:
    """Whether this may be a UID."""
    return _UID.fullmatch(text) is not None


async def one(db: Database, uid: str, *, reach: Reach, language: str = "en") -> Study:
    """One study; raises NotFound, and Conflict when two patients in reach have it."""
    if not _UID.fullmatch(uid):
        raise NotFound()
    match = Where("study.study_uid = :wanted_uid", {"wanted_uid": uid})
    values = {"limit": 2, "offset": 0}
    parts = {"reach": reach.studies(), "reports": FALSE, "match": match}
    rows = await db.fetch_all(QUERIES["studies_page"], values, **parts)
    if not rows:
        raise NotFound()
    if len(rows) > 1:
        raise Conflict("Two of your patients have this study; open it from the patient's page.")
    return Study(rows[0], language)


async def some(
    db: Database, uids: list[str], *, reach: Reach, reports: Reach = NOTHING, language: str = "en"
) -> dict[str, Study]:
    """These studies, by UID."""
    match = Where("study.study_uid = ANY (:wanted_uids)", {"wanted_uids": uids})
    values = {"limit": len(uids), "offset": 0}
    parts = {"reach": reach.studies(), "reports": reports.resources(), "match": match}
    rows = await db.fetch_all(QUERIES["studies_page"], values, **parts)
    return {row["study_uid"]: Study(row, language) for row in rows}


async def titles(db: Database, uids: list[str], *, reach: Reach, language: str = "en") -> dict[str, str]:
    """The titles and dates of these studies, by UID."""
    found = await some(db, uids, reach=reach, language=language)
    return {uid: ", ".join((each.title, each.date_words)) for uid, each in found.items()}


async def series_of(db: Database, study: Study, *, reach: Reach, preview: str) -> list[Series]:
    """The series of a study; `preview` is the address of its quick look."""
    values = {"patient": study.patient_id, "study": study.uid}
    rows = await db.fetch_all(QUERIES["series_of_study"], values, reach=reach.studies())
    joint = "&" if "?" in preview else "?"
    return [
        Series(row, study.root, f"{preview}{joint}series={row['series_uid']}", study.language) for row in rows
    ]


async def frames_of(
    db: Database, study: Study, series_uid: str, *, reach: Reach
) -> list[tuple[str, str, int]]:
    """(series, SOP instance, number of frames) of what can be shown, in order."""
    values = {"patient": study.patient_id, "study": study.uid, "series": series_uid}
    rows = await db.fetch_all(QUERIES["frames_of_series"], values, reach=reach.studies())
    return [(row["series_uid"], row["sop_uid"], row["frame_count"]) for row in rows]


async def hashes_of(db: Database, uid: str, *, reach: Reach) -> list[tuple[str, str]]:
    """(SHA-256 in hex, name in the ZIP) of every original of a study."""
    rows = await db.fetch_all(QUERIES["hashes_of_study"], {"study": uid}, reach=reach.studies())
    return [(bytes(row["sha256"]).hex(), f"{row['series_uid']}/{row['sop_uid']}.dcm") for row in rows]


async def uids_of(db: Database, patient_id: str, *, reach: Reach) -> list[str]:
    """Every study of a patient that can be shared."""
    rows = await db.fetch_all(QUERIES["uids_to_share"], {"patient": patient_id}, reach=reach.studies())
    return [str(row["study_uid"]) for row in rows]


async def held(db: Database, uids: list[str], *, reach: Reach) -> list[str]:
    """Which of these SOP Instance UIDs are in the record already."""
    rows = await db.fetch_all(QUERIES["held_instances"], {"uids": uids}, reach=reach.studies())
    return [str(row["sop_uid"]) for row in rows]


def by_year(entries: Iterable[Any]) -> Iterator[Year]:
    """In their order, a group for each year."""
    for year, group in groupby(entries, key=lambda each: each.year):
        yield Year(year, list(group))


def date_in_words(text: str, language: str) -> str:
    """A date that may be partial (digits, with or without dashes) spelled out; "" for none."""
    digits = text.replace("-", "")
    if len(digits) == 6 and 1 <= int(digits[4:]) <= 12:
        return words.month(date(int(digits[:4]), int(digits[4:]), 1), language)
    return digits if len(digits) == 4 else words.day(day_of(digits), language)


def day_of(text: str) -> date | None:
    """A DICOM date (YYYYMMDD); None for what is none."""
    try:
        return datetime.strptime(text, "%Y%m%d").date() if len(text) == 8 else None  # noqa: DTZ007 - a date only
    except ValueError:
        return None


def value(attributes: Json, tag: str) -> str:
    """The first value of an attribute in DICOM JSON (PS3.18, F.2), as text; "" without one."""
    values = attributes.get(tag, {}).get("Value") or [""]
    first = values[0]
    if isinstance(first, dict):
        first = first.get("Alphabetic") or first.get("Ideographic") or ""
    return "" if first is None else str(first)


def _held(reach: Reach) -> Reach:
    """What comes from holding the record: others' shares do not show what was removed."""
    return replace(reach, lanes=tuple(lane for lane in reach.lanes if lane.ground is Ground.OWN))


def _json(prepared: bytes | None) -> Json:
    """Prepared DICOM JSON; the byte that stands for an address is of no use here."""
    found: Json = orjson.loads(bytes(prepared).replace(b"\x01", b"").replace(b"\0", b"")) if prepared else {}
    return found
