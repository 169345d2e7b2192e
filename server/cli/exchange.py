"""`lightbox pull` and `lightbox push`: studies from and to another DICOMweb server."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from server.access.action import STUDY_READ, STUDY_STORE
from server.access.services import Services
from server.core.errors import InvalidInput

from .common import DataOption, JsonOption, show
from .context import run

if TYPE_CHECKING:
    from .carry import Tally

console = Console(stderr=True)

PatientOption = Annotated[str, typer.Option(help="E-mail of the patient in whose record the studies are")]
StudyOption = Annotated[list[str] | None, typer.Option("--study", help="Study Instance UID; may be repeated")]
TokenOption = Annotated[
    str | None,
    typer.Option(help="Bearer token for the other server", envvar="LIGHTBOX_REMOTE_TOKEN", show_envvar=True),
]
UserOption = Annotated[str | None, typer.Option(help="Name for the other server (basic authentication)")]
PasswordOption = Annotated[
    str | None,
    typer.Option(help="Password to go with --user", envvar="LIGHTBOX_REMOTE_PASSWORD", show_envvar=True),
]
NoVerifyOption = Annotated[bool, typer.Option("--no-verify", help="Do not read again what was carried over")]


def pull(
    url: Annotated[str, typer.Argument(help="DICOMweb address of the other server")],
    patient: PatientOption,
    study: StudyOption = None,
    filters: Annotated[
        list[str] | None,
        typer.Option("--filter", help="Search key of the studies, such as PatientID=1234; may be repeated"),
    ] = None,
    mine: Annotated[
        bool, typer.Option("--mine", help="The images are the patient's, whatever they say")
    ] = False,
    token: TokenOption = None,
    user: UserOption = None,
    password: PasswordOption = None,
    no_verify: NoVerifyOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Fetch studies from another DICOMweb server into a patient's record; run again, it fetches what is missing."""
    from .carry import Pull  # with what it needs, half a second to import: other commands do not pay for it
    from .remote import Login, Remote

    keys = _keys(filters)
    if not study and not keys:
        raise InvalidInput("Say which studies: --study UID, or --filter KEY=VALUE.")
    remote = Remote(url, Login(token, user, password))

    async def work(services: Services) -> Tally:
        with _progress("fetching") as progress:
            pulling = Pull(services, remote, mine=mine, verify=not no_verify, progress=progress)
            await pulling.as_patient(patient, STUDY_STORE)
            await pulling.run(
                list(dict.fromkeys(study or [])) or await asyncio.to_thread(remote.studies, keys)
            )
            return pulling.tally

    _end(run(data, work), as_json)


def push(
    url: Annotated[str, typer.Argument(help="DICOMweb address of the other server")],
    patient: PatientOption,
    study: StudyOption = None,
    token: TokenOption = None,
    user: UserOption = None,
    password: PasswordOption = None,
    no_verify: NoVerifyOption = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send a patient's studies to another DICOMweb server; run again, it sends what is missing there."""
    from .carry import Push
    from .remote import Login, Remote

    remote = Remote(url, Login(token, user, password))

    async def work(services: Services) -> Tally:
        with _progress("sending") as progress:
            pushing = Push(services, remote, verify=not no_verify, progress=progress)
            await pushing.as_patient(patient, STUDY_READ)
            await pushing.run(list(dict.fromkeys(study or [])) or await pushing.every_study())
            return pushing.tally

    _end(run(data, work), as_json)


def _end(tally: Tally, as_json: bool) -> None:
    show(tally.told(), as_json=as_json, text=tally.as_text())
    if tally.failed:
        raise typer.Exit(1)


def _keys(filters: Sequence[str] | None) -> dict[str, str]:
    pairs = [each.partition("=") for each in filters or ()]
    if not all(name and sign for name, sign, _ in pairs):
        raise InvalidInput("A filter is KEY=VALUE, such as PatientID=1234.")
    return {name: value for name, _, value in pairs}


def _progress(what: str) -> Progress:
    columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, console=console, transient=True)
