"""Media types, and the choice among them that an Accept header asks for.

RFC 9110, 8.3.1 (media types) and 12.5.1 (Accept); RFC 2387 (multipart/related). Real clients send more than
the grammar allows: a `type` parameter with an unquoted slash, `type="*/*"`, `image/`, `*`. What has one
plausible meaning is taken as that; an element that has none is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType

from .errors import NotAcceptable

_NO_PARAMETERS: Mapping[str, str] = MappingProxyType({})
_MAX_HEADER = 8192  # longer Accept headers are read up to here


@dataclass(frozen=True)
class MediaType:
    """A media type, or in an Accept header a range of them (`image/*`, `*/*`)."""

    name: str  # "application/dicom", in small letters
    # Names in small letters; q taken out.
    parameters: Mapping[str, str] = field(default_factory=lambda: _NO_PARAMETERS)
    q: float = 1.0

    @property
    def is_multipart(self) -> bool:
        return self.name.startswith("multipart/")

    @property
    def specificity(self) -> tuple[int, int]:
        """Orders ranges: `*/*` < `image/*` < `image/png` < `image/png; x=y` (RFC 9110, 12.5.1)."""
        wildcards = 0 if self.name == "*/*" else 1 if self.name.endswith("/*") else 2
        return wildcards, len(self.parameters)

    def covers(self, name: str) -> bool:
        """Whether the media type `name` lies in this range, parameters left aside."""
        return self.name in ("*/*", name) or (self.name.endswith("/*") and name.startswith(self.name[:-1]))

    def part(self) -> MediaType:
        """What the parts of a multipart range are to be: its `type`, with the parameters that stay."""
        name = self.parameters.get("type", "*/*").lower()
        rest = {key: value for key, value in self.parameters.items() if key not in ("type", "boundary")}
        return MediaType(_ranged(name), rest, self.q)


@lru_cache(maxsize=512)
def parse_media_type(text: str) -> MediaType | None:
    """One media type, as in Content-Type; None when it is none."""
    pieces = list(_split(text, ";"))
    name = _ranged(pieces[0].strip().lower()) if pieces else ""
    kind, slash, subtype = name.partition("/")
    if not (slash and kind and subtype) or any(each in name for each in " \t,\"'"):
        return None
    parameters = dict(_parameter(piece) for piece in pieces[1:] if "=" in piece)
    q = _quality(parameters.pop("q", None))
    return MediaType(name, MappingProxyType(parameters), q)


@lru_cache(maxsize=512)
def parse_accept(header: str | None) -> tuple[MediaType, ...]:
    """The ranges of an Accept header, the most wanted first; a missing or empty one means `*/*`.

    Empty when nothing in the header can be understood, so that nothing fits.
    """
    if header is None or not header.strip():
        return (MediaType("*/*"),)
    read = (parse_media_type(element) for element in _split(header[:_MAX_HEADER], ","))
    ranges = [each for each in read if each is not None]
    return tuple(sorted(ranges, key=lambda each: -each.q))


def quality(ranges: Sequence[MediaType], offer: MediaType) -> float:
    """How much `offer` is wanted, 0 when it is not: the most specific range that covers it decides."""
    matching = [each for each in ranges if each.covers(offer.name) and _parameters_agree(each, offer)]
    if not matching:
        return 0.0
    return max(matching, key=lambda each: (each.specificity, each.q)).q


def best(accept: str | None, offers: Sequence[str]) -> str:
    """The offer that fits best, the earlier one when two fit as well.

    Raises NotAcceptable, which says what could be had.
    """
    return _best(accept, tuple(offers))


@lru_cache(maxsize=512)
def _best(accept: str | None, offers: tuple[str, ...]) -> str:
    ranges = parse_accept(accept)
    rated = [(quality(ranges, offered), offer) for offer in offers if (offered := parse_media_type(offer))]
    top = max(rated, key=lambda each: each[0], default=(0.0, ""))
    if top[0] <= 0:
        raise not_acceptable(offers)
    return top[1]


def not_acceptable(offers: Sequence[str]) -> NotAcceptable:
    """The refusal that names what would be acceptable."""
    return NotAcceptable(f"None of the media types asked for can be made; these can: {', '.join(offers)}.")


def _parameters_agree(wanted: MediaType, offer: MediaType) -> bool:
    """A parameter counts against an offer only when both name it and differ (charset, fhirVersion)."""
    theirs = offer.parameters
    return all(theirs.get(name, value).lower() == value.lower() for name, value in wanted.parameters.items())


def _split(text: str, separator: str) -> Iterator[str]:
    """Split at separators outside of quoted strings; empty elements are left out (RFC 9110, 5.6.1)."""
    start, quoted, escaped = 0, False, False
    for index, char in enumerate(text):
        if escaped:
            escaped = False
        elif quoted and char == "\\":
            escaped = True
        elif char == '"':
            quoted = not quoted
        elif char == separator and not quoted:
            if text[start:index].strip():
                yield text[start:index]
            start = index + 1
    if text[start:].strip():
        yield text[start:]


def _parameter(text: str) -> tuple[str, str]:
    name, _, value = text.partition("=")
    return name.strip().lower(), _unquoted(value.strip())


def _unquoted(value: str) -> str:
    if len(value) < 2 or value[0] != '"' or value[-1] != '"':
        return value.strip('"')
    plain, escaped = [], False
    for char in value[1:-1]:
        if char == "\\" and not escaped:
            escaped = True
            continue
        plain.append(char)
        escaped = False
    return "".join(plain)


def _ranged(name: str) -> str:
    """`*` and `image/` as the ranges they mean."""
    if name == "*":
        return "*/*"
    return name + "*" if name.endswith("/") else name


def _quality(text: str | None) -> float:
    """A weight of 0 to 1; what cannot be read counts as 1, as if it were not there."""
    if text is None:
        return 1.0
    try:
        value = float(text)
    except ValueError:
        return 1.0
    return min(max(value, 0.0), 1.0) if value == value else 1.0
