"""The filters a scope may have are ones the search index knows: else they would open nothing without a word."""

import pytest

from server.access.scopes import DATES, FILTERS
from server.records.registry import Kind, types


@pytest.mark.parametrize(
    ("type", "param"), [(type, param) for type in FILTERS for param in sorted(FILTERS[type])]
)
def test_a_filter_is_a_token_of_the_registry(type: str, param: str) -> None:
    if type not in types() or type == "ImagingStudy":  # studies are asked by their columns
        return
    assert param not in DATES
    assert types()[type].params[param].kind is Kind.TOKEN
