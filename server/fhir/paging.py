"""Paging links: the query and the position of the last row, sealed with the server's own key.

FHIR R4, 3.1.1.5.4 and 3.1.0.10: opaque to the client. A link shows nobody what was searched for, cannot be altered,
and gives nothing by itself: the search is run again for whoever follows it, with that caller's reach.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import orjson

from server.core.errors import InvalidInput
from server.storage.keyring import KeyRing

from .call import Call

Pairs = Sequence[tuple[str, str]]
_CONTEXT = b"fhir paging link"


@dataclass(frozen=True)
class Page:
    """Where a search goes on."""

    path: str  # 'ImagingStudy', 'Patient/1/_history' …: a link works at its own address only
    pairs: tuple[tuple[str, str], ...]
    position: tuple[Any, ...]
    offset: int = 0


def seal(keyring: KeyRing, page: Page) -> str:
    """The page as text for a URL."""
    plain = orjson.dumps(
        [page.path, page.pairs, [_plain(value) for value in page.position], page.offset],
    )
    return urlsafe_b64encode(keyring.seal(None, plain, _CONTEXT)).decode().rstrip("=")


def open_page(keyring: KeyRing, text: str, path: str) -> Page:
    """The page behind a link; raises InvalidInput for one that this server did not make for this address."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        made_for, pairs, position, offset = orjson.loads(keyring.open(None, sealed, _CONTEXT))
    except Exception as error:
        raise InvalidInput("The paging link is not one of this server.") from error
    if made_for != path:
        raise InvalidInput("The paging link is not one of this address.")
    return Page(made_for, tuple((n, v) for n, v in pairs), tuple(map(_value, position)), offset)


def own_links(call: Call, path: str, used: Pairs, page: Page | None) -> list[tuple[str, str]]:
    """The address of this page; of one that goes on also that of the search itself (FHIR R4, 3.1.1.5.4)."""
    query = urlencode(list(used), safe=":,|/*$")
    first = "/".join(part for part in (call.base, path) if part) + (f"?{query}" if query else "")
    return [("self", first)] if page is None else [("self", page_address(call, page)), ("first", first)]


def page_address(call: Call, page: Page) -> str:
    """The address of a page that goes on."""
    place = "/".join(part for part in (call.base, page.path) if part)
    return f"{place}?_page={seal(call.services.keyring, page)}"


def _plain(value: Any) -> Any:
    if isinstance(value, datetime):
        return {"at": value.isoformat()}
    if isinstance(value, Decimal):
        return {"number": str(value)}
    return value


def _value(plain: Any) -> Any:
    if not isinstance(plain, dict):
        return plain
    return datetime.fromisoformat(plain["at"]) if "at" in plain else Decimal(plain["number"])
