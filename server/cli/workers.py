"""Worker processes that share what they have loaded, and the process that watches them loads none of it.

All of the server is a hundred megabytes of code and tables. A fork server loads it once; what runs before the first
request (migration, keys, demo) and each worker is a fork of it, with the same pages of memory until it writes to them.
A worker that died is replaced in a moment, and by the same code as the others.
"""

from __future__ import annotations

import multiprocessing
import os
import sys
from collections.abc import Callable
from multiprocessing.context import ForkServerContext, SpawnContext
from typing import Any

from uvicorn import _subprocess

from server.core.errors import ServerError

Context = ForkServerContext | SpawnContext
LOADED = "server.cli.loaded"  # what the fork server loads
FORK_SERVER_DIED = 255  # multiprocessing's word for a child whose code nobody can tell any more


class StartCutShort(ServerError):
    """The preparation of the start was ended from outside, before it was done."""


def context() -> Context:
    """Where processes come from, uvicorn's too; they have the environment of the moment when the first is asked for."""
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn")  # libraries of macOS do not bear a fork
    os.environ["OPENBLAS_NUM_THREADS"] = "1"  # what is forked must have no threads, whatever was set
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload([LOADED])
    _subprocess.spawn = found  # type: ignore[assignment]  # uvicorn has no setting for it
    return found


def in_child(source: Context, work: Callable[..., None], *given: Any) -> None:
    """Do it in a process that ends with it; what it says of a failure it has said itself, and we end with its code.

    Raises StartCutShort.
    """
    child = source.Process(target=work, args=given)
    child.start()
    try:
        child.join()
    except BaseException:
        child.terminate()
        child.join()
        raise
    if child.exitcode is None or child.exitcode < 0 or child.exitcode == FORK_SERVER_DIED:
        raise StartCutShort()
    if child.exitcode:
        sys.exit(child.exitcode)
