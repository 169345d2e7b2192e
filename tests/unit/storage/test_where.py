"""Conditions joined in any order keep each value at its own place."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from server.storage.sql import Statement
from server.storage.where import Where, any_of

leaves = st.builds(
    lambda name, value: (Where(f"(:{name})", {name: value}), [value]),
    st.sampled_from(["x", "x_", "x__", "y"]),
    st.integers(0, 5),
)


@given(
    st.recursive(
        leaves,
        lambda inner: st.tuples(inner, inner).map(
            lambda pair: (pair[0][0] & pair[1][0], pair[0][1] + pair[1][1])
        ),
        max_leaves=12,
    ),
    st.dictionaries(st.sampled_from(["x", "y", "x_"]), st.integers(0, 5), max_size=2),
)
def test_names_never_clash(condition: tuple[Where, list[int]], others: dict[str, int]) -> None:
    """Read back from left to right, the places hold the values that went in."""
    where, expected = condition
    statement = Statement("one", " ".join(f":{name}" for name in others) + " {part}")
    text, args = statement.bind(others, part=where)
    places = [int(word.strip("()").lstrip("$")) for word in text.replace("AND", " ").split()]
    assert [args[place - 1] for place in places] == [*others.values(), *expected]


def test_names_stay_short() -> None:
    """However many conditions have the same name: a search may have thousands."""
    condition = any_of(*(Where("code = :code", {"code": number}) for number in range(3000)))
    assert max(map(len, condition.values)) < 12
    assert sorted(condition.values.values()) == list(range(3000))
