"""`lightbox research`: what projects are given, written to a directory; what they have to delete."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import typer

from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.core.errors import InvalidInput, NotFound
from server.rights import research, research_delivery, research_handover

from .common import DataOption, JsonOption, show
from .context import run

app = typer.Typer(help="Projects that get images without names.", no_args_is_help=True)
OPERATOR = Actor(ActorKind.OPERATOR, name="Command line")


@app.callback()
def _research() -> None:
    """Projects that get images without names."""


@app.command("list")
def list_(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Projects, and the deliveries that wait, are made, or can be written out."""

    async def work(services: Services) -> dict[str, Any]:
        projects = await research.listed(services, actor=OPERATOR)
        deliveries = await research_delivery.listed(services, actor=OPERATOR)
        return {
            "projects": [
                {"id": str(each.id), "name": each.name, "state": each.state, "members": each.members}
                for each in projects
            ],
            "deliveries": [
                {"id": str(each.id), "project": each.project, "state": each.state} for each in deliveries
            ],
        }

    done = run(data, work)
    lines = [
        f"{each['id']}  {each['state']:9} {each['name']} ({each['members']})" for each in done["projects"]
    ]
    lines += [f"  delivery {each['id']}  {each['state']:9} {each['project']}" for each in done["deliveries"]]
    show(done, as_json=as_json, text="\n".join(lines) or "There is no project.")


@app.command("write")
def write(
    delivery: Annotated[str, typer.Argument(help="Id of a delivery that is ready (see `list`)")],
    directory: Annotated[
        Path, typer.Argument(help="Where to write; files that are there whole are left alone")
    ],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a delivery out: two operators approved it before. Run again, it goes on where it stopped."""

    async def work(services: Services) -> dict[str, Any]:
        return await written(services, _uuid(delivery), directory)

    done = run(data, work)
    text = (
        f"{done['written']} files written to {directory}, {done['there']} were there, {done['withdrawn']} not given"
        " any more. delete.csv says what has to be deleted."
    )
    show(done, as_json=as_json, text=text)


@app.command("withdrawn")
def withdrawn(
    project: Annotated[str, typer.Argument(help="Id of the project")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """The pseudonyms that a project has to delete, and those it must not use for now."""

    async def work(services: Services) -> dict[str, Any]:
        found = await research.one(services, _uuid(project), actor=OPERATOR)
        gone, aside = await research.to_delete(services, found.id, actor=OPERATOR)
        return {"delete": gone, "set_aside": aside}

    done = run(data, work)
    lines = [f"{each}  delete" for each in done["delete"]] + [
        f"{each}  set aside" for each in done["set_aside"]
    ]
    show(done, as_json=as_json, text="\n".join(lines) or "Nothing.")


async def written(services: Services, delivery: UUID, directory: Path) -> dict[str, Any]:
    """Write every file that is not there whole; how many. Raises NotFound, Conflict."""
    opened = await research_handover.hand_over(services, delivery, actor=OPERATOR)
    count = there = gone = 0
    for row in opened.rows:
        target = directory / row["path"]
        if _is_whole(target, row["size"], row["sha256"]):
            there += 1
            continue
        try:
            with _Replacing(target) as file:
                async for part in opened.content(row, 0, row["size"]):
                    file.write(part)
                file.commit()
            count += 1
        except NotFound:  # has left while we wrote
            gone += 1
    for path, content in opened.papers:
        with _Replacing(directory / path) as file:
            file.write(content)
            file.commit()
    return {"written": count, "there": there, "withdrawn": gone, "directory": str(directory)}


class _Replacing:
    """A file that is there whole or not at all."""

    def __init__(self, target: Path) -> None:
        self._target = target
        self._draft = target.with_name(f".{target.name}.part")

    def __enter__(self) -> _Replacing:
        self._target.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._draft.open("wb")
        return self

    def write(self, part: bytes) -> None:
        self._file.write(part)

    def commit(self) -> None:
        """All of it is written."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._draft.replace(self._target)

    def __exit__(self, *_: object) -> None:
        self._file.close()
        self._draft.unlink(missing_ok=True)


def _is_whole(path: Path, size: int, sha256: bytes) -> bool:
    if not path.is_file() or path.stat().st_size != size:
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest() == sha256


def _uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as exc:
        raise InvalidInput("This is not the id of anything.") from exc
