"""What lies beside the images of a delivery: what was removed, left out and is to be deleted, and checksums."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Iterable, Sequence
from typing import Any

import orjson

from server.storage.db import Record

from .research import Project

Paper = tuple[str, bytes]  # its path in the ZIP, its content


def papers(
    project: Project,
    images: Sequence[Record],
    *,
    removals: Sequence[Record],
    left_out: Sequence[Record],
    leavers: tuple[Sequence[str], Sequence[str]],
) -> list[Paper]:
    """All of them; `leavers` are the pseudonyms whose images are to be deleted, and those to be set aside."""
    made = [
        ("README.txt", _readme(project).encode()),
        ("report.csv", _report(images, removals)),
        ("removed.csv", _removed(removals)),
        ("left-out.csv", _csv(("pseudonym", "reason", "count"), (tuple(row.values()) for row in left_out))),
        ("delete.csv", _to_delete(*leavers)),
    ]
    return [*made, ("manifest.sha256", _manifest(images, made))]


def _report(images: Sequence[Record], removals: Sequence[Record]) -> bytes:
    """Which file is described by which number in removed.csv."""
    numbers = {row["digest"]: number for number, row in enumerate(removals, 1)}
    return _csv(("file", "removed"), ((row["path"], numbers.get(row["removal"], "")) for row in images))


def _removed(removals: Sequence[Record]) -> bytes:
    rows = (
        (number, *what.split(" ", 1), count)
        for number, row in enumerate(removals, 1)
        for what, count in orjson.loads(row["counts"]).items()
    )
    return _csv(("removed", "what", "attribute", "count"), rows)


def _to_delete(gone: Sequence[str], aside: Sequence[str]) -> bytes:
    rows = [(each, "delete") for each in gone] + [(each, "set aside") for each in aside]
    return _csv(("pseudonym", "do"), rows)


def _manifest(images: Sequence[Record], made: Sequence[Paper]) -> bytes:
    sums = [f"{row['sha256'].hex()}  {row['path']}\n" for row in images]
    sums += [f"{hashlib.sha256(data).hexdigest()}  {path}\n" for path, data in made]
    return "".join(sums).encode()


def _readme(project: Project) -> str:
    return f"""Images without names for: {project.name} ({project.organization})

They are pseudonymised, not anonymous: only the server they come from can go back to a person, and nobody may try.
Method: DICOM PS3.15, Annex E; the profile and its options stand in each file in (0012,0063) and (0012,0064).

<pseudonym>/<study>/<series>/<instance>.dcm   the images
report.csv, removed.csv   what was removed from each file, by attribute, in counts without values
left-out.csv              what was not given, and why
delete.csv                who has stopped taking part: delete everything under these names, copies too
manifest.sha256           "sha256sum --check manifest.sha256" says whether all is whole
"""


def _csv(head: Iterable[str], rows: Iterable[Iterable[Any]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(head)
    writer.writerows(rows)
    return text.getvalue().encode()
