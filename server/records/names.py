"""What a HumanName says, whatever it leaves out.

FHIR R4, HumanName; 2.6.2.3: where a part of a name has extensions and no value, the array of JSON holds null for it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def givens(name: Mapping[str, Any]) -> list[str]:
    """The given names that have a value."""
    return [each for each in name.get("given") or () if isinstance(each, str)]


def spoken(name: Mapping[str, Any]) -> str:
    """The name as it is said: its text, or its parts; empty where it has neither."""
    return str(name.get("text") or " ".join([*givens(name), name.get("family") or ""])).strip()
