"""A naive reading of how FHIR R4 searches, in plain Python over the JSON: it knows nothing of index or statement.

FHIR R4, 3.1.1.4 and 3.1.3. Each sentence of the specification is taken at its word.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

Json = dict[str, Any]
Elements = Callable[[Json], list[Any]]

PREFIXES = ("eq", "ne", "gt", "lt", "ge", "le", "sa", "eb", "ap")
BASE = "http://x/fhir"
ENDS = (datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC))
# The hierarchies and value sets that the generated codes come from, as R4 defines them.
BELOW = {
    "http://hl7.org/fhir/observation-status": {"amended": {"amended", "corrected"}},
    "urn:ietf:bcp:13": {},
}
STATUSES = {
    "registered",
    "preliminary",
    "final",
    "amended",
    "corrected",
    "cancelled",
    "entered-in-error",
    "unknown",
}
VALUE_SETS = {
    "http://hl7.org/fhir/ValueSet/observation-status": {
        (system, code) for system in BELOW for code in STATUSES
    },
    "http://hl7.org/fhir/ValueSet/observation-category": {
        ("http://terminology.hl7.org/CodeSystem/observation-category", code)
        for code in ("vital-signs", "laboratory", "imaging", "exam")
    },
}


@dataclass(frozen=True)
class Parameter:
    """Kind of a parameter and the elements it looks at."""

    kind: str
    elements: Elements


@dataclass(frozen=True)
class World:
    """All resources there are, by `Type/id`, and the parameters of each type."""

    resources: Mapping[str, Json]
    parameters: Mapping[str, Mapping[str, Parameter]]
    now: datetime

    def of(self, type: str) -> list[Json]:
        return [each for each in self.resources.values() if each["resourceType"] == type]

    def matches(self, resource: Json, name: str, value: str) -> bool:
        """Whether `name=value` finds the resource."""
        if name.startswith("_has:"):
            _, type, reference, rest = name.split(":", 3)
            here = f"{resource['resourceType']}/{resource['id']}"
            referring = [o for o in self.of(type) if here in self.references(o, reference)]
            return any(self.matches(other, rest, value) for other in referring)
        if name == "_list":
            here = f"{resource['resourceType']}/{resource['id']}"
            listed = [one for one in self.of("List") if one["id"] == value]
            return any(here == entry["item"]["reference"] for one in listed for entry in one["entry"])
        if "." in name:
            head, _, rest = name.partition(".")
            head, _, only = head.partition(":")
            led_to = [self.resources.get(each) for each in self.references(resource, head)]
            return any(
                self.matches(other, rest, value)
                for other in led_to
                if other is not None and only in ("", other["resourceType"])
            )
        name, _, modifier = name.partition(":")
        return self.tested(resource, name, modifier, split(value, ","))

    def references(self, resource: Json, name: str) -> list[str]:
        elements = self.parameters[resource["resourceType"]][name].elements(resource)
        return [each.get("reference", "").removeprefix(f"{BASE}/") for each in elements]

    def tested(self, resource: Json, name: str, modifier: str, wanted: list[str]) -> bool:
        parameter = self.parameters[resource["resourceType"]][name]
        found = parameter.elements(resource)
        if modifier == "missing":
            return (not found) == (wanted == ["true"])
        if modifier in ("not", "not-in"):
            return not self.tested(resource, name, "in" if modifier == "not-in" else "", wanted)
        return any(
            self.one(parameter.kind, element, value, modifier) for element in found for value in wanted
        )

    def one(self, kind: str, element: Any, value: str, modifier: str) -> bool:
        match kind:
            case "token":
                return token(element, value, modifier)
            case "string":
                return string(element, plain(value), modifier)
            case "date":
                return date(element, value, self.now, modifier)
            case "quantity":
                return quantity(element, value)
            case "reference":
                return self.reference(element, value, modifier)
            case "uri":
                return uri(element, plain(value), modifier)
            case "words":
                return words_in(element, plain(value))
        parts = zip(kind.split("$"), element, split(value, "$"), strict=True)
        return all(any(self.one(k, each, part, "") for each in elements) for k, elements, part in parts)

    def reference(self, element: Json, value: str, modifier: str) -> bool:
        if modifier == "identifier":
            return "identifier" in element and token(element["identifier"], value, "")
        value = plain(value)
        text = element.get("reference", "").removeprefix(f"{BASE}/")
        value = value.removeprefix(f"{BASE}/")
        if modifier in ("above", "below"):
            value = value if "/" in value else f"Encounter/{value}"
            return text in self.tree(value, modifier)
        if modifier:
            return text == f"{modifier}/{value}"
        return text == value or (
            "/" not in value and not text.startswith("http") and text.endswith(f"/{value}")
        )

    def tree(self, root: str, modifier: str) -> set[str]:
        found, before = {root}, set[str]()
        while found != before:
            before = set(found)
            for name, each in self.resources.items():
                up = each.get("partOf", {}).get("reference") if each["resourceType"] == "Encounter" else None
                if up is not None and modifier == "below" and up in found:
                    found.add(name)
                if up is not None and modifier == "above" and name in found:
                    found.add(up)
        return found


def split(text: str, sign: str) -> list[str]:
    parts, part = [], ""
    rest = iter(text)
    for char in rest:
        if char == "\\":
            part += char + next(rest)
        elif char == sign:
            parts.append(part)
            part = ""
        else:
            part += char
    return [*parts, part]


def plain(text: str) -> str:
    for sign in (",", "|", "$", "\\"):
        text = text.replace(f"\\{sign}", sign)
    return text


def token(element: Json, value: str, modifier: str) -> bool:
    if modifier == "text":
        wanted = folded(plain(value))
        texts = [folded(text) for text in element.get("texts", [])]
        return any(text.startswith(wanted) or f" {wanted}" in text for text in texts)
    if "code" not in element and "value" not in element:
        return False
    code, system = element.get("code", element.get("value")), element.get("system", "")
    if modifier == "of-type":
        of_system, of_code, of_value = map(plain, split(value, "|"))
        codings = element.get("type", {}).get("coding", [])
        return code == of_value and {"system": of_system, "code": of_code} in codings
    if modifier == "in":
        return (system, code) in VALUE_SETS[plain(value)]
    *before, wanted_code = map(plain, split(value, "|"))
    bar, wanted_system = bool(before), "".join(before)
    if modifier in ("above", "below"):
        return (not bar or system == wanted_system) and subsumes(system, code, wanted_code, modifier)
    if not bar:
        return bool(code == plain(value))
    return wanted_system == system and wanted_code in ("", code)


def subsumes(system: str, code: str, wanted: str, modifier: str) -> bool:
    if system == "urn:ietf:bcp:13":
        high, low = (wanted, code) if modifier == "below" else (code, wanted)
        return low == high or low.startswith((f"{high}/", f"{high};"))
    tree = BELOW.get(system, {})
    if modifier == "below":
        return code in tree.get(wanted, {wanted})
    return wanted in tree.get(code, {code})


def folded(text: str) -> str:
    return text.lower().replace("å", "a").replace("ö", "o")


def string(element: str, wanted: str, modifier: str) -> bool:
    if modifier == "exact":
        return element == wanted
    if modifier == "contains":
        return folded(wanted) in folded(element)
    return folded(element).startswith(folded(wanted))


def words_in(text: str, wanted: str) -> bool:
    """One word, or several that are all there."""
    there = folded("".join(char if char.isalnum() else " " for char in text)).split()
    return all(folded(each) in there for each in wanted.split())


def span(text: str) -> tuple[datetime, datetime]:
    if len(text) == 4:
        return datetime(int(text), 1, 1, tzinfo=UTC), datetime(int(text) + 1, 1, 1, tzinfo=UTC)
    if len(text) == 7:
        year, month = int(text[:4]), int(text[5:])
        return datetime(year, month, 1, tzinfo=UTC), datetime(
            year + month // 12, month % 12 + 1, 1, tzinfo=UTC
        )
    moment = datetime.fromisoformat(text)
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if len(text) == 10:
        return moment, moment + timedelta(days=1)
    return moment, moment + (timedelta(milliseconds=100) if "." in text else timedelta(seconds=1))


def period(element: Json) -> tuple[datetime, datetime]:
    low = span(element["start"])[0] if "start" in element else ENDS[0]
    return low, span(element["end"])[1] if "end" in element else ENDS[1]


def prefix_of(value: str) -> tuple[str, str]:
    return (value[:2], value[2:]) if value[:2] in PREFIXES else ("eq", value)


def date(element: tuple[datetime, datetime], value: str, now: datetime, modifier: str) -> bool:
    prefix, text = prefix_of(value)
    (low, high), (start, end) = element, span(text)
    if modifier == "overlaps":
        return low < end and high > start
    inside = start <= low and high <= end
    about = abs(now - start) / 10
    return {
        "eq": inside, "ne": not inside, "gt": high > end, "lt": low < start, "ge": high > end or inside,
        "le": low < start or inside, "sa": low >= end, "eb": high <= start,
        "ap": low < end + about and high > start - about,
    }[prefix]  # fmt: skip


def quantity(element: Json, value: str) -> bool:
    number, *unit = split(value, "|")
    if unit and not same_unit(element, *unit):
        return False
    prefix, text = prefix_of(number)
    wanted = Decimal(text)
    low = high = Decimal(str(element["value"]))
    low = Decimal("-Infinity") if element.get("comparator") == "<" else low
    high = Decimal("Infinity") if element.get("comparator") == ">" else high
    half = Decimal(5).scaleb(int(wanted.as_tuple().exponent) - 1)
    inside = wanted - half <= low and high < wanted + half
    tenth = abs(wanted) / 10
    return bool(
        {
            "eq": inside, "ne": not inside, "gt": high > wanted, "sa": low > wanted, "lt": low < wanted,
            "eb": high < wanted, "ge": high >= wanted, "le": low <= wanted,
            "ap": low <= wanted + tenth and high >= wanted - tenth,
        }[prefix]
    )  # fmt: skip


def same_unit(element: Json, system: str, code: str) -> bool:
    if system:
        return element.get("system") == system and code in ("", element.get("code"))
    return code in (element.get("code"), element.get("unit"))


def uri(element: str, value: str, modifier: str) -> bool:
    if modifier == "below":
        return element.startswith(value)
    if modifier == "above":
        return element == value or value.startswith(element if element.endswith("/") else f"{element}/")
    return element == value


def texts_of(resource: Any) -> Iterator[str]:
    """The texts of a generated resource that are no addresses, ids or files."""
    if isinstance(resource, str):
        yield resource
    elif isinstance(resource, dict):
        for name, member in resource.items():
            if name not in ("id", "resourceType", "reference", "system", "url", "meta", "contentType", "div"):
                yield from texts_of(member)
    elif isinstance(resource, list):
        for member in resource:
            yield from texts_of(member)
