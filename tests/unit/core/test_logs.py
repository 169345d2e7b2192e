"""The log: on standard error, without debugging noise, and without the values of variables."""

from __future__ import annotations

import subprocess
import sys

CODE = """
import structlog
from server.core import logs
log = structlog.get_logger("made before")
logs.configure()
log.debug("noise")
log.info("something", count=2)
def fails(token):
    raise ValueError("wrong")
try:
    fails("sec" + "ret")
except ValueError as error:
    log.error("unexpected error", exc_info=error)
"""


def test_one_line_an_event_and_no_values() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    first, second = done.stderr.splitlines()
    assert '"event": "something"' in first
    assert '"count": 2' in first
    assert "ValueError: wrong" in second
    assert "secret" not in done.stderr
