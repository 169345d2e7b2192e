"""`_include` and `_revinclude`: each type that comes along goes through the gate with an action of its own.

FHIR R4, 3.1.1.5.2. What the caller may not see is left out, also where the token has no scope for the type.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from server.access.action import Action, Verb
from server.access.reach import Reach
from server.core.errors import InsufficientScope
from server.records import search
from server.records.registry import Param, types
from server.records.search import Found

from . import audit_along
from .call import Call
from .search_params import Include

MOST_INCLUDED = 1000
MOST_ROUNDS = 5  # of :iterate
LOG = "AuditEvent"
FEW = 2  # types that are asked for without looking which are there


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
    call: Call, page: Sequence[Found], includes: Sequence[Include], revincludes: Sequence[Include]
) -> AsyncIterator[Found]:
    """One step: a statement for each type that is led to, and for each type that leads here."""
    db, keys = call.services.db, [one.key for one in page if one.type != LOG]
    async for one in _of_events(call, [one for one in page if one.type == LOG], includes):
        yield one
    for target, params in (await _targets(call, keys, includes)).items():
        reach = await _reach(call, target)
        if reach is not None:
            found = await search.included(
                db, keys, params, target, reach=reach, base=call.base, limit=MOST_INCLUDED
            )
            for one in found:
                yield one
    for source, params in _sources(revincludes).items():
        reach = await _reach(call, source) if page else None
        if reach is not None and source == LOG:
            async for one in audit_along.about(call, page, params, reach=reach):
                yield one
        elif reach is not None:
            found = await search.including(db, page, params, reach=reach, base=call.base, limit=MOST_INCLUDED)
            for one in found:
                yield one


async def _of_events(
    call: Call, events: Sequence[Found], includes: Sequence[Include]
) -> AsyncIterator[Found]:
    """What events of the log refer to."""
    params: dict[str, list[Param]] = {}
    for include in includes if events else ():
        for target in _types_of(include) if include.param.type == LOG else ():
            params.setdefault(target, []).append(include.param)
    for target, ids in (await audit_along.led_to(events, params, call.base)).items():
        reach = await _reach(call, target) if target != LOG else None
        if reach is not None:
            for one in await audit_along.those(call, target, ids, reach=reach):
                yield one


async def _targets(call: Call, keys: Sequence[int], includes: Sequence[Include]) -> dict[str, list[Param]]:
    """The parameters by the type they may lead to; where that is many types, those that are there."""
    if not keys or not includes:
        return {}
    allowed: dict[str, list[Param]] = {}
    for include in includes:
        for target in _types_of(include):
            allowed.setdefault(target, []).append(include.param)
    if len(allowed) <= FEW:
        return allowed
    params = [include.param for include in includes]
    there = await search.types_referred_to(call.services.db, keys, params, base=call.base)
    return {target: params for target, params in allowed.items() if target in there}


def _types_of(include: Include) -> list[str]:
    if include.target:
        return [include.target] if include.target in types() else []
    named = types() if "*" in include.param.targets else include.param.targets
    return [name for name in named if name in types()]


def _sources(revincludes: Sequence[Include]) -> dict[str, list[Param]]:
    found: dict[str, list[Param]] = {}
    for include in revincludes:
        found.setdefault(include.param.type, []).append(include.param)
    return found


async def _reach(call: Call, type: str) -> Reach | None:
    """What the caller may read of a type; None without a scope for it."""
    gate = call.services.gate
    try:
        reach = await gate.reach_for_actor(call.actor, Action(type, Verb.READ))
    except InsufficientScope:
        return None
    return reach if reach else None
