"""`lightbox keys`: the master key and the keys that sign, turned over while the server serves."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from server.access.keys import FOR_ACCESS, FOR_IDENTITY
from server.access.services import Services
from server.audit import heads
from server.audit.events import Event
from server.core import clock
from server.core.errors import InvalidInput
from server.storage import key_moves, rotation
from server.storage.key_store import KeyStore
from server.storage.keyring import KeyFile, fingerprint_of, read_key_file, write_key_file

from .common import DataOption, JsonOption, show
from .context import run
from .people import OPERATOR

app = typer.Typer(help="The master key, and the keys that sign.", no_args_is_help=True)


@app.callback()
def _keys() -> None:
    """The master key, and the keys that sign."""


@app.command("rotate-master")
def rotate_master(data: DataOption = None, as_json: JsonOption = False) -> None:
    """A new master key: every patient's key is wrapped anew, while the server serves. Run again after a crash."""

    async def work(services: Services) -> dict[str, Any]:
        count = await rotation.rotate_master(
            services.db, services.settings.key_file.resolve(), store=services.keyring.store
        )
        await _note(services, "keys rotate-master")
        return {"rewrapped": count, "file": str(services.settings.key_file.resolve())}

    done = run(data, work)
    text = (
        f"{done['rewrapped']} keys wrapped anew. Copy {done['file']} to the safe place, then confirm it:\n"
        "  lightbox keys confirm-copy COPY\n"
        "The old key lies beside it as .retired, for backups made before: destroy it when they are gone."
    )
    show(done, as_json=as_json, text=text)


@app.command("rotate-signing")
def rotate_signing(data: DataOption = None, as_json: JsonOption = False) -> None:
    """New keys for tokens and for the heads of the log; what the old ones signed stays good."""

    async def work(services: Services) -> dict[str, Any]:
        kids = [await services.keys.rotate(FOR_ACCESS), await services.keys.rotate(FOR_IDENTITY)]
        kids.append((await heads.signer(services.db, services.keyring, anew=True)).kid)
        await _note(services, "keys rotate-signing")
        return {"kids": kids}

    done = run(data, work)
    show(done, as_json=as_json, text="\n".join(done["kids"]))


@app.command("confirm-copy")
def confirm_copy(
    copy: Annotated[Path, typer.Argument(help="The copy of the master key file, wherever it lies")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say that a copy of the master key exists: it is read and compared, and `verify` reminds no more."""
    there = {fingerprint_of(key) for key in read_key_file(copy.expanduser()).masters}

    async def work(services: Services) -> dict[str, Any]:
        if copy.expanduser().resolve() == services.settings.key_file.resolve():
            raise InvalidInput("This is the file itself, no copy of it.")
        if services.keyring.fingerprint not in there:
            raise InvalidInput("This file does not hold the master key that is in use.")
        values = {"fingerprint": services.keyring.fingerprint, "now": clock.now()}
        await services.db.execute(rotation.QUERIES["confirm_copy"], values)
        await _note(services, "keys confirm-copy")
        return {"confirmed": services.keyring.fingerprint.hex()}

    done = run(data, work)
    show(done, as_json=as_json, text=f"Confirmed: {done['confirmed']}")


@app.command("into-store")
def into_store(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Move patients' keys to LIGHTBOX_KEYS_DATABASE_URL, while the server serves. Run again after a crash."""

    async def work(services: Services) -> dict[str, Any]:
        count = await key_moves.into_store(services.db, _store(services))
        await _note(services, "keys into-store")
        return {"moved": count}

    done = run(data, work)
    text = (
        f"{done['moved']} keys moved. Backups of the main database made before, and its log, still hold them:"
        " destroy those."
    )
    show(done, as_json=as_json, text=text)


@app.command("out-of-store")
def out_of_store(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Move patients' keys back into the main database; then take LIGHTBOX_KEYS_DATABASE_URL away."""

    async def work(services: Services) -> dict[str, Any]:
        count = await key_moves.out_of_store(services.db, _store(services))
        await _note(services, "keys out-of-store")
        return {"moved": count}

    done = run(data, work)
    show(done, as_json=as_json, text=f"{done['moved']} keys moved. Now start without the setting.")


def _store(services: Services) -> KeyStore:
    if services.keyring.store is None:
        raise InvalidInput("LIGHTBOX_KEYS_DATABASE_URL is not set.")
    return services.keyring.store


@app.command("into-kms")
def into_kms(
    service: Annotated[str, typer.Argument(help="aws:KEY or vault:NAME; - takes the key out again")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Encrypt the master key file by a key management service: the file alone opens nothing then."""

    async def work(services: Services) -> dict[str, Any]:
        path = services.settings.key_file.resolve()
        held = read_key_file(path)
        by = "" if service == "-" else service
        write_key_file(path, KeyFile(held.masters, held.systems, by))
        if read_key_file(path) != KeyFile(held.masters, held.systems, by):
            write_key_file(path, held)
            raise InvalidInput(f"{service} does not give back what it encrypted; the file is as it was.")
        await _note(services, "keys into-kms")
        return {"file": str(path), "service": by}

    done = run(data, work)
    text = (
        f"{done['file']} is encrypted by {done['service']}."
        if done["service"]
        else f"{done['file']} lies open."
    )
    show(done, as_json=as_json, text=f"{text} Copies made before hold the key itself.")


async def _note(services: Services, command: str) -> None:
    await services.audit.record(
        Event.OPERATOR_ACTED, who=OPERATOR, patient_id=None, detail={"command": command}
    )
