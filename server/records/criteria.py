"""Search parameters as a request writes them, parsed once into frozen values.

FHIR R4, 3.1.1.4 (parameter types, modifiers, prefixes), 3.1.1.4.19 (escaping), 3.1.1.4.11 and 12 (chains, `_has`).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from server.core.errors import InvalidInput, UnknownParameter

from . import filter_query, terminology
from .conditions import Chain, Condition, Criterion, Group, Has, Negated
from .document import FORBIDDEN_TEXT
from .filter_query import Both, Not, Test
from .paths import Path
from .references import Target, target
from .registry import Kind, Param, ResourceType, resource_type, types
from .search_values import dated, escaped, halves, measured, split, unescaped
from .text_query import tsquery

MOST_VALUES = 100
MOST_TEXTS = 10  # alternatives of _text and _content
MOST_LINKS = 4  # of a chain
MODIFIERS: dict[Kind, frozenset[str]] = {
    Kind.TOKEN: frozenset({"missing", "not", "text", "of-type", "in", "not-in", "above", "below"}),
    Kind.STRING: frozenset({"missing", "exact", "contains"}),
    Kind.DATE: frozenset({"missing"}),
    Kind.REFERENCE: frozenset({"missing", "identifier", "above", "below"}),
    Kind.URI: frozenset({"missing", "below", "above"}),
    Kind.QUANTITY: frozenset({"missing"}),
    Kind.NUMBER: frozenset({"missing"}),
    Kind.COMPOSITE: frozenset({"missing"}),
}


def condition(type: ResourceType, name: str, value: str, *, links: int = 0) -> Condition:
    """Parse `name=value`. Raises UnknownParameter for a name this type has not, InvalidInput for a wrong value."""
    if FORBIDDEN_TEXT.search(value) or FORBIDDEN_TEXT.search(name):
        raise InvalidInput("A search parameter contains a control character.")
    if links > MOST_LINKS:
        raise InvalidInput("The chain is too long.")
    if name.startswith("_has:"):
        return _has(type, name, value, links)
    if name == "_list":
        return _list(type, value, links)
    if name == "_filter" and not links:
        return _filtered(type, filter_query.parse(value), 0)
    if "." in name:
        head, _, rest = name.partition(".")
        return _chain(type, head, lambda to: condition(to, rest, value, links=links + 1))
    name, _, modifier = name.partition(":")
    param = _param(type, name)
    _check_modifier(param, modifier)
    values = tuple(split(value, ","))
    if not any(values):
        raise InvalidInput(f"The search parameter {name} has no value.")
    if len(values) > MOST_VALUES:
        raise InvalidInput(f"The search parameter {name} has more than {MOST_VALUES} values.")
    criterion = Criterion(param, modifier, tuple(each for each in values if each))
    _check_values(criterion)
    return criterion


def _check_values(criterion: Criterion) -> None:
    """A value that cannot be read is an error at once, not when the statement is made."""
    if criterion.modifier == "missing":
        if criterion.values not in (("true",), ("false",)):
            raise InvalidInput(f"{criterion.param.name}:missing must be true or false.")
        return
    if criterion.param.name in WORDS and len(criterion.values) > MOST_TEXTS:
        raise InvalidInput(f"{criterion.param.name} takes at most {MOST_TEXTS} alternatives; OR joins words.")
    for value in criterion.values:
        _check_value(criterion, value)


def _check_value(criterion: Criterion, value: str) -> None:
    param, modifier = criterion.param, criterion.modifier
    if param.name in WORDS:
        tsquery(unescaped(value))
    elif modifier in ("in", "not-in"):
        terminology.members(unescaped(value))
    elif modifier in ("above", "below") and param.kind is Kind.TOKEN:
        levels(value, param, above=modifier == "above")
    elif modifier in ("above", "below") and param.kind is Kind.REFERENCE:
        root_of(value, param)
    elif param.kind is Kind.COMPOSITE:
        parts_of(value, param)
    elif param.kind is Kind.DATE:
        dated(value, param.name)
    elif param.kind in (Kind.NUMBER, Kind.QUANTITY):
        measured(value, param.name)
    elif modifier == "of-type" and len(list(split(value, "|"))) != 3:
        raise InvalidInput(f"{param.name}:of-type must be system|code|value.")


def parts_of(value: str, param: Param) -> list[Criterion]:
    """The parts of `8480-6$gt140`, each a criterion of its own; raises InvalidInput (FHIR R4, 3.1.1.4.17)."""
    texts = list(split(value, "$"))
    if len(texts) != len(param.parts) or not all(texts):
        raise InvalidInput(f"{param.name} must have {len(param.parts)} parts, as in a$b.")
    found = []
    for part, text in zip(param.parts, texts, strict=True):
        one = Criterion(Param(param.type, param.name, part.kind, part.path), "", (text,))
        _check_values(one)
        found.append(one)
    return found


def _param(type: ResourceType, name: str) -> Param:
    param = _COLUMNS.get(name) or type.params.get(name)
    if param is None:
        raise UnknownParameter(f"{type.name} has no search parameter of this name here.")
    return param


# Kept as columns of `resource`, of every type (search_sql knows them by name).
_NO_PATH = Path(())
_COLUMNS = {
    "_id": Param("Resource", "_id", Kind.TOKEN, _NO_PATH),
    "_lastUpdated": Param("Resource", "_lastUpdated", Kind.DATE, _NO_PATH),
    "_text": Param("Resource", "_text", Kind.STRING, _NO_PATH),
    "_content": Param("Resource", "_content", Kind.STRING, _NO_PATH),
}
WORDS = frozenset({"_text", "_content"})  # looked up in the words of a resource


_OF_COLUMNS = {
    "_id": frozenset({"missing", "not"}),
    "_lastUpdated": frozenset({"missing"}),
    "_text": frozenset({"missing"}),
    "_content": frozenset({"missing"}),
}


def _check_modifier(param: Param, modifier: str) -> None:
    allowed = _OF_COLUMNS.get(param.name, MODIFIERS[param.kind])
    if not modifier or modifier in allowed:
        return
    if param.kind is Kind.REFERENCE and ("*" in param.targets or modifier in param.targets):
        return
    raise InvalidInput(f"The modifier of {param.name} is not supported.")


def _chain(type: ResourceType, head: str, inner: Callable[[ResourceType], Condition]) -> Chain:
    """A reference to what meets `inner`, of each type that it may lead to and that has such a parameter."""
    head, _, only = head.partition(":")
    param = _param(type, head)
    if param.kind is not Kind.REFERENCE:
        raise InvalidInput(f"{head} is no reference, so nothing can follow it.")
    targets = []
    for target_type in [only] if only else _kept_targets(param):
        if target_type not in types():
            raise InvalidInput("The chain leads to a type that this server does not keep.")
        try:
            targets.append((target_type, inner(resource_type(target_type))))
        except UnknownParameter:
            if only:
                raise
    if not targets:
        raise UnknownParameter("Nothing the reference leads to has a search parameter of this name.")
    return Chain(param, tuple(targets))


def _kept_targets(param: Param) -> Iterator[str]:
    if "*" in param.targets:
        raise InvalidInput(f"{param.name} may lead to any type: name it, as in {param.name}:Patient.")
    return (target for target in param.targets if target in types())


def _has(type: ResourceType, name: str, value: str, links: int) -> Has:
    parts = name.split(":", 3)
    if len(parts) != 4 or parts[1] not in types():
        raise InvalidInput("_has must be _has:Type:reference:parameter.")
    source = resource_type(parts[1])
    if source.name == "AuditEvent":
        raise InvalidInput("AuditEvents are searched by themselves, by their patient.")
    param = _param(source, parts[2])
    if param.kind is not Kind.REFERENCE or not (type.name in param.targets or "*" in param.targets):
        raise InvalidInput(f"{source.name}.{parts[2]} does not refer to {type.name}.")
    return Has(param, condition(source, parts[3], value, links=links + 1))


def _list(type: ResourceType, value: str, links: int) -> Has:
    """R4, 3.1.1.4.3 `_list`: what a List refers to; the List must be one that the caller may search."""
    if value.startswith("$"):
        raise InvalidInput("Functional lists are not supported.")
    owner = resource_type("List")
    return Has(owner.params["item"], condition(owner, "_id", value, links=links + 1))


# Types that form trees, by the reference to what is above (FHIR R4, 3.1.1.4.12: hierarchical references).
HIERARCHIES = {"Encounter": "part-of", "Organization": "partof"}


def root_of(value: str, param: Param) -> Target:
    """Where a tree of `:above` and `:below` begins; raises InvalidInput for a type that forms none."""
    text = unescaped(value)
    found = target(text)
    if found is None and "/" not in text and ":" not in text:
        kept = [each for each in param.targets if each in HIERARCHIES]
        found = Target(kept[0], text) if len(kept) == 1 else None
    if found is None or found.type not in HIERARCHIES:
        names = " and ".join(HIERARCHIES)
        raise InvalidInput(f"{param.name}: :above and :below need a reference to what forms a tree: {names}.")
    return found


def levels(value: str, param: Param, *, above: bool) -> list[tuple[str, str]]:
    """The codes that `:above` or `:below` ask for; raises InvalidInput where the hierarchy is not known."""
    system, bar, code = halves(value)
    system = system if bar else param.system
    if terminology.parted(system):
        codes = terminology.prefixes(system, code) if above else [code]
        return [(system, each) for each in codes]
    return [(system, each) for each in sorted(terminology.subsumed(system, code, above=above))]


def _filtered(type: ResourceType, found: filter_query.Filter, links: int) -> Condition:
    """A `_filter` of a type as conditions (FHIR R4, 3.1.3)."""
    match found:
        case Both():
            return Group(tuple(_filtered(type, each, links) for each in found.parts), found.any)
        case Not():
            return Negated(_filtered(type, found.inner, links))
        case Test():
            return _tested(type, found, links)


def _tested(type: ResourceType, test: Test, links: int) -> Condition:
    if links > MOST_LINKS:
        raise InvalidInput("The chain is too long.")
    step, *rest = test.path
    if not rest:
        if step.filter is not None:
            raise InvalidInput("A filter in brackets stands before a dot: name[filter].name.")
        return _compared(_param(type, "_id" if step.name == "id" else step.name), test.operator, test.value)
    after = Test(tuple(rest), test.operator, test.value)

    def inner(to: ResourceType) -> Condition:
        met = _tested(to, after, links + 1)
        return Group((_filtered(to, step.filter, links + 1), met)) if step.filter is not None else met

    return _chain(type, step.name, inner)


def _compared(param: Param, operator: str, value: str) -> Criterion:
    """`name co "pet"` as a criterion; raises InvalidInput for an operator that this kind of parameter has not."""
    if operator == "pr":
        found = Criterion(param, "missing", ({"true": "false", "false": "true"}.get(value, value),))
    elif param.name == "_id" or param.name in WORDS:
        if (operator, param.name) not in _OF_COLUMNS_OPERATORS:
            raise InvalidInput(f"_filter cannot compare {param.name} so.")
        found = Criterion(param, _OF_COLUMNS_OPERATORS[operator, param.name], (escaped(value),))
    elif operator in _PREFIX_OPERATORS and param.kind in (Kind.DATE, Kind.NUMBER, Kind.QUANTITY):
        found = Criterion(param, "", (operator + value,))
    elif (modifier := _OPERATORS.get(param.kind, {}).get(operator)) is not None:
        text = escaped(value) if param.kind in (Kind.STRING, Kind.URI) else value
        found = Criterion(param, modifier, (text,))
    else:
        raise InvalidInput(f"_filter cannot compare a {param.kind} so.")
    _check_values(found)
    return found


_PREFIX_OPERATORS = frozenset({"eq", "ne", "gt", "lt", "ge", "le", "ap", "sa", "eb"})
_OF_COLUMNS_OPERATORS = {
    ("eq", "_id"): "",
    ("ne", "_id"): "not",
    ("co", "_text"): "",
    ("co", "_content"): "",
}
# Operators of `_filter` as modifiers. `equal`, `unequal`, `ends` and `overlaps` are of no use in a URL.
_OPERATORS: dict[Kind, dict[str, str]] = {
    Kind.STRING: {"eq": "equal", "ne": "unequal", "co": "contains", "sw": "", "ew": "ends"},
    Kind.TOKEN: {"eq": "", "ne": "unequal", "ss": "below", "sb": "above", "in": "in", "ni": "not-in"},
    Kind.REFERENCE: {"eq": "", "re": "", "ne": "unequal", "ss": "below", "sb": "above"},
    Kind.URI: {"eq": "", "ne": "unequal", "sw": "starts", "ss": "below", "sb": "above"},
    Kind.DATE: {"po": "overlaps"},
    Kind.COMPOSITE: {"eq": ""},
}
