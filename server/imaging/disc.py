"""What lies on a disc, in a folder, in a ZIP or in the image of a disc (.iso): which files are DICOM.

Told by content and never by name: the preamble and prefix of DICOM PS3.10, 7.1; files of old systems that lack both
begin with a data element of group 0002 or 0008. DICOMDIR (PS3.10, 8) is a directory, not an image.
"""

from __future__ import annotations

import asyncio
import io
import re
import zipfile
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from server.core.errors import InvalidInput

from .disc_image import ImageFile, files_in, is_image

CHUNK = 1_048_576
HEAD = 2048  # bytes looked at
MOST_FILES = 200_000
MOST_BYTES = 64 * 2**30  # of one ZIP, expanded
MOST_RATIO = 200  # expanded to packed; DICOM packs to a fifth at best
_DIRECTORY = b"1.2.840.10008.1.3.10"  # Media Storage Directory Storage
# A first element of group 0002 or 0008: its length of four bytes or its VR follows, little endian or big.
_BARE = re.compile(
    rb"[\x02\x08]\x00(?:\x00\x00|[\x01-\x18]\x00)(?:[A-Z]{2}|[\x00-\x40]\x00\x00\x00)"
    rb"|\x00\x08\x00[\x00-\x18](?:[A-Z]{2}|\x00\x00\x00[\x00-\x40])"
)


@dataclass
class FilePart:
    """One DICOM file, read as it is stored."""

    name: str
    source: Path | tuple[Path, str] | ImageFile  # a file, a member of a ZIP, or pieces of a disc's image
    headers: Mapping[str, str] = field(default_factory=dict)

    async def __aiter__(self) -> AsyncIterator[bytes]:
        stream = await asyncio.to_thread(self._open)
        try:
            while chunk := await asyncio.to_thread(stream.read, CHUNK):
                yield chunk
        finally:
            await asyncio.to_thread(stream.close)

    def _open(self) -> io.BufferedReader | _Member:
        if isinstance(self.source, Path):
            return self.source.open("rb")
        if isinstance(self.source, ImageFile):
            return self.source.open()
        archive, member = self.source
        return _Member(archive, member)


@dataclass
class Disc:
    """The files found, and what was left out and why."""

    parts: list[FilePart] = field(default_factory=list)
    ignored: Counter[str] = field(default_factory=Counter)

    def look_at(self, part: FilePart, head: bytes) -> None:
        kind = kind_of(head)
        if kind == "dicom":
            self.parts.append(part)
        else:
            self.ignored[kind] += 1


def survey(paths: Iterable[Path]) -> Disc:
    """Walk folders, files, ZIPs and images of discs. Raises InvalidInput for a path that is not there, and for a ZIP
    or image that is broken or made to do harm."""
    disc = Disc()
    for path in paths:
        if not path.exists():
            raise InvalidInput(f"There is no {path}.")
        for file in _files(path):
            _survey_file(disc, file)
    return disc


def kind_of(head: bytes) -> str:
    """`dicom`, `directory` (a DICOMDIR), or `other`, by the first bytes of a file."""
    if _DIRECTORY in head:
        return "directory"
    if head[128:132] == b"DICM":
        return "dicom"
    if _BARE.match(head):
        return "dicom"
    return "other"


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
        return
    for file in sorted(path.rglob("*")):
        if file.is_file() and not file.is_symlink():  # a link may lead out of the disc
            yield file


def _survey_file(disc: Disc, file: Path) -> None:
    with file.open("rb") as stream:
        head = stream.read(HEAD)
    if head[:4] == b"PK\x03\x04":
        _survey_zip(disc, file)
    elif is_image(file):
        _survey_image(disc, file)
    else:
        disc.look_at(FilePart(file.name, file), head)


def _survey_zip(disc: Disc, file: Path) -> None:
    try:
        with zipfile.ZipFile(file) as archive:
            members = [each for each in archive.infolist() if not each.is_dir()]
            _require_sane(file, members)
            for member in members:
                with archive.open(member) as stream:
                    head = stream.read(HEAD)
                disc.look_at(FilePart(member.filename, (file, member.filename)), head)
    except (
        zipfile.BadZipFile,
        RuntimeError,
        NotImplementedError,
        EOFError,
    ) as exc:  # broken, encrypted, unknown
        raise InvalidInput(f"{file.name} cannot be unpacked.") from exc


def _survey_image(disc: Disc, file: Path) -> None:
    for found in files_in(file):
        with found.open() as stream:
            head = stream.read(HEAD)
        disc.look_at(FilePart(found.name, found), head)


def _require_sane(file: Path, members: list[zipfile.ZipInfo]) -> None:
    expanded = sum(each.file_size for each in members)
    packed = sum(each.compress_size for each in members)
    if len(members) > MOST_FILES or expanded > MOST_BYTES or expanded > MOST_RATIO * max(packed, 4096):
        raise InvalidInput(f"{file.name} would unpack to more than is sensible.")


class _Member(io.RawIOBase):
    """A member of a ZIP; closing it closes the ZIP too."""

    def __init__(self, archive: Path, member: str) -> None:
        self._archive = zipfile.ZipFile(archive)
        self._stream = self._archive.open(member)

    def read(self, size: int = -1) -> bytes:
        return self._stream.read(size)

    def close(self) -> None:
        self._stream.close()
        self._archive.close()
        super().close()
