"""What becomes of every DICOM file that comes with pydicom and pydicom-data: a table in Markdown.

    python -m benchmarks.real_files > docs/real-files.md

Each is stored into a server of its own, read back byte for byte, decoded, drawn and rewritten. Several of the files
share a SOP Instance UID: those go to another patient, for the first one's is kept.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import Any

from benchmarks.dicomweb import AS_STORED, FRAME, JSON, STOW, Client, Server, body, lightbox, new_client
from tests.conformance.dicomweb.test_real_files import FILES

PATIENTS = 19  # as many files as share one UID, at most
DUPLICATE = 0x0111
JPEG_2000 = {"Accept": "application/dicom; transfer-syntax=1.2.840.10008.1.2.4.90"}
OCTETS = {"Accept": 'multipart/related; type="application/octet-stream"'}


@dataclass(frozen=True)
class Row:
    """One file."""

    name: str
    outcome: str
    same: str = ""
    decoded: str = ""
    drawn: str = ""
    rewritten: str = ""
    compressed: str = ""


def main() -> None:
    with lightbox() as server:
        stores = [new_client(server, f"store {number}") for number in range(PATIENTS)]
        rows = [row_of(path, stores) for path in FILES]
    print("\n".join(table(rows)))


def row_of(path: Path, stores: Sequence[Server]) -> Row:
    data = path.read_bytes()
    for server in stores:
        report = json.loads(ask(server, "POST", "/studies", STOW, body([data]))[1])
        failed = [*_items(report, "00081198"), *_items(report, "0008119A")]
        if not failed or failed[0]["00081197"]["Value"][0] != DUPLICATE:
            break
    if failed:
        code, words = failed[0]["00081197"]["Value"][0], failed[0]["00000902"]["Value"][0]
        return Row(path.name, f"refused, {code:04X}: {words}")
    url = _items(report, "00081199")[0]["00081190"]["Value"][0]
    return _asked(path.name, server, url.split("/dicomweb", 1)[1], data)


def _asked(name: str, server: Server, path: str, data: bytes) -> Row:
    status, back = ask(server, "GET", path, AS_STORED)
    _, model = ask(server, "GET", f"{path}/metadata", JSON)
    frames = any(tag in json.loads(model)[0] for tag in ("7FE00010", "7FE00008", "7FE00009"))
    decoded, content = ask(server, "GET", f"{path}/frames/1", OCTETS)
    held, _ = ask(server, "GET", f"{path}/frames/1", FRAME)
    drawn, _ = ask(server, "GET", f"{path}/rendered", {"Accept": "image/png"})
    _, rewritten = ask(server, "GET", path, {"Accept": "application/dicom"})
    is_decoded = decoded == held == 200 and b"octet-stream" in content[:200]
    return Row(
        name,
        "stored",
        _word(status == 200 and data in back),
        _word(is_decoded) if frames else "",
        _word(drawn == 200) if frames else "",
        _word(b"1.2.840.10008.1.2.1\0" in rewritten[:1000]),
        _word(ask(server, "GET", path, JPEG_2000)[0] == 200) if frames else "",
    )


def ask(
    server: Server, method: str, path: str, headers: dict[str, str], content: bytes | None = None
) -> tuple[int, bytes]:
    """On a connection of its own: so many stores wait too long between two requests."""
    for _ in range(3):
        try:
            return Client(server).ask(method, path, headers, content)
        except (HTTPException, OSError):
            continue
    raise SystemExit(f"{server.name} does not answer {method} {path}")


def _items(report: Any, tag: str) -> list[Any]:
    found: list[Any] = report.get(tag, {}).get("Value", [])
    return found


def _word(holds: bool) -> str:
    return "yes" if holds else "no"


def table(rows: Sequence[Row]) -> Iterator[str]:
    """The page."""
    counts = Counter(row.outcome.split(",")[0] for row in rows)
    yield "# Every file of pydicom and pydicom-data\n"
    yield "Made by `python -m benchmarks.real_files`. *Same*: `transfer-syntax=*` gives what was sent; *decoded*: the"
    yield "first frame as octets; *drawn*: the same as PNG; *rewritten*: in Explicit VR Little Endian; *compressed*: in"
    yield "JPEG 2000 Lossless, which the standard allows for 2 to 38 bits (we write 24).\n"
    yield f"{len(rows)} files: {counts['stored']} stored, {counts['refused']} refused with the reason given.\n"
    yield "| file | outcome | same | decoded | drawn | rewritten | compressed |\n|---|---|---|---|---|---|---|"
    for row in sorted(rows, key=lambda each: each.name.lower()):
        yield "| " + " | ".join(astuple(row)) + " |"


if __name__ == "__main__":
    main()
