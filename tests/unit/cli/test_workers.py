"""What is done in a process of its own, and how it is told when that process does not come to its end."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from multiprocessing.context import ForkServerContext

import pytest
from uvicorn import _subprocess

from server.cli import workers


def _end_with(code: int) -> None:
    os._exit(code)


def _kill_parent() -> None:
    os.kill(os.getppid(), signal.SIGKILL)


def _kill_itself() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have no fork server here")
def test_preparation_that_was_cut_short_is_told() -> None:
    """Killed, or its fork server was; what it says of its own failure keeps its code."""
    source = multiprocessing.get_context("forkserver")
    workers.in_child(source, _end_with, 0)
    with pytest.raises(SystemExit) as ended:
        workers.in_child(source, _end_with, 3)
    assert ended.value.code == 3
    for cut_short in (_kill_itself, _kill_parent):
        with pytest.raises(workers.StartCutShort):
            workers.in_child(source, cut_short)


def test_what_is_forked_has_no_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the operator's environment asks of numpy's library."""
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    monkeypatch.setattr(_subprocess, "spawn", _subprocess.spawn)
    made = workers.context()
    if isinstance(made, ForkServerContext):
        made.set_forkserver_preload(["__main__"])  # for other tests as it was
    assert sys.platform != "linux" or os.environ["OPENBLAS_NUM_THREADS"] == "1"
