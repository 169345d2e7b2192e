"""A resource as JSON text: read without losing anything, written back as it was sent.

FHIR R4, 2.6.2 (JSON): a property appears once, decimals keep their precision (`1.10` is not `1.1`).
"""

from __future__ import annotations

import hashlib
import json
import re
from datetime import UTC, datetime
from typing import Any, NoReturn

import orjson

from server.core.errors import InvalidInput

Json = dict[str, Any]

MAX_DEPTH = 80
# FHIR R4 `string`: no characters below 32 but tab, line feed and carriage return. Surrogates are not characters.
FORBIDDEN_TEXT = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff]")


class Number(float):
    """A JSON number that remembers how it was written."""

    text: str

    def __new__(cls, text: str) -> Number:
        self = super().__new__(cls, text)
        self.text = text
        return self


def parse(body: bytes) -> Json:
    """The JSON object in `body`; raises InvalidInput for anything else, a property that comes twice included."""
    value = parse_any(body)
    if not isinstance(value, dict):
        raise InvalidInput("A JSON object is expected.")
    return value


def parse_any(body: bytes) -> Any:
    """Any JSON value; raises InvalidInput for what is none."""
    try:
        value = json.loads(
            body.decode("utf-8-sig"),
            object_pairs_hook=_object,
            parse_float=_decimal,
            parse_int=_integer,
            parse_constant=_refuse_constant,
        )
        _bounded(value, 0)
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise InvalidInput("The body is not well-formed JSON in UTF-8.") from error
    except RecursionError as error:
        raise InvalidInput("The JSON is nested too deeply.") from error
    return value


def load(stored: bytes) -> Json:
    """A resource that this server wrote, for reading it; precision of decimals is not kept."""
    value: Json = orjson.loads(stored)
    return value


def load_exact(stored: bytes) -> Json:
    """A resource that this server wrote, to be changed and written again."""
    value: Json = json.loads(stored, parse_float=_decimal, parse_int=_integer)
    return value


def dump(value: Any, *, pretty: bool = False) -> bytes:
    """JSON text of it; numbers that were parsed are written as they came."""
    return orjson.dumps(value, default=_as_written, option=orjson.OPT_INDENT_2 if pretty else None)


def identified(resource: Json, *, id: str, version: int, last_updated: datetime) -> Json:
    """The same resource with the id and meta that the server gives; everything else is left as it was sent."""
    meta = {
        **resource.get("meta", {}),
        "versionId": str(version),
        "lastUpdated": instant(last_updated),
    }
    rest = {key: value for key, value in resource.items() if key not in ("resourceType", "id", "meta")}
    return {"resourceType": resource["resourceType"], "id": id, "meta": meta, **rest}


def instant(moment: datetime) -> str:
    """FHIR `instant`, in UTC with milliseconds."""
    # Without its zone, which takes as long to write as all the rest.
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat("T", "milliseconds") + "Z"


def content_hash(resource: Json) -> bytes:
    """SHA-256 of what a new version would say differently: everything less id, versionId and lastUpdated."""
    meta = {k: v for k, v in resource.get("meta", {}).items() if k not in ("versionId", "lastUpdated")}
    content = {k: v for k, v in resource.items() if k not in ("id", "meta")}
    plain = orjson.dumps([meta, content], default=_as_written, option=orjson.OPT_SORT_KEYS)
    return hashlib.sha256(plain).digest()


def _object(pairs: list[tuple[str, Any]]) -> Json:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise InvalidInput("A property comes twice in one JSON object.")
    return value


def _decimal(text: str) -> Number:
    number = Number(text)
    if number in (float("inf"), float("-inf")):
        raise InvalidInput("A number is too large.")
    return number


def _integer(text: str) -> int | Number:
    return int(text) if len(text) < 16 else _decimal(text)


def _refuse_constant(text: str) -> NoReturn:
    raise InvalidInput("NaN and Infinity are not JSON.")


def _as_written(value: Any) -> Any:
    if isinstance(value, Number):
        return orjson.Fragment(value.text)
    raise TypeError


def _bounded(value: Any, depth: int) -> None:
    """Refuses what is nested too deeply, and characters that no FHIR string may have."""
    if depth > MAX_DEPTH:
        raise InvalidInput("The JSON is nested too deeply.")
    if isinstance(value, dict):
        for key, member in value.items():
            _bounded(key, depth + 1)
            _bounded(member, depth + 1)
    elif isinstance(value, list):
        for member in value:
            _bounded(member, depth + 1)
    elif isinstance(value, str) and FORBIDDEN_TEXT.search(value):
        raise InvalidInput("A text contains a control character or half of a character.")
