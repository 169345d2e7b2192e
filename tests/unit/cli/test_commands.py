"""The table of commands, each of which is loaded when it is asked for."""

from __future__ import annotations

import subprocess
import sys

import pytest
import typer
from typer.testing import CliRunner

from server.cli import COMMANDS, application


def test_every_command_is_there_with_its_help() -> None:
    found = typer.main.get_command(application())
    assert set(found.commands) == set(COMMANDS)
    assert all(each.help for each in found.commands.values())


@pytest.mark.parametrize("name", ["serve", "user"])
def test_a_command_alone_is_still_asked_for_by_its_name(name: str) -> None:
    answer = CliRunner().invoke(application([name]), [name, "--help"])
    assert answer.exit_code == 0
    assert f"{name} [OPTIONS]" in answer.output


def test_what_watches_the_workers_loads_nothing_of_the_server() -> None:
    code = "import sys, server.cli.serve, server.cli.workers; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert not {"server.app", "sqlalchemy", "numpy", "pydicom", "cryptography"} & set(loaded.stdout.split())
