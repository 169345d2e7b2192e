"""What commands have in common and costs little to load: `lightbox serve` holds on to it as long as it serves."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from server.core import logs
from server.core.errors import ServerError
from server.core.settings import Settings
from server.storage import embedded

DEBUG = "LIGHTBOX_DEBUG"

DataOption = Annotated[
    Path | None, typer.Option("--data", help="Directory of everything that is not set to be elsewhere")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable JSON on standard output")]


def in_a_sentence(work: Callable[[], object], *, debug: bool) -> None:
    """Do it and end; what goes wrong is one sentence and the exit code, never a trace."""
    logs.configure()
    try:
        work()
    except ServerError as error:
        print(f"lightbox: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if debug:
            raise
        print(f"lightbox: Something went wrong on our side ({type(error).__name__}).", file=sys.stderr)
        print(f"Set {DEBUG}=1 to see where.", file=sys.stderr)
        sys.exit(70)  # EX_SOFTWARE of sysexits.h


@contextmanager
def with_database(settings: Settings) -> Iterator[Settings]:
    """The same settings with the address of a database that runs: the one that is set, or the embedded one.

    Raises StorageUnavailable.
    """
    settings.data.mkdir(parents=True, exist_ok=True)
    if settings.database_url:
        yield settings
        return
    with embedded.running(settings.data) as url:
        yield settings.model_copy(update={"database_url": url})


def has_public_address(settings: Settings) -> bool:
    """Whether an operator set LIGHTBOX_BASE_URL; else it is wherever the server listens."""
    return settings.base_url != str(Settings.model_fields["base_url"].default)


def show(value: Any, *, as_json: bool, text: str) -> None:
    """The result of a command, for a machine or for a person."""
    sys.stdout.write((orjson.dumps(value, default=str).decode() if as_json else text) + "\n")
