"""What the fork server of cli/workers.py loads before it forks: all of the server. Nothing else imports this.

`gc.freeze` leaves what is loaded out of every later collection: a collection writes to each object it looks at, and a
page that is written to is shared no longer.
"""

from __future__ import annotations

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

# An end in order is the watching process's affair: told to end with all the others (systemd tells each process of a
# service), the fork server stays until its workers have ended. They are told like everybody.
signal.signal(signal.SIGTERM, signal.SIG_IGN)
os.register_at_fork(after_in_child=lambda: signal.signal(signal.SIGTERM, signal.SIG_DFL))
