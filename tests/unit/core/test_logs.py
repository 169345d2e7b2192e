"""The log: on standard error, without debugging noise, without values of variables and of strange errors."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import asyncio, gc, logging, warnings
import asyncpg, structlog
from server.core import logs
from server.core.errors import StorageUnavailable
log = structlog.get_logger("made before")
logs.configure()
log.debug("noise")
log.info("something", count=2)

def fails(token, raised):
    raise raised

def logged(raised, before=None):
    try:
        fails("sec" + "ret", raised)
    except BaseException as error:
        error.__cause__ = before
        log.error("unexpected error", exc_info=error)

row = asyncpg.UniqueViolationError("duplicate key value")
row.sqlstate, row.constraint_name, row.detail = "23505", "account_email_key", "Key (email)=(sec" + "ret) exists"
logged(ValueError("invalid literal: sec" + "ret"), before=row)
logged(ExceptionGroup("sec" + "ret", [OSError(28, "x", "/sec" + "ret"), StorageUnavailable()]))
logging.getLogger("uvicorn.error").error("Exception in ASGI application", exc_info=KeyError("sec" + "ret"))
logging.getLogger("pydicom").warning("Invalid value: %s", "sec" + "ret")
warnings.warn("Invalid value for VR DA: sec" + "ret")

async def forgotten():
    lost = asyncio.create_task(broken())
    await asyncio.sleep(0)
    del lost
    gc.collect()

async def broken():
    raise RuntimeError("sec" + "ret")

asyncio.run(forgotten())
"""


def test_one_line_an_event_and_no_values() -> None:
    """PostgreSQL's details, arguments that errors and warnings quote, tasks that nobody waited for."""
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    assert "secret" not in done.stderr
    said = [
        '"event": "something"',
        "builtins.ValueError",
        "ExceptionGroup",
        "Exception in ASGI application",
        '"logger": "pydicom"',
        '"kind": "UserWarning"',
        '"logger": "asyncio"',
    ]
    lines = done.stderr.splitlines()
    assert len(lines) == len(said), done.stderr
    for line, words in zip(lines, said, strict=True):
        assert words in line
    assert '"count": 2' in lines[0]
    assert "UniqueViolationError: 23505 account_email_key" in lines[1]
    assert "OSError: [Errno 28]" in lines[2]
    assert "StorageUnavailable: " in lines[2]
