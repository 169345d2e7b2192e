"""What became of each instance of a store.

DICOM PS3.18, I.2 (Store Instances Response Module), and decision 15 for the codes beyond it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

from server.core.errors import OutOfSpace, ServerError

from .header import NoUid, Unreadable


class FailureReason(IntEnum):
    """Failure Reason (0008,1197)."""

    PROCESSING = 0x0110
    DUPLICATE = 0x0111  # held already, with other bytes
    SOP_CLASS_UNSUPPORTED = 0x0122
    NOT_AUTHORIZED = 0x0124
    OUT_OF_RESOURCES = 0xA700
    MISMATCH = 0xA900
    WRONG_STUDY = 0xA901
    CANNOT_UNDERSTAND = 0xC000
    NO_IDENTIFIER = 0xC001


class WarningReason(IntEnum):
    """Warning Reason (0008,1196)."""

    COERCED = 0xB000
    DISCARDED = 0xB006
    MISMATCH = 0xB007


@dataclass(frozen=True)
class StoredInstance:
    """An instance that is held now."""

    sop_class_uid: str
    sop_instance_uid: str
    study_uid: str
    series_uid: str
    patient_id: str
    warning: WarningReason | None = None
    comment: str = ""  # what was odd about it, in words
    repeated: bool = False  # it was held before, byte for byte


@dataclass(frozen=True)
class Failure:
    """A part that is not held, and why; without UIDs when they could not be read."""

    sop_class_uid: str | None
    sop_instance_uid: str | None
    reason: FailureReason
    comment: str


@dataclass
class StoreReport:
    """The outcome of one store."""

    stored: list[StoredInstance] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def fail(self, uids: tuple[str | None, str | None], error: Exception) -> None:
        """Note a failure in the words of its error."""
        self.failed.append(Failure(*uids, reason_of(error), str(error)))


class Refused(ServerError):
    """This instance was not stored."""

    def __init__(self, reason: FailureReason, sentence: str) -> None:
        super().__init__(sentence)
        self.reason = reason


def reason_of(error: Exception) -> FailureReason:
    """The code that says it."""
    match error:
        case Refused():
            return error.reason
        case OutOfSpace():
            return FailureReason.OUT_OF_RESOURCES
        case NoUid():
            return FailureReason.NO_IDENTIFIER
        case Unreadable():
            return FailureReason.CANNOT_UNDERSTAND
    return FailureReason.PROCESSING
