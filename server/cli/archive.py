"""`lightbox import`, `lightbox verify`, `lightbox resync`: the archive as a whole."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.access.action import STUDY_STORE
from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.accounts import people
from server.audit import chain, heads
from server.core.errors import NotFound
from server.imaging import rebuild
from server.imaging.disc import Disc, FilePart, survey
from server.imaging.report import StoreReport
from server.imaging.store import receive
from server.imaging.verify import Report
from server.imaging.verify import verify as verify_objects
from server.records.people import patient_of_account
from server.rights import proof
from server.storage import key_moves, rotation, strays

from .common import DataOption, JsonOption, show
from .context import run

console = Console(stderr=True)


def import_(
    paths: Annotated[list[Path], typer.Argument(help="Folders, files, .zip and disc images (.iso)")],
    patient: Annotated[str, typer.Option(help="E-mail of the patient")],
    mine: Annotated[
        bool, typer.Option("--mine", help="The images are the patient's, whatever they say")
    ] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Store what DICOM there is, through the same pipeline as a store over the network."""
    disc = survey(paths)

    async def work(services: Services) -> StoreReport:
        return await _store(services, disc, patient, mine)

    result = _summary(disc, run(data, work))
    show(result, as_json=as_json, text=_as_text(result))
    if result["refused"]:
        raise typer.Exit(1)


async def _store(services: Services, disc: Disc, email: str, mine: bool) -> StoreReport:
    """Store as the patient: an operator's command has no rights of its own over health data."""
    account = await people.find_by_email(services.db, email)
    patient_id = await patient_of_account(services, account.id) if account is not None else None
    if account is None or patient_id is None:
        raise NotFound(f"There is no patient with the address {email}.")
    actor = Actor(ActorKind.PATIENT, account_id=account.id, name=f"{account.name} (command line)")
    reach = await services.gate.reach_for_actor(actor, STUDY_STORE, patient_id=patient_id)
    parts = _with_progress(disc.parts)
    return await receive(
        services, parts, reach=reach, actor=actor, patient_id=patient_id, study_uid=None, mine=mine
    )


async def _with_progress(parts: list[FilePart]) -> AsyncIterator[FilePart]:
    columns = (TextColumn("storing"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("storing", total=len(parts))
        for part in parts:
            yield part
            progress.advance(task)


def _summary(disc: Disc, report: StoreReport) -> dict[str, Any]:
    fresh = [each for each in report.stored if not each.repeated]
    return {
        "stored": len(fresh),
        "duplicate": len(report.stored) - len(fresh),
        "studies": len({each.study_uid for each in report.stored}),
        "ignored": dict(disc.ignored),
        "refused": [
            {
                "sop_instance_uid": each.sop_instance_uid,
                "reason": f"0x{each.reason:04X}",
                "comment": each.comment,
            }
            for each in report.failed
        ],
    }


def _as_text(result: dict[str, Any]) -> str:
    lines = [
        f"stored     {result['stored']}",
        f"duplicate  {result['duplicate']}",
        f"ignored    {sum(result['ignored'].values())}",
        f"refused    {len(result['refused'])}",
    ]
    lines += [
        f"  {each['sop_instance_uid'] or '(no UID)'}: {each['comment']} ({each['reason']})"
        for each in result["refused"]
    ]
    return "\n".join(lines)


def verify(
    erased: Annotated[
        str | None, typer.Option(help="Show that this patient (or tombstone) is erased")
    ] = None,
    backup: Annotated[
        Path | None, typer.Option(help="With --erased: a backup made before, searched too")
    ] = None,
    keys: Annotated[
        Path | None, typer.Option(help="With --backup: its file of keys, when it still exists")
    ] = None,
    repair: Annotated[bool, typer.Option("--repair", help="Set files that no row names aside")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Re-read every object and the audit chain; exit code 1 when anything is missing or altered."""
    if erased is not None:
        _verify_erased(erased, backup, keys, data, as_json)
        return

    async def work(services: Services) -> dict[str, Any]:
        result = await _verified(services)
        if repair:
            result["set_aside"] = [
                str(each) for each in await strays.set_aside(services.db, services.objects)
            ]
        return result

    result = run(data, work)
    show(result, as_json=as_json, text=_verdict(result))
    if result["objects"]["wrong"] or result["audit"]["wrong"] or result["keys"]["missing"]:
        raise typer.Exit(1)


def _verify_erased(
    erased: str, backup: Path | None, keys: Path | None, data: Path | None, as_json: bool
) -> None:
    async def work(services: Services) -> dict[str, Any]:
        return await proof.of_erasure(services, erased, backup=backup, keys=keys)

    result = run(data, work)
    lines = [
        f"erased on {result['done_at']}, number {result['erasure']}",
        f"the proof is {'signed and whole' if result['proof_signed'] else 'ALTERED'}",
        f"rows left: {', '.join(result['rows']) or 'none'}",
        f"files: {result['files']['gone']} gone, {result['files']['with_others']} live on with other people's objects;"
        " the key to what was in them is destroyed",
    ]
    if found := result.get("backup"):
        what = (
            "READABLE: its keys file still holds the key, destroy that" if found["readable"] else "unreadable"
        )
        lines.append(f"in the backup: {found['rows']} rows, {what}")
    show(result, as_json=as_json, text="\n".join(lines))
    if result["readable"] or not result["proof_signed"]:
        raise typer.Exit(1)


async def _verified(services: Services) -> dict[str, Any]:
    with console.status("reading") as status:

        def progress(report: Report) -> None:
            status.update(f"read {report.objects} objects, {report.size / 1e6:.0f} MB")

        report = await verify_objects(services.db, services.objects, services.keyring, progress)
    events, breaks = await chain.verify(services.db)
    signed, troubles = await heads.verify(services.db, services.settings.data / heads.FOLDER)
    wrong = [{"chain": str(each.chain), "event": each.seq, "trouble": each.why} for each in breaks]
    wrong += [{"chain": each.where, "event": 0, "trouble": each.why} for each in troubles]
    keys = await key_moves.whereabouts(services.db, services.keyring.store)
    fingerprint = {"fingerprint": services.keyring.fingerprint}
    confirmed = await services.db.fetch_val(rotation.QUERIES["copy_confirmed"], fingerprint)
    return {
        "objects": {
            "read": report.objects,
            "bytes": report.size,
            "packs": report.packs,
            "strays": len(report.strays),
            "wrong": [
                {"trouble": found.trouble, "what": found.what, "id": found.id} for found in report.findings
            ],
        },
        "audit": {
            "events": events,
            "signed_files": signed,
            "wrong": wrong,
        },
        "keys": {
            "in_main_database": keys.in_place,
            "in_store": keys.in_store,
            "missing": list(keys.missing),
            "unused": keys.unused,
        },
        "master_key": {"copy_confirmed": confirmed is not None},
    }


def _verdict(result: dict[str, Any]) -> str:
    objects, audit = result["objects"], result["audit"]
    lines = [
        f"{objects['read']} objects in {objects['packs']} packs, {objects['bytes'] / 1e6:.1f} MB: "
        + (f"{len(objects['wrong'])} wrong" if objects["wrong"] else "each as it was stored"),
        f"{audit['events']} audit events: "
        + (f"{len(audit['wrong'])} chains broken" if audit["wrong"] else "every chain whole"),
    ]
    lines += [f"  {each['what']} {each['id']}: {each['trouble']}" for each in objects["wrong"]]
    lines += [f"  chain {each['chain']}, event {each['event']}: {each['trouble']}" for each in audit["wrong"]]
    if audit["signed_files"]:
        lines.append(f"{audit['signed_files']} files of signed heads compared with it")
    if objects["strays"]:
        lines.append(f"{objects['strays']} files that no row names: harmless; --repair sets them aside")
    keys = result["keys"]
    lines += [f"  patient {each}: the key is not in its store" for each in keys["missing"]]
    if keys["in_store"] and keys["in_main_database"]:
        lines.append(
            f"{keys['in_main_database']} patients' keys lie in the main database: lightbox keys into-store"
        )
    if "set_aside" in result:
        lines.append(f"{len(result['set_aside'])} of them set aside")
    if not result["master_key"]["copy_confirmed"]:
        lines += [
            "No copy of the master key was confirmed: without one, a lost disk loses everything.",
            "  Copy the file to a safe place, then: lightbox keys confirm-copy COPY",
        ]
    return "\n".join(lines)


def resync(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Make every ImagingStudy and Endpoint anew from the catalogue (after a repair, or a new public address)."""

    async def work(services: Services) -> int:
        return await rebuild.everything(services)

    count = run(data, work)
    show({"studies": count}, as_json=as_json, text=f"{count} studies made anew")
    sys.stdout.flush()
