"""Which column answers a search by an attribute, at each level: the registry of QIDO-RS keys.

DICOM PS3.18, 10.6.1.2 (matching); PS3.4, C.6.2 (keys of the Study Root). The surface turns the tests of a query
into conditions by the kind of the column; column names come from here only.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from .text import fold, split_words, trigrams

Path = tuple[str, ...]


class Level(StrEnum):
    """What a search lists."""

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
    Level.STUDY: _OF_STUDIES,
    Level.SERIES: {**_STUDY, **_SERIES},
    Level.INSTANCE: {**_STUDY, **_SERIES, **_INSTANCE},
}
# Where the attributes without a column are kept, from the level of the search on.
_DOCUMENTS = {
    Level.STUDY: ("study.attributes",),
    Level.SERIES: ("series.attributes", "study.attributes"),
    Level.INSTANCE: ("instance.metadata",),
}


def column(level: Level, path: Sequence[str]) -> Column:
    """Where to look for the attribute at `path` (tags as eight hex digits, sequences first).

    An attribute without a column of its own is looked for in the stored DICOM JSON of that level.
    """
    path = tuple(path)
    return REGISTRY[level].get(path) or _other(level, path)


def _other(level: Level, path: Path) -> Column:
    if not all(re.fullmatch(r"[0-9A-F]{8}", tag) for tag in path):
        raise ValueError("a path is made of tags")
    steps = "".join(f'."{tag}".Value[*]' for tag in path)
    found = " UNION ALL ".join(f"SELECT dicom_values({each}, :attribute_path)" for each in _DOCUMENTS[level])
    return Column(f"({found})", Kind.OTHER, values={"attribute_path": f"${steps}"})


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
