"""Which column answers a search by an attribute, at each level: the registry of QIDO-RS keys.

DICOM PS3.18, 10.6.1.2 (matching); PS3.4, C.6.2 (keys of the Study Root). The surface turns the tests of a query
into conditions by the kind of the column; column names come from here only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any

from .prepared import is_of_series, is_of_study
from .text import fold, split_words, trigrams

Path = tuple[str, ...]


class Level(StrEnum):
    """What a search lists."""

    PATIENT = "patient"  # by their studies
    STUDY = "study"
    SERIES = "series"
    INSTANCE = "instance"


class Kind(StrEnum):
    """How a column is compared."""

    EXACT = "exact"  # as it is written
    FOLDED = "folded"  # with text.fold() of what is asked for
    NAME = "name"  # folded; `words` for fuzzy matching, `trigrams` beside an infix
    DATE = "date"  # text YYYYMMDD, empty without a value
    TIME = "time"  # text HHMMSSffffff, empty without a value
    NUMBER = "number"  # integer, null without a value
    LIST = "list"  # text[]: any of the values
    OTHER = "other"  # no column: `sql` is a set of texts, for `EXISTS (SELECT FROM {sql} AS value WHERE ...)`


@dataclass(frozen=True)
class Column:
    """One place to search in; `values` are what its `sql` names."""

    sql: str
    kind: Kind
    words: str = ""  # text[] of folded words, for NAME
    trigrams: str = ""  # text[] under a GIN index, for NAME where there is one
    values: dict[str, Any] = field(default_factory=dict)
    below: str = ""  # "EXISTS (SELECT ...": of a row of a level below that of the search; closed by a bracket


def _name(column: str, *, indexed: bool = False) -> Column:
    return Column(
        f"{column}_folded",
        Kind.NAME,
        words=f"{column}_words",
        trigrams=f"{column}_trigrams" if indexed else "",
    )


_STUDY: dict[Path, Column] = {
    ("0020000D",): Column("study.study_uid", Kind.EXACT),
    ("00080020",): Column("study.study_day", Kind.DATE),
    ("00080030",): Column("study.study_time", Kind.TIME),
    ("00080050",): Column("study.accession_number", Kind.EXACT),
    ("00080056",): Column("'ONLINE'", Kind.EXACT),  # all that is listed can be had at once
    ("00080061",): Column("study.modalities", Kind.LIST),
    ("00080062",): Column("study.sop_classes", Kind.LIST),
    ("00080090",): _name("study.referrer"),
    ("00081030",): Column("study.title_folded", Kind.FOLDED),
    ("00100010",): _name("study.name", indexed=True),
    ("00100020",): Column("study.dicom_patient_id", Kind.EXACT),
    ("00100021",): Column("study.issuer", Kind.EXACT),
    ("00100030",): Column("study.birth_day", Kind.DATE),
    ("00100040",): Column("study.sex", Kind.EXACT),
    ("00200010",): Column("study.study_id", Kind.EXACT),
    ("00201206",): Column("study.series_count", Kind.NUMBER),
    ("00201208",): Column("study.instance_count", Kind.NUMBER),
}
_SERIES: dict[Path, Column] = {
    ("0020000E",): Column("series.series_uid", Kind.EXACT),
    ("00080060",): Column("series.modality", Kind.EXACT),
    ("00200011",): Column("series.series_number", Kind.NUMBER),
    ("00080021",): Column("series.series_day", Kind.DATE),
    ("00080031",): Column("series.series_time", Kind.TIME),
    ("0008103E",): Column("series.title_folded", Kind.FOLDED),
    ("00180015",): Column("series.body_part", Kind.EXACT),
    ("00200060",): Column("series.laterality", Kind.EXACT),
    ("00400244",): Column("series.step_day", Kind.DATE),
    ("00400245",): Column("series.step_time", Kind.TIME),
    ("00400275", "00400009"): Column("series.requests", Kind.LIST),
    ("00400275", "00401001"): Column("series.procedures", Kind.LIST),
    ("00201209",): Column("series.instance_count", Kind.NUMBER),
}
_INSTANCE: dict[Path, Column] = {
    ("00080018",): Column("instance.sop_uid", Kind.EXACT),
    ("00080016",): Column("instance.sop_class", Kind.EXACT),
    ("00200013",): Column("instance.instance_number", Kind.NUMBER),
    ("00280008",): Column("instance.frame_count", Kind.NUMBER),
    ("00280010",): Column("instance.pixel_rows", Kind.NUMBER),
    ("00280011",): Column("instance.pixel_columns", Kind.NUMBER),
    ("00280100",): Column("instance.bits_allocated", Kind.NUMBER),
    ("00080023",): Column("instance.content_day", Kind.DATE),
    ("00080033",): Column("instance.content_time", Kind.TIME),
    ("00083002",): Column("instance.transfer_syntax", Kind.EXACT),
}
# Modality asked of studies means what clients mean by it: any of its series.
_OF_STUDIES = {**_STUDY, ("00080060",): Column("study.modalities", Kind.LIST)}

REGISTRY: dict[Level, dict[Path, Column]] = {
    Level.PATIENT: _OF_STUDIES,
    Level.STUDY: _OF_STUDIES,
    Level.SERIES: {**_STUDY, **_SERIES},
    Level.INSTANCE: {**_STUDY, **_SERIES, **_INSTANCE},
}

_ANY_SERIES = (
    "EXISTS (SELECT FROM series WHERE series.patient_id = study.patient_id AND series.study_uid = study.study_uid"
    " AND series.deleted_at IS NULL AND "
)
_ANY_INSTANCE = (
    "EXISTS (SELECT FROM series JOIN instance ON instance.patient_id = series.patient_id"
    " AND instance.study_uid = series.study_uid AND instance.series_uid = series.series_uid"
    " WHERE series.patient_id = study.patient_id AND series.study_uid = study.study_uid"
    " AND series.deleted_at IS NULL AND instance.deleted_at IS NULL AND "
)
_ANY_INSTANCE_OF_SERIES = (
    "EXISTS (SELECT FROM instance WHERE instance.patient_id = series.patient_id"
    " AND instance.study_uid = series.study_uid AND instance.series_uid = series.series_uid"
    " AND instance.deleted_at IS NULL AND "
)


def column(level: Level, path: Sequence[str]) -> Column:
    """Where to look for the attribute at `path` (tags as eight hex digits, sequences first).

    One that belongs to a level below matches when any row below has it: a study by the body part of its series. An
    attribute without a column of its own is looked for in the stored DICOM JSON.
    """
    path = tuple(path)
    if own := REGISTRY[level].get(path):
        return own
    below = _below(level, path)
    if found := _SERIES.get(path) or _INSTANCE.get(path):
        return replace(found, below=below)
    return replace(_other(level, path), below=below)


def _below(level: Level, path: Path) -> str:
    """How the rows are reached that have this attribute; empty when it is those of the search."""
    of = _level_of(path)
    if level in (Level.PATIENT, Level.STUDY):
        return {Level.SERIES: _ANY_SERIES, Level.INSTANCE: _ANY_INSTANCE}.get(of, "")
    return _ANY_INSTANCE_OF_SERIES if (level, of) == (Level.SERIES, Level.INSTANCE) else ""


def _level_of(path: Path) -> Level:
    tag = int(path[0], 16)
    if path in _SERIES or (path not in _INSTANCE and is_of_series(tag) and not is_of_study(tag)):
        return Level.SERIES
    return Level.STUDY if is_of_study(tag) else Level.INSTANCE


def _other(level: Level, path: Path) -> Column:
    if not all(re.fullmatch(r"[0-9A-F]{8}", tag) for tag in path):
        raise ValueError("a path is made of tags")
    of = Level.INSTANCE if level is Level.INSTANCE else _level_of(path)
    document = "instance.metadata" if of is Level.INSTANCE else f"{of}.attributes"
    steps = "".join(f'."{tag}".Value[*]' for tag in path)
    # Most objects lack what is asked for: to see that in the bytes costs a hundredth of parsing them.
    sql = f"(SELECT dicom_values({document}, :attribute_path) WHERE position(:attribute_name IN {document}) > 0)"
    return Column(
        sql,
        Kind.OTHER,
        values={"attribute_path": f"${steps}", "attribute_name": f'"{path[0]}"'.encode()},
    )


def infix_trigrams(pattern: str) -> list[str]:
    """The trigrams that every name matching a wildcard pattern has: a GIN index narrows by them before LIKE.

    Only the first piece is known to begin a word; one after a wildcard may begin inside of one.
    """
    found: set[str] = set()
    for index, piece in enumerate(re.split(r"[*?]", fold(pattern))):
        words = split_words(piece)
        found.update(word[at : at + 3] for word in words for at in range(len(word) - 2))
        if index == 0 and words and words[0]:
            found.update(trigrams(words[:1]))
    return sorted(found)


__all__ = ["REGISTRY", "Column", "Kind", "Level", "column", "infix_trigrams"]
