"""Patches by who may change a resource and not read it.

SMART App Launch 2.2, scopes (`u` without `r`); RFC 6902, 4.6. A patch can ask: `test`, `where(given = 'Ada')`, a copy
to where it can be seen, or a value put in its own place to see whether a new version comes of it. Who may not read is
refused the first three, and every patch of theirs makes a version. That an element exists can still be told from a
path that leads nowhere.
"""

from __future__ import annotations

import re
from typing import Any

from server.access.action import Action, Verb
from server.core.errors import Gone, InsufficientScope, NotFound
from server.records import store
from server.records.document import Json

from .call import Call

_OPERATIONS = frozenset({"add", "replace", "remove", "insert", "delete"})
_PLAIN = re.compile(r"[A-Za-z]+(?:\.[A-Za-z]+|\[\d{1,6}\])*")
_ASKS = (
    "Of this resource the access token may change parts and read none: the patch must not ask what is there."
)
# Written by ways of their own, that answer to what is there.
_NOT_BLINDLY = frozenset({"Consent", "Subscription"})


async def may_see(call: Call, type: str, id: str) -> bool:
    """Whether the caller may have this resource shown, by reading it or by searching."""
    for verb in (Verb.READ, Verb.SEARCH):
        try:
            reach = await call.services.gate.reach_for_actor(call.actor, Action(type, verb))
            await store.read(call.services.db, type, id, reach=reach)
        except (InsufficientScope, NotFound, Gone):
            continue
        return True
    return False


def require_blind(type: str, patch: Any) -> None:
    """Raise InsufficientScope for a patch that asks about what is there."""
    operations = _of_parameters(patch) if isinstance(patch, dict) else patch
    if type in _NOT_BLINDLY or not isinstance(operations, list):
        raise InsufficientScope(_ASKS)
    for each in operations:
        if not isinstance(each, dict) or each.get("op") not in _OPERATIONS:
            raise InsufficientScope(_ASKS)


def _of_parameters(patch: Json) -> list[Json]:
    """The operations of a FHIRPath Patch as those of a JSON Patch; one with an expression that asks has no `op`."""
    found = []
    parameters = patch.get("parameter")
    for operation in parameters if isinstance(parameters, list) else []:
        parts = operation.get("part") if isinstance(operation, dict) else None
        said = (
            {each.get("name"): each for each in parts if isinstance(each, dict)}
            if isinstance(parts, list)
            else {}
        )
        path = said.get("path", {}).get("valueString")
        plain = isinstance(path, str) and _PLAIN.fullmatch(path)
        found.append({"op": said.get("type", {}).get("valueCode") if plain else None})
    return found
