"""Forms: what was typed, and what is wrong with it. Parsed once into values; the page shows both again.

HTML Living Standard 4.10.21 (application/x-www-form-urlencoded and multipart/form-data).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field
from datetime import date
from typing import Any
from urllib.parse import urlsplit

import orjson
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import FormParser, MultiPartException, MultiPartParser
from starlette.requests import Request

from server.core import clock
from server.core.errors import InvalidInput, ServerError, TooLarge, UnsupportedMediaType
from server.core.texts import N_

from .pages import wants_json

MOST_FIELDS = 1000
MOST_BYTES = 256 * 1024
MOST_JSON_BYTES = 64 * 1024

REQUIRED = N_("This is needed.")
NOT_A_DATE = N_("This is not a date: write the day, the month and the year.")
IN_THE_FUTURE = N_("This date lies in the future.")
NOT_OFFERED = N_("Choose one of the answers.")


@dataclass(frozen=True)
class Upload:
    """A file that came with a form: its name as the sender says, and its content."""

    name: str
    content: bytes


@dataclass
class Form:
    """The values of one submitted form (or of an empty one), and the errors found by field; "" is the whole form."""

    values: dict[str, str] = field(default_factory=dict)
    lists: dict[str, list[str]] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    files: list[Upload] = field(default_factory=list)

    def __bool__(self) -> bool:
        return not self.errors

    def __getitem__(self, name: str) -> str:
        return self.values.get(name, "")

    def all(self, name: str) -> list[str]:
        """Every value of a field that may come more than once (checkboxes)."""
        return self.lists.get(name, [])

    def has(self, name: str) -> bool:
        """Is this box ticked?"""
        return bool(self.all(name))

    def wrong(self, name: str, sentence: str) -> None:
        """Mark a field; its first error stays."""
        self.errors.setdefault(name, sentence)

    def refuse(self, error: ServerError, name: str = "") -> None:
        """Mark a field (or the form) with what the domain answered."""
        self.wrong(name, str(error))

    def text(self, name: str, *, required: bool = True, most: int = 200) -> str:
        """One line, trimmed."""
        value = " ".join(self[name].split())
        self._check(name, value, required, most)
        return value

    def lines(self, name: str, *, required: bool = True, most: int = 4000) -> str:
        """A text of several lines."""
        value = self[name].replace("\r\n", "\n").strip()
        self._check(name, value, required, most)
        return value

    def secret(self, name: str, *, most: int = 1000) -> str:
        """A password: taken as typed."""
        value = self[name]
        self._check(name, value, required=True, most=most)
        return value

    def one_of(self, name: str, offered: Sequence[str]) -> str:
        """The answer of a select or of radio buttons."""
        value = self[name]
        if value not in offered:
            self.wrong(name, NOT_OFFERED)
            return offered[0]
        return value

    def some_of(self, name: str, offered: Sequence[str]) -> list[str]:
        """The ticked boxes among those offered, in the order of the offer."""
        ticked = set(self.all(name))
        return [each for each in offered if each in ticked]

    def day(self, name: str, *, required: bool = True, past: bool = False) -> date | None:
        """A whole date, as <input type=date> sends it."""
        value = self[name].strip()
        if not value:
            if required:
                self.wrong(name, REQUIRED)
            return None
        try:
            day = date.fromisoformat(value)
        except ValueError:
            self.wrong(name, NOT_A_DATE)
            return None
        if past and day > clock.now().date():
            self.wrong(name, IN_THE_FUTURE)
        return day

    def checked(self, name: str, check: Callable[[str], str]) -> str:
        """A line that a domain function accepts or refuses with its own sentence."""
        value = self.text(name, most=320)
        if name in self.errors:
            return value
        try:
            return check(value)
        except ServerError as exc:
            self.refuse(exc, name)
            return value

    def _check(self, name: str, value: str, required: bool, most: int) -> None:
        if required and not value:
            self.wrong(name, REQUIRED)
        elif len(value) > most:
            self.wrong(name, N_("This is too long."))


def filled(values: Mapping[str, str], **lists: Sequence[str]) -> Form:
    """A form as first shown."""
    return Form(dict(values), {name: list(items) for name, items in lists.items()})


async def read_form(request: Request, *, files: int = 0, most: int = MOST_BYTES) -> Form:
    """The form of a POST, with up to so many files; at most so many bytes of it all.

    Raises InvalidInput when it cannot be read, TooLarge beyond what the page sends.
    """
    form = Form()
    async with aclosing(_parsed(request, files, most)) as data:
        async for name, value in data:
            if isinstance(value, str):
                if "\0" in value:  # no keyboard types it, and no text column keeps it
                    raise InvalidInput("This form contains a character that cannot be kept.")
                form.lists.setdefault(name, []).append(value)
                form.values.setdefault(name, value)
            elif value.filename:  # a file field that was left empty comes without a name
                form.files.append(Upload(value.filename, await value.read()))
    return form


async def _parsed(
    request: Request, files: int, most: int
) -> AsyncGenerator[tuple[str, UploadFile | str], None]:
    data = await _parse(request, files, most)
    try:
        for item in data.multi_items():
            yield item
    finally:
        await data.close()


async def _parse(request: Request, files: int, most: int) -> FormData:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    try:
        if kind == "application/x-www-form-urlencoded":
            return await FormParser(request.headers, _bounded(request, most)).parse()
        if kind == "multipart/form-data":
            bounded = _bounded(request, most)
            parser = MultiPartParser(request.headers, bounded, max_files=files, max_fields=MOST_FIELDS)
            parser.spool_max_size = (
                most  # never on disk: a report is health data, and a temporary file is not sealed
            )
            return await parser.parse()
    except (MultiPartException, UnicodeDecodeError, ValueError) as exc:
        raise InvalidInput("This form could not be read.") from exc
    if not await request.body():
        return FormData()
    raise InvalidInput("This form could not be read.")


async def _bounded(request: Request, most: int) -> AsyncGenerator[bytes, None]:
    seen = 0
    async for chunk in request.stream():
        seen += len(chunk)
        if seen > most:
            raise TooLarge("This is too large.")
        yield chunk


def local_path(value: str | None, otherwise: str = "/") -> str:
    """Where to go on after sign-in: a path of this server and nothing else, or `otherwise`.

    A browser reads `//host`, `/\\host` and control characters as ways to another site.
    """
    if not value or not value.startswith("/") or value[1:2] in ("/", "\\"):
        return otherwise
    if any(ord(each) <= 32 or each in '\\"<>' or ord(each) == 127 for each in value):
        return otherwise
    parts = urlsplit(value)
    return otherwise if parts.scheme or parts.netloc else value


async def read_json(request: Request, *, most: int = MOST_JSON_BYTES) -> dict[str, Any]:
    """The object our own scripts sent.

    Raises UnsupportedMediaType for a form (which was read already), InvalidInput for what is no object, TooLarge
    beyond `most` bytes.
    """
    if not wants_json(request):
        raise UnsupportedMediaType("This is asked in JSON.")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise TooLarge("This is too large.")
    try:
        found = orjson.loads(body or b"{}")
    except orjson.JSONDecodeError as exc:
        raise InvalidInput("This could not be read.") from exc
    if not isinstance(found, dict):
        raise InvalidInput("This could not be read.")
    return found
