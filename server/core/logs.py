"""The server's own log: standard error, one line an event; JSON where no person watches.

Tracebacks come without the values of variables, and without what strange errors say of themselves: PostgreSQL quotes
rows and arguments, parsers quote their input, and those hold names, tokens and images. What libraries log or warn of
goes the same way: who spoke and where, not what was said.
"""

from __future__ import annotations

import logging
import sys
import traceback
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO

import structlog
from structlog.typing import EventDict

from .errors import ServerError

_TRUSTED = ("uvicorn",)  # loggers whose sentences are about connections, and hold nothing that was sent


def configure() -> None:
    """Once a process, by whoever starts it."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            traced,
            structlog.dev.ConsoleRenderer() if sys.stderr.isatty() else structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(handlers=[Libraries()], level=logging.WARNING, force=True)
    warnings.showwarning = _warned


def traced(_logger: object, _method: str, event: EventDict) -> EventDict:
    """Puts the trace of `exc_info` in words, a processor of structlog."""
    error = event.pop("exc_info", None)
    if isinstance(error, BaseException):
        event["exception"] = "".join(_trace(error)).rstrip()
    return event


class Libraries(logging.Handler):
    """What libraries log, in our words."""

    def emit(self, record: logging.LogRecord) -> None:
        place = f"{record.module}:{record.lineno}"
        known = record.name.partition(".")[0] in _TRUSTED
        said = record.getMessage().strip() if known else "a library says something"
        error = record.exc_info[1] if record.exc_info else None
        log = structlog.get_logger(record.name)
        log.log(record.levelno, said, logger=record.name, place=place, exc_info=error)


def _warned(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    """As `warnings.showwarning`."""
    place = f"{Path(filename).name}:{lineno}"
    structlog.get_logger(__name__).warning("a library warns", kind=category.__name__, place=place)


def _trace(error: BaseException) -> Iterator[str]:
    """Where it was raised, and what it came from."""
    before = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if before is not None:
        yield from _trace(before)
        yield "\nfrom which came:\n\n"
    yield "Traceback (most recent call last):\n"
    yield from traceback.format_tb(error.__traceback__)
    yield f"{_named(error)}\n"
    for each in error.exceptions if isinstance(error, BaseExceptionGroup) else ():
        yield "\none of its own:\n\n"
        yield from _trace(each)


def _named(error: BaseException) -> str:
    """The kind of an error; what it says, where that is ours or a number."""
    kind = f"{type(error).__module__}.{type(error).__qualname__}"
    if isinstance(error, ServerError):
        return f"{kind}: {error}"
    if isinstance(error, OSError) and error.errno is not None:
        return f"{kind}: [Errno {error.errno}]"
    state, rule = getattr(error, "sqlstate", None), getattr(error, "constraint_name", None)
    return f"{kind}: {state} {rule or ''}".rstrip() if state else kind
