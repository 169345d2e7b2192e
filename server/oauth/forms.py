"""Reading what a form or a query sends (RFC 6749, appendix B): each parameter once, of bounded size."""

from __future__ import annotations

from urllib.parse import parse_qsl

from starlette.requests import Request

from server.core.errors import TooLarge

from .problem import InvalidRequest

MOST_BYTES = 128 * 1024
_KIND = "application/x-www-form-urlencoded"


async def read_pairs(request: Request) -> list[tuple[str, str]]:
    """The fields of a posted form, in order. Raises InvalidRequest, TooLarge."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != _KIND:
        raise InvalidRequest(f"The body must be {_KIND}.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge("The form is too large.")
    try:
        return parse(body.decode("ascii"))
    except UnicodeDecodeError as exc:
        raise InvalidRequest("The form is not well encoded.") from exc


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a posted form; one that is repeated is refused (RFC 6749, 3.2)."""
    return once(await read_pairs(request))


def parse(text: str) -> list[tuple[str, str]]:
    """The pairs of a query; raises InvalidRequest when they cannot be read."""
    try:
        pairs = parse_qsl(text, keep_blank_values=True, errors="strict", max_num_fields=1000)
    except ValueError as exc:
        raise InvalidRequest("The parameters are not well encoded.") from exc
    if any("\0" in name or "\0" in value for name, value in pairs):
        raise InvalidRequest("The parameters are not well encoded.")
    return pairs


def once(pairs: list[tuple[str, str]]) -> dict[str, str]:
    """As a mapping; raises InvalidRequest for a repeated one. Empty values count as absent (RFC 6749, 3.1)."""
    values: dict[str, str] = {}
    for name, value in pairs:
        if name in values and name != "resource":
            raise InvalidRequest("A parameter is given twice.")
        values[name] = value
    return {name: value for name, value in values.items() if value}
