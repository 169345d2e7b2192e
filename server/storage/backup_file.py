"""The file of a backup: a line that says what it is, a header, then frames, each with a sealed head and its body.

    lightbox backup 1\\n
    header: JSON, a line
    frame:  length of the sealed head (4 bytes), length of the body (8 bytes), sealed head, body
    ...
    the last frame has the kind "end"

A head is sealed for the system in the context of this backup and the frame's number: frames cannot be exchanged,
left out or added, and a file that is cut lacks its end. Bodies of rows are sealed by whoever's they are; bodies of
packs are encrypted as they lie.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import orjson

from server.core.errors import OutOfSpace, ServerError

from .keyring import KeyRing, KeyUnusable

MAGIC = b"lightbox backup 1\n"
END = "end"
_LENGTHS = struct.Struct(">IQ")
_MOST_HEAD = 1 << 20
_MOST_BODY = 1 << 30

Json = dict[str, Any]


class BackupUnusable(ServerError):
    """This file is no backup of Lightbox, or not a whole one."""


class Writer:
    """Writes a backup beside its place, and puts it there when it is whole."""

    def __init__(self, path: Path, keyring: KeyRing, header: Json) -> None:
        self._path = path
        self._draft = path.with_name(f".{path.name}.part")
        self._keyring = keyring
        self._context = str(header["id"]).encode()
        self._number = 0
        self.size = 0
        descriptor = os.open(self._draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        self._file: IO[bytes] = os.fdopen(descriptor, "wb", buffering=1 << 20)
        self._write(MAGIC + orjson.dumps(header) + b"\n")

    def context(self) -> bytes:
        """What binds the body of the next frame to its place."""
        return b"body:%b:%d" % (self._context, self._number)

    def frame(self, head: Json, body: bytes | memoryview = b"") -> None:
        """Add one frame."""
        context = b"head:%b:%d" % (self._context, self._number)
        sealed = self._keyring.seal(None, orjson.dumps(head), context)
        self._write(_LENGTHS.pack(len(sealed), len(body)) + sealed)
        self._write(body)
        self._number += 1

    def finish(self, head: Json) -> None:
        """The last frame; then the file is on the disk under its name."""
        self.frame({"kind": END, **head})
        try:
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
        except OSError as exc:
            raise OutOfSpace("The backup could not be written: is there room left where it goes?") from exc
        self._draft.replace(self._path)

    def abandon(self) -> None:
        """Leave nothing of it."""
        with suppress(OSError):  # what is still in memory may find no room
            self._file.close()
        self._draft.unlink(missing_ok=True)

    def _write(self, data: bytes | memoryview) -> None:
        """Raises OutOfSpace."""
        try:
            self._put(data)
        except OSError as exc:
            raise OutOfSpace("The backup could not be written: is there room left where it goes?") from exc
        self.size += len(data)

    def _put(self, data: bytes | memoryview) -> None:
        self._file.write(data)


class Frame:
    """One frame as read."""

    def __init__(self, head: Json, body: bytes, context: bytes) -> None:
        self.head = head
        self.body = body
        self.context = context

    @property
    def kind(self) -> str:
        return str(self.head["kind"])


class Reader:
    """Reads a backup, frame by frame."""

    def __init__(self, path: Path, keyring: KeyRing) -> None:
        self._keyring = keyring
        try:
            self._file = path.open("rb")
        except OSError as exc:
            raise BackupUnusable(f"{path} cannot be read.") from exc
        try:
            if self._file.read(len(MAGIC)) != MAGIC:
                raise BackupUnusable(f"{path} is no backup of Lightbox.")
            self.header: Json = orjson.loads(self._file.readline(_MOST_HEAD))
            self._context = str(self.header["id"]).encode()
        except (ValueError, KeyError, BackupUnusable) as exc:
            self._file.close()
            raise BackupUnusable(f"{path} is no backup of Lightbox.") from exc

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def frames(self) -> Iterator[Frame]:
        """Every frame, the end included. Raises BackupUnusable for a file that is cut, altered, or of other keys."""
        number, ended = 0, False
        while lengths := self._file.read(_LENGTHS.size):
            if ended or len(lengths) != _LENGTHS.size:
                raise BackupUnusable()
            frame = self._frame(number, *_LENGTHS.unpack(lengths))
            ended = frame.kind == END
            yield frame
            number += 1
        if not ended:
            raise BackupUnusable("The file ends before the backup does.")

    def _frame(self, number: int, head_size: int, body_size: int) -> Frame:
        if head_size > _MOST_HEAD or body_size > _MOST_BODY:
            raise BackupUnusable()
        sealed, body = self._file.read(head_size), self._file.read(body_size)
        if len(sealed) != head_size or len(body) != body_size:
            raise BackupUnusable("The file ends before the backup does.")
        try:
            head = orjson.loads(self._keyring.open(None, sealed, b"head:%b:%d" % (self._context, number)))
        except KeyUnusable as exc:
            raise BackupUnusable(
                "The backup was altered, or was made under another master key: put that one in its place first."
            ) from exc
        return Frame(head, body, b"body:%b:%d" % (self._context, number))
