"""What is wanted of stored objects and frames: the Accept header read as DICOM means it.

DICOM PS3.18, 8.7.3 (DICOM media types), Tables 8.7.3-2 to 8.7.3-5, 8.7.8 (transfer-syntax parameter). Clients
ask for the parts of a multipart body (`multipart/related; type="image/jpeg"`) or for a single part of the same
type; both, and the wildcards in between, become `Wish`es, the most wanted first.
"""

from __future__ import annotations

from dataclasses import dataclass

from server.core.media import MediaType, parse_accept

DICOM = "application/dicom"
OCTETS = "application/octet-stream"
AS_STORED = "*"

_OLD_NAMES = {"image/x-jls": "image/jls", "image/x-dicom-rle": "image/dicom-rle", "image/j2c": "image/jphc"}


@dataclass(frozen=True)
class Wish:
    """One acceptable form: type or range of types, in parts or as a single part, and a transfer syntax."""

    type: MediaType
    multipart: bool
    transfer_syntax: str | None  # a UID; "*": as stored; None: the default of the media type
    explicit: bool = True  # not by way of `*/*`, which leaves parts or a single part to us

    @property
    def demands_parts(self) -> bool:
        """Whether nothing but a multipart body will do."""
        return self.multipart and self.explicit

    def covers(self, name: str) -> bool:
        return self.type.covers(name)


def wishes(accept: str | None) -> tuple[Wish, ...]:
    """What is acceptable, the most wanted first; of equals, the one that says more."""
    found = [_wish(each) for each in parse_accept(accept) if each.q > 0]
    return tuple(sorted((wish for wish in found if wish), key=_order))


def refused(accept: str | None) -> frozenset[str]:
    """Media types that are named with a weight of zero: never."""
    zero = (each for each in parse_accept(accept) if each.q == 0)
    return frozenset((each.part() if each.is_multipart else each).name for each in zero)


def _wish(wanted: MediaType) -> Wish | None:
    if wanted.is_multipart:
        if wanted.name not in ("multipart/related", "multipart/*"):
            return None
        part = wanted.part()
        return Wish(_today(part), True, _transfer_syntax(part))
    if wanted.name == "*/*":
        return Wish(wanted, True, _transfer_syntax(wanted), False)
    return Wish(_today(wanted), False, _transfer_syntax(wanted))


def _today(wanted: MediaType) -> MediaType:
    """Names of earlier editions as their present ones."""
    return MediaType(_OLD_NAMES.get(wanted.name, wanted.name), wanted.parameters, wanted.q)


def _transfer_syntax(wanted: MediaType) -> str | None:
    return wanted.parameters.get("transfer-syntax") or None


def _order(wish: Wish) -> tuple[float, bool, int]:
    return -wish.type.q, not wish.explicit, -wish.type.specificity[0]
