"""What a caller may try to do, and the rights a share can give."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Verb(StrEnum):
    """The interactions of SMART App Launch 2.2 scopes, by their letters (`cruds`)."""

    CREATE = "c"
    READ = "r"
    UPDATE = "u"
    DELETE = "d"
    SEARCH = "s"


READING = frozenset({Verb.READ, Verb.SEARCH})


class Right(StrEnum):
    """What a share may give (decision 4)."""

    IMAGES = "images"
    REPORTS = "reports"
    DOWNLOAD = "download"
    ADD = "add"
    PASS_ON = "pass-on"  # noqa: S105 - a right, no password


@dataclass(frozen=True)
class Action:
    """One interaction with one FHIR resource type."""

    type: str
    verb: Verb

    def __str__(self) -> str:
        return f"{self.type}:{self.verb}"


# DICOMweb acts on ImagingStudy (decision 3): s opens QIDO, r WADO, c or u STOW, d delete.
STUDY_SEARCH = Action("ImagingStudy", Verb.SEARCH)
STUDY_READ = Action("ImagingStudy", Verb.READ)
STUDY_STORE = Action("ImagingStudy", Verb.CREATE)
STUDY_DELETE = Action("ImagingStudy", Verb.DELETE)
