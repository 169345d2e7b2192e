"""SMART scopes: what an access token was granted, as values with an algebra.

SMART App Launch 2.2, "Scopes for requesting FHIR resources": `(patient|user|system)/(Type|*).cruds?p=value`
and the v1 form `.read|.write|.*`, which keeps its spelling when it was asked for that way. Several scopes are
a union, each keeping its own filters. What cannot be read grants nothing: it is left out, never widened.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from urllib.parse import quote, unquote

from . import days

CONTEXTS = ("patient", "user", "system")
VERBS = "cruds"
_V1 = {"read": "rs", "write": "cud", "*": "cruds"}

# Scopes that open no resources but ask for a context, an identity or a lifetime.
SPECIAL = (
    "openid",
    "profile",
    "fhirUser",
    "launch",
    "launch/patient",
    "launch/encounter",
    "launch/imagingstudy",
    "online_access",
    "offline_access",
)

# The filters that access/reach.py can put into a statement, by type. One that is not named here makes its
# scope unreadable, and an unreadable scope grants nothing.
FILTERS: dict[str, frozenset[str]] = {
    "ImagingStudy": frozenset({"modality", "started", "_id"}),
    "Basic": frozenset({"code"}),
    "Observation": frozenset({"category", "code", "status"}),
    "DiagnosticReport": frozenset({"category", "code", "status"}),
    "DocumentReference": frozenset({"category", "type", "status"}),
    "ServiceRequest": frozenset({"category", "code", "status"}),
    "Encounter": frozenset({"class", "type", "status"}),
    "List": frozenset({"code", "status"}),
    "Condition": frozenset({"category"}),  # not kept here: asked for by US Core apps, it opens nothing
}
# Of these, the ones whose values are days; the others are codes.
DATES = frozenset({"started"})

_TOKEN = re.compile(r"[\x21\x23-\x5b\x5d-\x7e]+")  # RFC 6749, 3.3: scope-token
_SCOPE = re.compile(r"(patient|user|system)/([A-Z][A-Za-z]{1,62}|\*)\.([a-z]+|\*)(?:\?(.+))?")
_VERBS = re.compile(r"(?=.)c?r?u?d?s?")
_PLAIN = ":/?@!$'()*;~+="  # what a filter's value may hold unencoded
_ID = re.compile(r"[A-Za-z0-9.-]{1,64}")
_MOST = 200  # scopes in one text; more is not a person's choice any more


@dataclass(frozen=True)
class Coded:
    """One value of a token parameter: `system|code`; no system named means any, an empty one means none."""

    system: str | None
    code: str

    def covers(self, other: Coded) -> bool:
        """Whether all that `other` selects is selected by this too."""
        return self.code == other.code and self.system in (None, other.system)

    def __str__(self) -> str:
        code = quote(self.code, safe=_PLAIN)
        return code if self.system is None else f"{quote(self.system, safe=_PLAIN)}|{code}"


@dataclass(frozen=True)
class Filter:
    """A search parameter a scope is limited by: any of the values."""

    param: str
    values: tuple[Coded, ...]

    def covers(self, other: Filter) -> bool:
        """Whether every resource that passes `other` passes this too."""
        return self.param == other.param and all(
            any(self._covers(mine, theirs) for mine in self.values) for theirs in other.values
        )

    def _covers(self, mine: Coded, theirs: Coded) -> bool:
        if self.param in DATES:
            return days.within(theirs.code, mine.code)
        return mine.covers(theirs)

    def __str__(self) -> str:
        return f"{self.param}={','.join(map(str, self.values))}"


IMAGES = "ImagingStudy"


@dataclass(frozen=True)
class Scope:
    """One resource scope. `filters` are ANDed; `asked` is the spelling it came in, no part of equality."""

    context: str
    type: str
    verbs: frozenset[str]
    filters: tuple[Filter, ...] = ()
    asked: str | None = field(default=None, compare=False)

    @property
    def text(self) -> str:
        """As asked for, or the v2 spelling."""
        if self.asked is not None:
            return self.asked
        verbs = "".join(verb for verb in VERBS if verb in self.verbs)
        query = "&".join(map(str, self.filters))
        return f"{self.context}/{self.type}.{verbs}{'?' if query else ''}{query}"

    def allows(self, type: str, verb: str) -> bool:
        """Whether it opens this verb on this type, its filters aside."""
        return self.type in ("*", type) and verb in self.verbs

    def covers(self, other: Scope) -> bool:
        """Whether all that `other` opens is opened by this too (verbs aside)."""
        return (
            self.context == other.context
            and self.type in ("*", other.type)
            and all(any(mine.covers(theirs) for theirs in other.filters) for mine in self.filters)
        )

    def __and__(self, other: Scope) -> Scope | None:
        """What both open, or None. Contexts never combine."""
        verbs = self.verbs & other.verbs
        if self.context != other.context or not verbs or not self._meets(other):
            return None
        wanted = Scope(
            self.context,
            other.type if self.type == "*" else self.type,
            verbs,
            (*self.filters, *(each for each in other.filters if each not in self.filters)),
        )
        return next((same for same in (self, other) if same == wanted), wanted)

    def _meets(self, other: Scope) -> bool:
        return self.type == other.type or "*" in (self.type, other.type)


@dataclass(frozen=True)
class Scopes:
    """An ordered union of scopes: resource scopes, and special ones as their words."""

    items: tuple[Scope | str, ...] = ()

    @classmethod
    def parse(cls, text: str | None) -> Scopes:
        """Read a space-separated list; what is unknown or malformed is left out."""
        return _parse(text or "")

    @classmethod
    def of(cls, items: Iterable[Scope | str]) -> Scopes:
        """A union without repeats, in order."""
        return cls(tuple(dict.fromkeys(items)))

    @property
    def text(self) -> str:
        """The union as RFC 6749, 3.3 spells it."""
        return " ".join(item if isinstance(item, str) else item.text for item in self.items)

    @property
    def resources(self) -> tuple[Scope, ...]:
        """The scopes that open resources."""
        return tuple(item for item in self.items if isinstance(item, Scope))

    @property
    def contexts(self) -> frozenset[str]:
        """The contexts (patient, user, system) its resource scopes speak of."""
        return frozenset(scope.context for scope in self.resources)

    def has(self, word: str) -> bool:
        """Whether a special scope is in it."""
        return word in [item for item in self.items if isinstance(item, str)]

    def granting(self, type: str, verb: str) -> list[Scope]:
        """The scopes that open this verb on this type, each with the filters that limit it."""
        found = [scope for scope in self.resources if scope.allows(type, verb)]
        if type == "Endpoint":  # who finds studies learns where they are retrieved (SMART Imaging Access)
            found += [
                scope for scope in self.resources if scope.type == IMAGES and scope.allows(IMAGES, verb)
            ]
        return found

    def within(self, other: Scopes) -> Scopes:
        """What of this lies inside `other`; a scope that fits whole keeps the form it was asked in."""
        return Scopes.of(piece for item in self.items for piece in other._pieces_of(item))

    def subset_of(self, other: Scopes) -> bool:
        """Whether this opens nothing that `other` does not."""
        return all(other._covers(item) for item in self.items)

    def without_context(self, *contexts: str) -> Scopes:
        """The same without the resource scopes of these contexts."""
        return Scopes(
            tuple(item for item in self.items if isinstance(item, str) or item.context not in contexts)
        )

    def without(self, *words: str) -> Scopes:
        """The same without these special scopes."""
        return Scopes(tuple(item for item in self.items if item not in words))

    def __or__(self, other: Scopes) -> Scopes:
        return Scopes.of((*self.items, *other.items))

    def __iter__(self) -> Iterator[Scope | str]:
        return iter(self.items)

    def __bool__(self) -> bool:
        return bool(self.items)

    def __str__(self) -> str:
        return self.text

    def _covers(self, item: Scope | str) -> bool:
        if isinstance(item, str):
            return self.has(item)
        return all(
            any(verb in scope.verbs and scope.covers(item) for scope in self.resources) for verb in item.verbs
        )

    def _pieces_of(self, item: Scope | str) -> Sequence[Scope | str]:
        if self._covers(item):
            return [item]
        if isinstance(item, str):
            return []
        return [piece for scope in self.resources if (piece := item & scope)]


@lru_cache(maxsize=2048)
def _parse(text: str) -> Scopes:
    read = (_read(token) for token in text.split(" ")[:_MOST] if token)
    return Scopes.of(item for item in read if item is not None)


def _read(token: str) -> Scope | str | None:
    if token in SPECIAL:
        return token
    found = _TOKEN.fullmatch(token) and _SCOPE.fullmatch(token)
    if not found:
        return None
    context, type, verbs, query = found.groups()
    if verbs in _V1:
        return None if query else Scope(context, type, frozenset(_V1[verbs]), (), token)
    if not _VERBS.fullmatch(verbs):
        return None
    filters = _filters(type, query) if query else ()
    return None if filters is None else Scope(context, type, frozenset(verbs), filters, token)


def _filters(type: str, query: str) -> tuple[Filter, ...] | None:
    """The filters of a scope, or None when any of them is unknown or says nothing."""
    filters = []
    for pair in query.split("&"):
        param, _, value = pair.partition("=")
        values = tuple(_coded(each) for each in unquote(value).split(","))
        if param not in FILTERS.get(type, ()) or not all(_is_value(param, each) for each in values):
            return None
        filters.append(Filter(param, values))
    return tuple(dict.fromkeys(filters))


def _coded(text: str) -> Coded:
    system, bar, code = text.rpartition("|")
    return Coded(system if bar else None, code)


def _is_value(param: str, value: Coded) -> bool:
    if param in DATES:
        return value.system is None and days.span(value.code) is not None
    if param == "_id":
        return value.system is None and bool(_ID.fullmatch(value.code))
    return _is_word(value)


def _is_word(value: Coded) -> bool:
    return bool(value.code) and ((value.system or "") + value.code).isprintable()
