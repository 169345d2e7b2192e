"""`_include` and `_revinclude`: each type that comes along goes through the gate with an action of its own.

FHIR R4, 3.1.1.5.2. What the caller may not see is left out, also where the token has no scope for the type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.core.errors import InsufficientScope
from server.records import search
from server.records.registry import types
from server.records.search import Found

from .call import Call
from .search_params import Include

MOST_INCLUDED = 1000
MOST_ROUNDS = 5  # of :iterate


async def included(
    call: Call, page: Sequence[Found], includes: Sequence[Include], revincludes: Sequence[Include]
) -> list[Found]:
    """Everything that comes along with a page, each resource once."""
    seen = {(one.type, one.id) for one in page}
    result: list[Found] = []
    latest: list[Found] = list(page)
    for round_ in range(MOST_ROUNDS):
        wanted = includes if round_ == 0 else [one for one in includes if one.iterate]
        wanted_back = revincludes if round_ == 0 else [one for one in revincludes if one.iterate]
        fresh: list[Found] = []
        async for one in _round(call, latest, wanted, wanted_back):
            if (one.type, one.id) not in seen and len(result) < MOST_INCLUDED:
                seen.add((one.type, one.id))
                result.append(one)
                fresh.append(one)
        if not fresh:
            break
        latest = fresh
    return result


async def _round(
    call: Call, page: Sequence[Found], includes: Iterable[Include], revincludes: Iterable[Include]
) -> AsyncIterator[Found]:
    for include in includes:
        keys = [one.key for one in page if one.type == include.param.type]
        for target in _targets(include):
            reach = await _reach(call, target) if keys else None
            if reach is not None:
                for one in await search.included(
                    call.services.db,
                    keys,
                    include.param,
                    target,
                    reach=reach,
                    base=call.base,
                    limit=MOST_INCLUDED,
                ):
                    yield one
    for include in revincludes:
        reach = await _reach(call, include.param.type) if page else None
        if reach is not None:
            for one in await search.including(
                call.services.db, page, include.param, reach=reach, base=call.base, limit=MOST_INCLUDED
            ):
                yield one


def _targets(include: Include) -> list[str]:
    if include.target:
        return [include.target] if include.target in types() else []
    allowed = types() if "*" in include.param.targets else include.param.targets
    return [name for name in allowed if name in types()]


async def _reach(call: Call, type: str) -> Reach | None:
    """What the caller may read of a type; None without a scope for it."""
    gate = call.services.gate
    try:
        reach = await gate.reach_for_actor(call.actor, Action(type, Verb.READ))
    except InsufficientScope:
        return None
    return reach if reach else None
