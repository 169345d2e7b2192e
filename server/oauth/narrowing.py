"""Narrowing imaging on the consent page: a scope on all studies becomes one on chosen kinds of them.

SMART App Launch 2.2, "finer-grained resource constraints using search parameters": ImagingStudy?modality.
"""

from __future__ import annotations

from dataclasses import replace

from server.access.filters import DCM
from server.access.scopes import Coded, Filter, Scope, Scopes

_READING = frozenset("rs")


def is_possible(scopes: Scopes) -> bool:
    """Whether narrowing would hold: studies are named as such, and no wider scope opens them all the same."""
    openers = [*scopes.granting("ImagingStudy", "r"), *scopes.granting("ImagingStudy", "s")]
    return any(_is_whole(each) for each in openers) and all(
        each.type == "ImagingStudy" and each.context == "patient" for each in openers
    )


def narrowed(scopes: Scopes, offered: frozenset[str], chosen: frozenset[str]) -> Scopes:
    """The scopes with those on all studies limited to the chosen kinds; all chosen: as they were."""
    kept = chosen & offered
    if kept == offered:
        return scopes
    items = (_limited(item, kept) for item in scopes.items)
    return Scopes(tuple(item for item in items if item is not None))


def _limited(item: Scope | str, kinds: frozenset[str]) -> Scope | str | None:
    if isinstance(item, str) or not _is_whole(item):
        return item
    if not kinds:
        return None
    only = Filter("modality", tuple(Coded(DCM, kind) for kind in sorted(kinds)))
    return replace(item, filters=(only,), asked=None)


def _is_whole(scope: Scope) -> bool:
    return scope.type == "ImagingStudy" and not scope.filters and bool(scope.verbs & _READING)
