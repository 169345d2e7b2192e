"""`lightbox backup` and `lightbox restore`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from server.access.services import Services
from server.audit.events import Event
from server.storage import key_moves
from server.storage.backup import back_up, keys_file
from server.storage.restore import restore as restore_backup

from .common import DataOption, JsonOption, show
from .context import run
from .people import OPERATOR

console = Console(stderr=True)
FileArgument = Annotated[Path, typer.Argument(help="The backup; its keys lie beside it, in FILE.keys")]


def backup(file: FileArgument, data: DataOption = None, as_json: JsonOption = False) -> None:
    """Write FILE and FILE.keys, while the server may serve; exit code 1 when a stored file could not be read."""

    async def work(services: Services) -> dict[str, Any]:
        with console.status("copying"):
            report = await back_up(
                services.db, services.objects, services.keyring, file.expanduser().resolve()
            )
        done = {"backup": report.id, "patients": report.patients, "packs": report.packs}
        await services.audit.record(
            Event.OPERATOR_ACTED, who=OPERATOR, patient_id=None, detail={"command": "backup", **done}
        )
        return done | {
            "rows": report.rows,
            "bytes": report.size,
            "being_erased": report.keyless,
            "missing": [str(each) for each in report.missing],
        }

    result = run(data, work)
    text = (
        f"{result['patients']} patients, {result['rows']} rows, {result['packs']} packs,"
        f" {result['bytes'] / 1e6:.1f} MB: {file}\n"
        f"Keep {keys_file(file)} apart, and destroy it within 30 days: while it exists, erased patients can be"
        " restored.\nThe master key is in neither."
    )
    if result["missing"]:
        text += f"\n{len(result['missing'])} packs could not be read and are not in it: see lightbox verify."
    show(result, as_json=as_json, text=text)
    if result["missing"]:
        raise typer.Exit(1)


def restore(
    file: FileArgument,
    keys: Annotated[Path | None, typer.Option(help="Wrapped keys, of this backup or a later one")] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup into an empty server, under the master key it was made with."""
    wrapped = keys or keys_file(file)

    async def work(services: Services) -> dict[str, Any]:
        with console.status("restoring"):
            report = await restore_backup(
                services.db, services.objects, services.keyring, file.expanduser(), wrapped.expanduser()
            )
            if services.keyring.store is not None:
                await key_moves.into_store(services.db, services.keyring.store)
        done = {"backup": report.id, "made_at": report.made_at, "patients": report.patients}
        await services.audit.record(
            Event.OPERATOR_ACTED, who=OPERATOR, patient_id=None, detail={"command": "restore", **done}
        )
        return done | {"rows": report.rows, "packs": report.packs, "without_key": len(report.left_out)}

    result = run(data, work)
    text = f"{result['patients']} patients, {result['rows']} rows, {result['packs']} packs, of {result['made_at']}"
    if result["without_key"]:
        text += (
            f"\n{result['without_key']} patients have no key any more and were left out: they cannot be read."
        )
    show(result, as_json=as_json, text=text + "\nRun lightbox verify before you serve from it.")
