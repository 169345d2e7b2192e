"""From a search to a condition of the statement: the only place where QIDO keys become SQL.

DICOM PS3.18, 10.6.1.2; PS3.4, C.2.2.2. Columns come from `imaging.columns`; what was asked for is never part of
the text, only of the values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from server.imaging.columns import Column, Kind, Level, column, infix_trigrams
from server.imaging.text import fold, name_words, trigrams
from server.storage.where import FALSE, Where, all_of, any_of

from .qido_params import Match, QidoQuery
from .qido_values import Between, Empty, Equals, Like, Test

_NUMBERS = frozenset({"DS", "IS", "US", "SS", "UL", "SL", "UV", "SV", "FL", "FD"})
# Date and time that are matched as one moment when both are given (PS3.4, C.2.2.2.5: combined matching).
_MOMENTS = {
    ("00080020",): ("00080030",),
    ("00080021",): ("00080031",),
    ("00080022",): ("00080032",),
    ("00080023",): ("00080033",),
    ("00400244",): ("00400245",),
}


def where(query: QidoQuery, level: Level) -> Where:
    """Every key of the query, as a condition over the rows of `level`."""
    matches, moments = _moments(query.matches)
    conditions = [_condition(match, column(level, match.path), fuzzy=query.fuzzy) for match in matches]
    conditions += [
        _moment(column(level, day.path), column(level, time.path), day, time) for day, time in moments
    ]
    return all_of(*conditions)


def _condition(match: Match, at: Column, *, fuzzy: bool) -> Where:
    valued = tuple(test for test in match.any_of if not isinstance(test, Empty))
    found = [_valued(replace(match, any_of=valued), at, fuzzy=fuzzy)] if valued else []
    if len(valued) < len(match.any_of):
        found.append(_empty(at))
    return _below(at, any_of(*found))


def _below(at: Column, condition: Where) -> Where:
    """The condition, asked of the rows of a level below that of the search where it belongs there."""
    return Where(f"{at.below}({condition.sql}))", condition.values) if at.below else condition


def _empty(at: Column) -> Where:
    match at.kind:
        case Kind.OTHER:
            found = f"EXISTS (SELECT FROM {at.sql} AS found(value) WHERE found.value <> '')"
            return ~Where(found, at.values)
        case Kind.LIST:
            return Where(f"{at.sql} = '{{}}'")
        case Kind.NUMBER:
            return Where(f"{at.sql} IS NULL")
        case _:
            return Where(f"{at.sql} = ''")


def _valued(match: Match, at: Column, *, fuzzy: bool) -> Where:
    match at.kind:
        case Kind.NAME:
            return _names(match.any_of, at, fuzzy=fuzzy)
        case Kind.OTHER:
            return _elsewhere(match, at, fuzzy=fuzzy)
        case Kind.LIST:
            return _lists(match.any_of, at)
        case Kind.NUMBER:
            return _numbers(match.any_of, at)
        case Kind.FOLDED:
            return _texts(match.any_of, at.sql, fold)
        case _:
            return _texts(match.any_of, at.sql, str)


def _texts(tests: Iterable[Test], sql: str, fit: Callable[[str], str]) -> Where:
    """Single values, of which there may be a thousand, in one array; wildcards one by one."""
    values = [fit(test.value) for test in tests if isinstance(test, Equals)]
    conditions = [
        Where(f"{sql} LIKE :qido_like", {"qido_like": like(fit(test.pattern))}) for test in _likes(tests)
    ]
    conditions += [_between(test, sql) for test in tests if isinstance(test, Between)]
    if values:
        conditions.append(_one_of(sql, values))
    return any_of(*conditions)


def _one_of(sql: str, values: list[str]) -> Where:
    if len(values) == 1:
        return Where(f"{sql} = :qido_value::text", {"qido_value": values[0]})
    return Where(f"{sql} = ANY(:qido_values::text[])", {"qido_values": values})


def _between(test: Between, sql: str) -> Where:
    """A range never holds an empty value (PS3.4, C.2.2.2.5)."""
    bounds = [Where(f"{sql} <> ''")]
    if test.low is not None:
        bounds.append(Where(f"{sql} >= :qido_low", {"qido_low": test.low}))
    if test.high is not None:
        bounds.append(Where(f"{sql} <= :qido_high", {"qido_high": test.high}))
    return all_of(*bounds)


def _numbers(tests: Iterable[Test], at: Column) -> Where:
    """Whole numbers; one with a fraction, or beyond any, equals none."""
    asked = {float(test.value) for test in tests if isinstance(test, Equals)}
    whole = sorted(int(each) for each in asked if each.is_integer() and abs(each) < 2**31)
    return Where(f"{at.sql} = ANY(:qido_numbers::int[])", {"qido_numbers": whole}) if whole else FALSE


def _lists(tests: Iterable[Test], at: Column) -> Where:
    values = [test.value for test in tests if isinstance(test, Equals)]
    conditions = [
        Where(
            f"EXISTS (SELECT FROM unnest({at.sql}) AS element(value) WHERE element.value LIKE :qido_like)",
            {"qido_like": like(test.pattern)},
        )
        for test in _likes(tests)
    ]
    if values:
        conditions.append(Where(f"{at.sql} && :qido_values::text[]", {"qido_values": values}))
    return any_of(*conditions)


def _names(tests: Iterable[Test], at: Column, *, fuzzy: bool) -> Where:
    """Person names: any of the groups, case and accents aside (PS3.4, C.2.2.2.1 leaves both to us)."""
    found = _fuzzy if fuzzy else _name
    return any_of(*(found(_asked(test), at) for test in tests))


def _name(pattern: str, at: Column) -> Where:
    return all_of(*_narrowed(infix_trigrams(pattern), at), _name_like(pattern, at))


def _name_like(pattern: str, at: Column) -> Where:
    """The pattern, asked of each group of the name apart."""
    asked = fold(pattern).rstrip("^= ")
    text = asked.strip("*")
    if asked.endswith("*") and text and not set(text) & set("*?="):
        return _begins_or_holds(text, at, anywhere=asked.startswith("*"))
    groups = f"unnest(string_to_array({at.sql}, '='))" if "=" not in asked else f"unnest(ARRAY[{at.sql}])"
    compared = "rtrim(part.value, '^ ')" if not pattern.endswith("*") else "part.value"
    return Where(
        f"EXISTS (SELECT FROM {groups} AS part(value) WHERE {compared} LIKE :qido_like)",
        {"qido_like": like(asked)},
    )


def _begins_or_holds(text: str, at: Column, *, anywhere: bool) -> Where:
    """`text*` and `*text*`: the same of all groups at once, which the planner knows how often to expect."""
    if anywhere:
        return Where(f"{at.sql} LIKE :qido_like", {"qido_like": f"%{_escaped(text)}%"})
    first = Where(f"{at.sql} LIKE :qido_like", {"qido_like": f"{_escaped(text)}%"})
    return first | Where(f"{at.sql} LIKE :qido_later", {"qido_later": f"%={_escaped(text)}%"})


def _fuzzy(text: str, at: Column) -> Where:
    """Each word that is asked for begins a word of the name."""
    words = name_words(text.replace("*", " ").replace("?", " "))
    begins = [
        Where(
            f"EXISTS (SELECT FROM unnest({at.words}) AS word(value) WHERE word.value LIKE :qido_like)",
            {"qido_like": _escaped(word) + "%"},
        )
        for word in words
    ]
    return all_of(*_narrowed(trigrams(words), at), *begins)


def _narrowed(required: list[str], at: Column) -> list[Where]:
    """What an index can answer before each row is looked at."""
    if not (at.trigrams and required):
        return []
    return [Where(f"{at.trigrams} @> :qido_trigrams::text[]", {"qido_trigrams": required})]


def _elsewhere(match: Match, at: Column, *, fuzzy: bool) -> Where:
    """An attribute that has no column: any of its values in the stored DICOM JSON."""
    if match.vr == "PN":
        condition = any_of(*(_name_elsewhere(test, fuzzy) for test in match.any_of))
    else:
        condition = any_of(_value_elsewhere(match))
    inside = f"EXISTS (SELECT FROM {at.sql} AS found(value) WHERE {condition.sql})"
    return Where(inside, {**condition.values, **at.values})


def _value_elsewhere(match: Match) -> Where:
    if match.vr in _NUMBERS:
        return _numbers_elsewhere(match.any_of)
    sql = {
        "DA": "replace(found.value, '.', '')",
        "TM": "rpad(translate(found.value, '.: ', ''), 12, '0')",
        "DT": "rpad(replace(split_part(split_part(found.value, '+', 1), '-', 1), '.', ''), 20, '0')",
    }.get(match.vr, "found.value")
    return _texts(match.any_of, sql, str)


def _numbers_elsewhere(tests: Iterable[Test]) -> Where:
    values = [test.value for test in tests if isinstance(test, Equals)]
    return Where(
        # So many digits that none is beyond what the type holds: stored text is as it came.
        "CASE WHEN found.value ~ '^[+-]?[0-9]{1,200}([.][0-9]{0,200})?([eE][+-]?[0-9]{1,2})?$'"
        " THEN found.value::float8 ELSE NULL END = ANY(:qido_floats::float8[])",
        {"qido_floats": [float(value) for value in values]},
    )


# `text.fold` as far as the database can: what combines with another character is taken away.
_COMBINING = (
    r"[\u0300-\u036f\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u064b-\u065f\u0670\u0e38-\u0e3a"
    r"\u0e48-\u0e4b\u3099\u309a]"
)
_FOLDED = (
    f"replace(lower(normalize(regexp_replace(normalize(found.value, NFKD), '{_COMBINING}', '', 'g'), NFC)),"
    " 'ß', 'ss')"
)


def _name_elsewhere(test: Test, fuzzy: bool) -> Where:
    text = fold(_asked(test))
    if not fuzzy:
        return Where(
            f"EXISTS (SELECT FROM unnest(string_to_array({_FOLDED}, '=')) AS part(value)"
            " WHERE part.value LIKE :qido_like)",
            {"qido_like": like(text)},
        )
    words = [word for word in text.replace("*", " ").replace("^", " ").split() if word]
    return all_of(
        *(
            Where(
                f"EXISTS (SELECT FROM regexp_split_to_table({_FOLDED}, '[^[:alnum:]]+') AS word(value)"
                " WHERE word.value LIKE :qido_like)",
                {"qido_like": _escaped(word) + "%"},
            )
            for word in words
        )
    )


def _moments(matches: tuple[Match, ...]) -> tuple[list[Match], list[tuple[Match, Match]]]:
    """Pairs of a date range and a time range that are one range of moments, apart from all other keys."""
    by_path = {
        match.path: match for match in matches if len(match.any_of) == 1 and _is_range(match.any_of[0])
    }
    pairs = [
        (by_path[day], by_path[time]) for day, time in _MOMENTS.items() if day in by_path and time in by_path
    ]
    paired = {each.path for pair in pairs for each in pair}
    return [match for match in matches if match.path not in paired], pairs


def _moment(day_at: Column, time_at: Column, day: Match, time: Match) -> Where:
    """From the first day at the first time to the last day at the last time."""
    days, times = day.any_of[0], time.any_of[0]
    assert isinstance(days, Between)  # _moments chose them
    assert isinstance(times, Between)
    if Kind.OTHER in (day_at.kind, time_at.kind) or day_at.below != time_at.below:
        return _condition(day, day_at, fuzzy=False) & _condition(time, time_at, fuzzy=False)
    low = days.low and days.low + (times.low or "0" * 12)
    high = days.high and days.high + (times.high or "9" * 12)
    condition = _between(days, day_at.sql) & _between(Between(low, high), f"({day_at.sql} || {time_at.sql})")
    return _below(day_at, condition)


def like(pattern: str) -> str:
    """`*` and `?` as SQL has them; what SQL would take for a wildcard, escaped."""
    return _escaped(pattern).replace("*", "%").replace("?", "_")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


def _likes(tests: Iterable[Test]) -> list[Like]:
    return [test for test in tests if isinstance(test, Like)]


def _asked(test: Test) -> str:
    """The text of a test of a name, which is never a range."""
    return test.value if isinstance(test, Equals) else test.pattern if isinstance(test, Like) else ""


def _is_range(test: Test) -> bool:
    return isinstance(test, Between)
