"""Narrowing imaging on the consent page: by kind, by date, by study.

SMART App Launch 2.2, "finer-grained resource constraints using search parameters": ImagingStudy?modality, ?started
and ?_id. A scope on every type becomes one a type, so that the images are opened by the narrowed one alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import date

from server.access.filters import DCM
from server.access.scopes import Coded, Filter, Scope, Scopes
from server.records.registry import types

IMAGING = "ImagingStudy"
_V1 = ("read", "write", "*")


@dataclass(frozen=True)
class Choice:
    """What the person left of the images; None: no word on it."""

    kinds: frozenset[str] | None = None  # of images
    since: date | None = None
    until: date | None = None
    studies: frozenset[str] | None = None  # ids of ImagingStudies

    @property
    def is_nothing(self) -> bool:
        """Whether no image is left: everything was unticked, or the days end before they begin."""
        backwards = bool(self.since and self.until and self.since > self.until)
        return backwards or any(each is not None and not each for each in (self.kinds, self.studies))

    @property
    def filters(self) -> tuple[Filter, ...]:
        return tuple(self._filters())

    def _filters(self) -> Iterator[Filter]:
        if self.kinds is not None:
            yield Filter("modality", tuple(Coded(DCM, kind) for kind in sorted(self.kinds)))
        if self.since:
            yield Filter("started", (Coded(None, f"ge{self.since}"),))
        if self.until:
            yield Filter("started", (Coded(None, f"le{self.until}"),))
        if self.studies is not None:
            yield Filter("_id", tuple(Coded(None, each) for each in sorted(self.studies)))


def is_possible(scopes: Scopes) -> bool:
    """Whether images are within the scopes."""
    return bool(scopes.granting(IMAGING, "r") or scopes.granting(IMAGING, "s"))


def narrowed(scopes: Scopes, choice: Choice) -> Scopes:
    """The scopes with all that opens images limited to the choice; without one, as they were asked."""
    if not choice.is_nothing and not choice.filters:
        return scopes
    return Scopes.of(piece for item in scopes.items for piece in _limited(item, choice))


def _limited(item: Scope | str, choice: Choice) -> Iterable[Scope | str]:
    if isinstance(item, str) or item.type not in ("*", IMAGING):
        return (item,)
    others = [_of_type(item, name) for name in types() if name != IMAGING] if item.type == "*" else []
    if choice.is_nothing:
        return others
    added = tuple(each for each in choice.filters if each not in item.filters)
    return (replace(item, type=IMAGING, filters=(*item.filters, *added), asked=None), *others)


def _of_type(scope: Scope, type: str) -> Scope:
    """The part of a scope on every type, in the version of the words it was asked in."""
    word = (scope.asked or "").rpartition(".")[2]
    asked = f"{scope.context}/{type}.{word}" if word in _V1 else None
    return replace(scope, type=type, asked=asked)
