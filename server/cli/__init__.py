"""`lightbox`: the command line. Errors in one sentence on standard error, exit code 0 or not.

A command's module is loaded when the command is asked for: most of them load all of the server.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from importlib import import_module

import typer

from .common import DEBUG, in_a_sentence

# name -> module and what in it is the command, or the Typer with more of them
COMMANDS = {
    "serve": "serve:serve",
    "settings": "serve:settings",
    "user": "people:user",
    "client": "people:client",
    "token": "people:token",
    "import": "archive:import_",
    "pull": "exchange:pull",
    "push": "exchange:push",
    "verify": "archive:verify",
    "resync": "archive:resync",
    "backup": "backup:backup",
    "restore": "backup:restore",
    "retention": "retention:retention",
    "keys": "keys:app",
    "research": "research:app",
    "openapi": "openapi:openapi",
    "database-roles": "database:roles",
}


def application(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The command line with these commands."""
    app = typer.Typer(
        name="lightbox",
        help="A patient-owned imaging record: FHIR R4, DICOMweb and SMART-on-FHIR behind the patient's consent.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )
    app.callback()(lambda: None)  # a single command is still asked for by its name
    for name in names:
        module, _, within = COMMANDS[name].partition(":")
        command = getattr(import_module(f".{module}", __package__), within)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def main() -> None:
    """Run the command that is asked for; all are known to the help and to whoever mistypes one."""
    asked = sys.argv[1:2]
    names = asked if asked and asked[0] in COMMANDS else COMMANDS
    in_a_sentence(lambda: application(names)(), debug=bool(os.environ.get(DEBUG)))
