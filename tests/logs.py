"""What the whole run logs, kept and searched at its end: no token, no password, no name of a patient (row 50).

Every secret that the server makes while tests run is noted; so is each token, and each name a factory gave to a
person. The last test of a worker fails when one of them stands in what that worker logged.
"""

from __future__ import annotations

import logging
import re
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import structlog

from server.access.tokens import Tokens

NAMES: set[str] = set()  # of people that factories made
_SECRETS: set[str] = set()
_RUN = re.compile(r"[\w-]{20,}")  # what may be a secret: they are URL-safe, and long


@contextmanager
def searched(file: Path) -> Iterator[None]:
    """Logs go to `file` while this lasts; raises AssertionError when they hold what no log may."""
    with file.open("w", encoding="utf-8") as out, _noted():
        handler = logging.StreamHandler(out)
        logging.getLogger().addHandler(handler)
        structlog.configure(
            processors=[
                structlog.processors.add_log_level,
                structlog.processors.TimeStamper(fmt="iso", utc=True),
                structlog.processors.format_exc_info,
                structlog.processors.KeyValueRenderer(),
            ],
            logger_factory=structlog.WriteLoggerFactory(out),
            cache_logger_on_first_use=False,
        )
        yield
        logging.getLogger().removeHandler(handler)
        structlog.reset_defaults()
    found = leaks(file.read_text(encoding="utf-8"))
    assert not found, f"{len(found)} lines of the log hold a secret or a name; the first: {found[0]}"


def leaks(text: str) -> list[str]:
    """The lines that hold a noted secret, or a name."""
    runs = set(_RUN.findall(text))
    words = (runs & _SECRETS) | {name for name in NAMES if len(name) > 5 and name in text}
    return [line for line in text.splitlines() if any(word in line for word in words)] if words else []


def note(secret: str) -> str:
    """Look for this one, too."""
    _SECRETS.add(secret)
    return secret


@contextmanager
def _noted() -> Iterator[None]:
    make, issue = secrets.token_urlsafe, Tokens.issue

    def noting(*args: Any) -> str:
        return note(make(*args))

    async def issuing(*args: Any, **given: Any) -> Any:
        issued = await issue(*args, **given)
        note(issued[0].rpartition(".")[2])  # the signature: heads are alike
        return issued

    secrets.token_urlsafe, Tokens.issue = noting, issuing  # type: ignore[method-assign,assignment]
    try:
        yield
    finally:
        secrets.token_urlsafe, Tokens.issue = make, issue  # type: ignore[method-assign]
