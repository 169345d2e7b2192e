"""Who a de-identified object is of, for one project: keyed pseudonym, UIDs and dates, and the words to look for.

Everything comes from one key by HMAC-SHA-256 (RFC 2104), so the same input gives the same output and nobody without
the key can go back. The key is of one person in one project: what two projects got, or two people, cannot be joined.
"""

from __future__ import annotations

import hmac
import re
from base64 import b32encode
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date
from uuid import UUID

_NEAREST, _SPAN = 366, 3287  # days back: one to ten years, so that no date stays what it was
_PIECES = re.compile(r"[^\W_]+")
_SHORTEST, _FEWEST_DIGITS = 3, 4


@dataclass(frozen=True)
class Options:
    """What a project is given beyond the basic profile (PS3.15, E.3), and what it is not."""

    dates: bool = True  # Retain Longitudinal Temporal Information with Modified Dates
    characteristics: bool = True  # Retain Patient Characteristics
    device: bool = False  # Retain Device Identity
    descriptors: bool = True  # Clean Descriptors; without it they are removed
    faces: bool = False  # images of which a face could be made are given too


@dataclass(frozen=True)
class Subject:
    """One person in one project."""

    key: bytes
    known: frozenset[str] = field(default=frozenset())  # words that identify them, as `words_of` makes them

    @property
    def pseudonym(self) -> str:
        """What stands for the name and the id; 80 bits."""
        return "P" + b32encode(self._of(b"pseudonym", b"")[:10]).decode()

    @property
    def days(self) -> int:
        """How many days every date goes back: the same for all of one person's."""
        return _NEAREST + int.from_bytes(self._of(b"days", b"")[:8], "big") % _SPAN

    def uid(self, uid: str) -> str:
        """What stands for a UID, everywhere where it is named (PS3.5, B.2: UUID derived)."""
        return f"2.25.{UUID(bytes=self._of(b'uid', uid.encode())[:16], version=4).int}"

    def date(self, text: str) -> str:
        """A date as DICOM writes it, gone back; empty for what is none."""
        digits = text.replace(".", "") if len(text) == 10 else text
        if len(digits) != 8 or not (digits.isascii() and digits.isdigit()):
            return ""
        try:
            day = date(int(digits[:4]), int(digits[4:6]), int(digits[6:]))
        except ValueError:
            return ""
        return date.fromordinal(max(1, day.toordinal() - self.days)).strftime("%Y%m%d").rjust(8, "0")

    def _of(self, what: bytes, value: bytes) -> bytes:
        return hmac.digest(self.key, what + b"\0" + value, "sha256")


def subject_key(project_key: bytes, member: bytes) -> bytes:
    """The key of one membership in a project; who leaves and joins again is somebody else."""
    return hmac.digest(project_key, b"subject\0" + member, "sha256")


def words_of(texts: Iterable[str]) -> frozenset[str]:
    """The words and numbers in these texts that are long enough to identify somebody, folded."""
    found = (piece.casefold() for text in texts for piece in _PIECES.findall(text))
    return frozenset(each for each in found if len(each) >= (_FEWEST_DIGITS if each.isdigit() else _SHORTEST))
