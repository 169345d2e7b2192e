"""A search request parsed into a frozen value; nobody after that reads the request.

FHIR R4, 3.1.1.3 (Prefer: handling), 3.1.1.5 (sorting, counts, includes, summaries).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

from server.core.errors import InvalidInput, UnknownParameter
from server.records import criteria, search_order
from server.records.conditions import Condition, Criterion, Group, Negated
from server.records.registry import Kind, Param, ResourceType, resource_type, types
from server.records.search import Query
from server.records.search_order import Sort

from .call import REGISTER
from .summary import Shape, shape_of

Pairs = Sequence[tuple[str, str]]

DEFAULT_COUNT = 20
MOST_COUNT = 500
MOST_PAIRS = 60
NOT_SEARCHING = ("_format", "_pretty", "_page")
_NAME = re.compile(r"[A-Za-z_][\w.-]{0,59}", re.ASCII)  # what stands before a modifier
_TOTALS = ("none", "estimate", "accurate")


@dataclass(frozen=True)
class Include:
    """One `_include` or `_revinclude`."""

    param: Param
    target: str = ""  # of an _include: this type only
    iterate: bool = False


@dataclass(frozen=True)
class Asked:
    """All that a search asks for."""

    query: Query
    count: int = DEFAULT_COUNT
    total: str = ""
    shape: Shape = field(default_factory=Shape)
    includes: tuple[Include, ...] = ()
    revincludes: tuple[Include, ...] = ()
    used: tuple[tuple[str, str], ...] = field(default=())  # what `self` says

    @property
    def only_count(self) -> bool:
        return self.count == 0 or self.shape.summary == "count"


def pairs_of(query: str | bytes) -> list[tuple[str, str]]:
    """The parameters of a query string; raises InvalidInput for more than sixty."""
    try:
        text = query.decode() if isinstance(query, bytes) else query
        return parse_qsl(text, keep_blank_values=True, max_num_fields=MOST_PAIRS, errors="strict")
    except ValueError as error:
        raise InvalidInput(f"The query cannot be read, or has more than {MOST_PAIRS} parameters.") from error


def parse(type: str, pairs: Pairs, *, strict: bool, compartment: str | None = None) -> Asked:
    """Read a search of one type. A parameter nobody knows is an error when strict, and else left out of `self`."""
    kept = resource_type(type)
    found = _Reading(kept)
    for name, value in pairs:
        if name in NOT_SEARCHING:
            continue
        try:
            found.take(name, value)
        except InvalidInput as error:
            unknown = isinstance(error, UnknownParameter)
            if unknown and not strict and not says_more(name):
                continue
            error.expression = error.expression or _named(name)
            raise
        found.used.append((name, value))
    return found.asked(compartment)


def _named(name: str) -> str | None:
    """The parameter as OperationOutcome.issue.expression has it, where what came can be a parameter's name."""
    plain = _NAME.match(name)
    return f"http.{plain[0]}" if plain else None


def says_more(name: str) -> bool:
    """Whether a parameter is a sentence: one that is not understood is an error, however lenient the handling."""
    return "." in name or name == "_filter" or name.startswith("_has")


class _Reading:
    """What was read of a search so far."""

    def __init__(self, type: ResourceType) -> None:
        self.type = type
        self.used: list[tuple[str, str]] = []
        self.conditions: list[Condition] = []
        self.sorts: tuple[Sort, ...] = ()
        self.includes: list[Include] = []
        self.revincludes: list[Include] = []
        self.count = DEFAULT_COUNT
        self.total = ""

    def take(self, name: str, value: str) -> None:
        _require_asked(self.type, name.partition(":")[0])
        special = _SPECIAL.get(name.partition(":")[0])
        if special is not None:
            special(self, name, value)
        else:
            found = criteria.condition(self.type, name, value)
            _require_wordless(self.type, found)
            self.conditions.append(found)

    def asked(self, compartment: str | None) -> Asked:
        shape = shape_of(self.used)
        if shape.summary == "text" and (self.includes or self.revincludes):
            raise InvalidInput("_summary=text does not go together with _include.")
        return Asked(
            query=Query(self.type, tuple(self.conditions), self.sorts, compartment),
            count=self.count,
            total=self.total,
            shape=shape,
            includes=tuple(self.includes),
            revincludes=tuple(self.revincludes),
            used=tuple(self.used),
        )

    def take_count(self, name: str, value: str) -> None:
        if not (value.isascii() and value.isdigit() and len(value) < 10):
            raise InvalidInput("_count must be a number that is not negative.")
        self.count = min(int(value), MOST_COUNT)

    def take_sort(self, name: str, value: str) -> None:
        if self.type.name == "AuditEvent" and value.strip().lstrip("-") not in ("date", "_lastUpdated"):
            raise UnknownParameter("AuditEvents are sorted by date only.")
        self.sorts = search_order.sort(self.type, [part.strip() for part in value.split(",") if part.strip()])

    def take_total(self, name: str, value: str) -> None:
        if value not in _TOTALS:
            raise InvalidInput(f"_total must be one of {', '.join(_TOTALS)}.")
        self.total = value

    def _all_that_refer(self, value: str) -> list[Param]:
        """`*`, or `Type:*`: what refers to the type that is searched for (FHIR R4, 3.1.1.5.3)."""
        name = value.partition(":")[0]
        source = types().get(name)
        if value != "*" and (source is None or value != f"{name}:*"):
            raise UnknownParameter("_revinclude must be Type:reference, Type:* or *.")
        # Of everything that refers here the log is no part: to look through it has to be asked for by name.
        sources = [source] if source is not None else [e for e in types().values() if e.name != "AuditEvent"]
        return [param for each in sources for param in _references(each) if self._is_led_to(param)]

    def _is_led_to(self, param: Param) -> bool:
        return self.type.name in param.targets or "*" in param.targets

    def take_contained(self, name: str, value: str) -> None:
        if name != "_contained" or value != "false":
            raise UnknownParameter("What resources contain is not searched by itself.")

    def take_query(self, name: str, value: str) -> None:
        raise InvalidInput("This server has no named queries.")

    def take_shape(self, name: str, value: str) -> None:
        shape_of([(name, value)])

    def take_include(self, name: str, value: str) -> None:
        iterate = name.partition(":")[2] in ("iterate", "recurse")
        if value in ("*", f"{self.type.name}:*"):
            self.includes += [Include(param, iterate=iterate) for param in _references(self.type)]
            return
        source, param, target = _include_parts(value)
        if source != self.type.name and not iterate and not self.includes + self.revincludes:
            raise InvalidInput("_include begins with the type that is searched for.")
        self.includes.append(Include(param, target, iterate))

    def take_revinclude(self, name: str, value: str) -> None:
        iterate = name.partition(":")[2] in ("iterate", "recurse")
        if value.endswith("*"):
            self.revincludes += [Include(param, iterate=iterate) for param in self._all_that_refer(value)]
            return
        _, param, _ = _include_parts(value)
        if not iterate and not self._is_led_to(param):
            raise InvalidInput("The _revinclude does not lead to the type that is searched for.")
        self.revincludes.append(Include(param, iterate=iterate))


_NOT_OF_EVENTS = ("_text", "_content", "_list", "_has")


def _require_asked(type: ResourceType, name: str) -> None:
    """An event of the log is rendered when it is read: nobody indexed its words, and nothing refers to it."""
    if type.name == "AuditEvent" and name in _NOT_OF_EVENTS:
        raise UnknownParameter(f"AuditEvents are not searched by {name}.")


def _require_wordless(type: ResourceType, found: Condition) -> None:
    """The same of a `_filter`, in whose test a name may stand too. What a chain leads to has words."""
    match found:
        case Criterion():
            if type.name == "AuditEvent" and found.param.name in criteria.WORDS:
                raise InvalidInput(f"AuditEvents are not searched by {found.param.name}.")
        case Group():
            for one in found.conditions:
                _require_wordless(type, one)
        case Negated():
            _require_wordless(type, found.inner)


def _references(type: ResourceType) -> list[Param]:
    return [param for param in type.params.values() if param.kind is Kind.REFERENCE]


def _include_parts(value: str) -> tuple[str, Param, str]:
    source, _, rest = value.partition(":")
    name, _, target = rest.partition(":")
    type = types().get(source)
    param = type.params.get(name) if type else None
    if param is None or param.kind is not Kind.REFERENCE:
        raise UnknownParameter("_include and _revinclude must be Type:reference.")
    return source, param, target


_SPECIAL: dict[str, Callable[[_Reading, str, str], None]] = {
    "_contained": _Reading.take_contained,
    "_count": _Reading.take_count,
    "_query": _Reading.take_query,
    "_sort": _Reading.take_sort,
    "_total": _Reading.take_total,
    "_summary": _Reading.take_shape,
    "_elements": _Reading.take_shape,
    "_include": _Reading.take_include,
    "_revinclude": _Reading.take_revinclude,
}


def require_findable(query: Query) -> None:
    """Raise InvalidInput for a search of people that would enumerate them."""
    if query.type.name not in REGISTER:
        return
    names = [c.param.name for c in query.conditions if isinstance(c, Criterion) and not c.modifier]
    allowed = {"_id", "identifier"}
    if query.type.name == "PractitionerRole":
        allowed |= {"practitioner", "organization"}
    if len(names) != len(query.conditions) or not allowed.intersection(names):
        raise InvalidInput(f"{query.type.name} is found by {' or '.join(sorted(allowed))} only.")
    if any(_names_all_of_a_system(c) for c in query.conditions):
        raise InvalidInput("The identifier needs a value: a system alone would list all who have one of it.")


def _names_all_of_a_system(condition: Condition) -> bool:
    """`system|` matches every code of the system, and `|` every one without a system."""
    return isinstance(condition, Criterion) and any(value.endswith("|") for value in condition.values)
