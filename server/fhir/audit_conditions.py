"""What a search of AuditEvents asks: of the log's own columns in the statement, of the rest when an event is opened.

FHIR R4, AuditEvent (search parameters). Who acted, on what and from where lies sealed, so no index knows it: the
statement narrows by what is a column, and each event that it finds is opened and asked the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import NamedTuple
from uuid import UUID

from server.access.action import Verb
from server.audit.events import Event
from server.core.errors import InvalidInput
from server.records import search as records
from server.records.conditions import Chain, Condition, Criterion, Group, Has, Negated
from server.records.references import here
from server.records.registry import Kind, resource_type
from server.records.search import Query
from server.records.search_ranges import last_updated_within
from server.records.search_references import Searching
from server.records.search_values import dated, escaped, unescaped
from server.storage.where import TRUE, Where, all_of, any_of

from .audit_render import OUTCOMES, kind_of
from .call import Call

MOST_LED_TO = 500  # resources that a chain may lead to

# Asked in the statement wholly: nothing is left to ask of the event.
_EXACT = frozenset({"_id", "_lastUpdated", "action", "date", "outcome"})


async def followed(call: Call, condition: Condition) -> Condition:
    """The condition with its chains followed: each is a reference to one of what the caller may search.

    Raises InsufficientScope for a type without a scope, InvalidInput where it leads to too many.
    """
    match condition:
        case Chain():
            ways = [await _led_to(call, condition, type, inner) for type, inner in condition.targets]
            return Group(tuple(ways), any=True)
        case Group():
            return replace(
                condition, conditions=tuple([await followed(call, one) for one in condition.conditions])
            )
        case Negated():
            return Negated(await followed(call, condition.inner))
        case Has():
            raise InvalidInput("Nothing refers to AuditEvents here.")
    return condition


async def _led_to(call: Call, chain: Chain, type: str, inner: Condition) -> Condition:
    query = Query(resource_type(type), (inner,))
    types = {type} | records.types_passed([inner])
    reaches = {each: await call.reach(each, Verb.SEARCH) for each in sorted(types)}
    found = await records.page(
        call.services.db, query, Searching(call.base, reaches), reach=reaches[type], limit=MOST_LED_TO + 1
    )
    if len(found) > MOST_LED_TO:
        raise InvalidInput(f"The chain leads to more than {MOST_LED_TO} resources: narrow it.")
    values = tuple(escaped(f"{type}/{one.id}") for one in found)
    return Criterion(chain.param, "", values) if values else Group((), any=True)


class Parts(NamedTuple):
    """Where the conditions of a search are asked."""

    whose: Where | None  # in the statement, over `patient`; None where nobody was named
    match: Where  # in the statement, over `happened`: never less than all that meets the conditions
    left: list[Condition]  # of each event, once it is open


def parted(conditions: Sequence[Condition], base: str) -> Parts:
    """The conditions by where they are asked."""
    whose, others = list[Where](), list[Condition]()
    for one in conditions:
        ids = _patients(one, base)
        if ids is None:
            others.append(one)
        else:
            whose.append(any_of(*(Where("patient.id = :event_patient", {"event_patient": id}) for id in ids)))
    return Parts(
        all_of(*whose) if whose else None,
        all_of(*(_narrowed(one, base) for one in others)),
        [one for one in others if not _is_exact(one)],
    )


def _is_exact(condition: Condition) -> bool:
    return isinstance(condition, Criterion) and not condition.modifier and condition.param.name in _EXACT


def _patients(condition: Condition, base: str) -> list[str] | None:
    """Whose events it asks for; None where it may ask for something else than patients by their ids."""
    if not isinstance(condition, Criterion) or condition.param.name != "patient":
        return None
    if condition.modifier not in ("", "Patient"):
        return None
    found = [here(unescaped(_typed(value, condition)), base) for value in condition.values]
    ids = [one.id for one in found if one is not None and one.type == "Patient"]
    return ids if len(ids) == len(found) else None


def _narrowed(condition: Condition, base: str) -> Where:
    if not isinstance(condition, Criterion):
        return TRUE
    one = _NARROWING.get(condition.param.name)
    if one is None or condition.modifier not in ("", "Patient", "Practitioner"):
        return TRUE
    typed = replace(condition, values=tuple(_typed(value, condition) for value in condition.values))
    return any_of(*(one(value, base) for value in typed.values))


def _typed(value: str, criterion: Criterion) -> str:
    """`agent:Practitioner=1` names what `agent=Practitioner/1` names."""
    if criterion.param.kind is not Kind.REFERENCE or "/" in value or ":" in value:
        return value
    only = criterion.modifier or (criterion.param.targets[0] if len(criterion.param.targets) == 1 else "")
    return f"{only}/{value}" if only else value


def _by_id(value: str, base: str) -> Where:
    try:
        return Where("happened.id = :event_id", {"event_id": UUID(unescaped(value))})
    except ValueError:
        return Where("false")


def _by_date(value: str, base: str) -> Where:
    found = last_updated_within(dated(value, "date"), "happened")
    return Where(found.sql.replace("happened.last_updated", "happened.at"), found.values)


def _by_kind(place: int) -> Callable[[str, str], Where]:
    """Events whose action (0) or interaction (1) has this code, or (1) name; a vread is a read of an older version."""

    def _is_named(event: Event, code: str) -> bool:
        return place == 1 and str(event) == code

    def by_kind(value: str, base: str) -> Where:
        system, _, code = unescaped(value).rpartition("|")
        if not code or system == "urn:lightbox:audit-event":
            return TRUE
        wanted = "read" if code == "vread" else code
        events = [
            str(event) for event in Event if kind_of(event)[place] == wanted or _is_named(event, wanted)
        ]
        return Where("happened.event = ANY (:events::text[])", {"events": events})

    return by_kind


def _by_action(value: str, base: str) -> Where:
    system, bar, code = unescaped(value).rpartition("|")
    if bar and system != "http://hl7.org/fhir/audit-event-action":
        return Where("false")
    return _by_kind(0)(code, base) if code else TRUE


def _by_outcome(value: str, base: str) -> Where:
    system, bar, code = unescaped(value).rpartition("|")
    if bar and system != "http://hl7.org/fhir/audit-event-outcome":
        return Where("false")
    if not code:
        return TRUE
    outcomes = [str(outcome) for outcome, number in OUTCOMES.items() if number == code]
    return Where("happened.outcome = ANY (:outcomes::text[])", {"outcomes": outcomes})


def _by_agent(value: str, base: str) -> Where:
    """By the pseudonym of a person that is known; of others the event itself has to tell."""
    found = here(unescaped(value), base)
    table = {
        "Practitioner": "SELECT account_id FROM practitioner WHERE practitioner.id = :agent",
        "Patient": "SELECT account_id FROM holder WHERE holder.patient_id = :agent AND holder.as_what = 'self'",
    }.get(found.type if found is not None else "")
    if found is None or table is None:
        return TRUE
    actors = (
        "SELECT pseudonym.pseudonym FROM pseudonym WHERE pseudonym.subject IN"  # noqa: S608 - our own two texts
        f" (SELECT 'account:' || known.account_id FROM ({table}) AS known)"
    )
    return Where(f"happened.actor IN ({actors})", {"agent": found.id})


_NARROWING: dict[str, Callable[[str, str], Where]] = {
    "_id": _by_id,
    "_lastUpdated": _by_date,
    "action": _by_action,
    "agent": _by_agent,
    "date": _by_date,
    "outcome": _by_outcome,
    "subtype": _by_kind(1),
}
