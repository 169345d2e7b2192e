"""`lightbox`: the command line. Errors in one sentence on standard error, exit code 0 or not."""

from __future__ import annotations

import os
import sys

import typer

from server.core import logs
from server.core.errors import ServerError

from . import archive, backup, database, exchange, keys, openapi, people, research, retention, serve

DEBUG = "LIGHTBOX_DEBUG"

app = typer.Typer(
    name="lightbox",
    help="A patient-owned imaging record: FHIR R4, DICOMweb and SMART-on-FHIR behind the patient's consent.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
app.command("serve")(serve.serve)
app.command("settings")(serve.settings)
app.add_typer(people.user, name="user")
app.add_typer(people.client, name="client")
app.command("token")(people.token)
app.command("import")(archive.import_)
app.command("pull")(exchange.pull)
app.command("push")(exchange.push)
app.command("verify")(archive.verify)
app.command("resync")(archive.resync)
app.command("backup")(backup.backup)
app.command("restore")(backup.restore)
app.command("retention")(retention.retention)
app.add_typer(keys.app, name="keys")
app.add_typer(research.app, name="research")
app.command("openapi")(openapi.openapi)
app.command("database-roles")(database.roles)


def main() -> None:
    """Run a command; what goes wrong is one sentence, never a trace."""
    logs.configure()
    try:
        app()
    except ServerError as error:
        print(f"lightbox: {error}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:
        if os.environ.get(DEBUG):
            raise
        print(f"lightbox: Something went wrong on our side ({type(error).__name__}).", file=sys.stderr)
        print(f"Set {DEBUG}=1 to see where.", file=sys.stderr)
        sys.exit(70)  # EX_SOFTWARE of sysexits.h
