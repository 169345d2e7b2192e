"""What the fork server of cli/workers.py loads before it forks: all of the server. Nothing else imports this.

`gc.freeze` leaves what is loaded out of every later collection: a collection writes to each object it looks at, and a
page that is written to is shared no longer.
"""

from __future__ import annotations

import ctypes
import gc
import os
import signal

# ruff: noqa: F401 - to be there, not to be used
import uvicorn.lifespan.on
import uvicorn.loops.uvloop
import uvicorn.protocols.http.httptools_impl
import uvicorn.protocols.websockets.auto

import server.app
import server.cli.serve
import server.cli.start

gc.collect()
gc.freeze()

_LIBC = ctypes.CDLL(None)
_PR_SET_PDEATHSIG = 1  # linux/prctl.h


def _as_child() -> None:
    """Be told to end like everybody, and also when the fork server was killed: nobody would watch us any more."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


# An end in order is the watching process's affair: told to end with all the others (systemd tells each process of a
# service), the fork server stays until its workers have ended.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=_as_child)
