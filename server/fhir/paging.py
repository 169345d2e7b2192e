"""Paging links: the query and the position of the last row, sealed with the server's own key.

FHIR R4, 3.1.1.5.4 and 3.1.0.10: opaque to the client. A link shows nobody what was searched for, cannot be altered,
and gives nothing by itself: the search is run again for whoever follows it, with that caller's reach.
"""

from __future__ import annotations

from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal
from typing import Any
from urllib.parse import urlencode

import orjson

from server.core.errors import InvalidInput
from server.storage.keyring import KeyRing

from .call import Call

Pairs = Sequence[tuple[str, str]]
Position = tuple[Any, ...]
_CONTEXT = b"fhir paging link"
MOST_BACK = 20  # pages that `previous` leads back: a link must stay short enough for an address
MOST_BACK_TEXT = 1500  # characters of their positions


@dataclass(frozen=True)
class Page:
    """Where a search goes on."""

    path: str  # 'ImagingStudy', 'Patient/1/_history' …: a link works at its own address only
    pairs: tuple[tuple[str, str], ...]
    position: Position
    offset: int = 0
    back: tuple[tuple[Position, int], ...] = ()  # where the pages before it begin, the latest last


def seal(keyring: KeyRing, page: Page) -> str:
    """The page as text for a URL."""
    back = [[list(map(_plain, position)), offset] for position, offset in page.back]
    plain = orjson.dumps([page.path, page.pairs, list(map(_plain, page.position)), page.offset, back])
    return urlsafe_b64encode(keyring.seal(None, plain, _CONTEXT)).decode().rstrip("=")


def open_page(keyring: KeyRing, text: str, path: str) -> Page:
    """The page behind a link; raises InvalidInput for one that this server did not make for this address."""
    try:
        sealed = urlsafe_b64decode(text + "=" * (-len(text) % 4))
        made_for, pairs, position, offset, back = orjson.loads(keyring.open(None, sealed, _CONTEXT))
    except Exception as error:
        raise InvalidInput("The paging link is not one of this server.") from error
    if made_for != path:
        raise InvalidInput("The paging link is not one of this address.")
    before = tuple((tuple(map(_value, place)), number) for place, number in back)
    return Page(made_for, tuple((n, v) for n, v in pairs), tuple(map(_value, position)), offset, before)


def links_of(
    call: Call, path: str, used: Pairs, page: Page | None, following: Position | None, *, offset: int = 0
) -> list[tuple[str, str]]:
    """self, and where there are others first, previous and next (FHIR R4, 3.1.0.10 and 3.1.1.5.4).

    `following` is the position after which the next page begins; None on the last one.
    """
    query = urlencode(list(used), safe=":,|/*$")
    first = "/".join(part for part in (call.base, path) if part) + (f"?{query}" if query else "")
    links = [("self", first if page is None else page_address(call, page))]
    if page is not None:
        links.append(("first", first))
    if page is not None and page.back:
        position, begun = page.back[-1]
        before = replace(page, position=position, offset=begun, back=page.back[:-1])
        links.append(("previous", page_address(call, before) if position or begun else first))
    if following is not None:
        here: tuple[tuple[Position, int], ...] = (((), 0),)
        if page is not None:
            here = _short((*page.back, (page.position, page.offset))[-MOST_BACK:])
        links.append(("next", page_address(call, Page(path, tuple(used), following, offset, here))))
    return links


def _short(back: tuple[tuple[Position, int], ...]) -> tuple[tuple[Position, int], ...]:
    """As much of the way back as goes into a link beside what it must hold: long texts may be sorted by."""
    while sum(len(str(place)) for place in back) > MOST_BACK_TEXT:
        back = back[1:]
    return back


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
