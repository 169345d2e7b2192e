"""A backup while the server serves: rows of one moment, and the packs they name, as they lie (decision 23).

Each patient's rows are sealed with that patient's key, what belongs to nobody with the system's. The wrapped keys of
the patients go into a second file, which is to be kept for a short time only: once the key of an erased patient is in
no such file any more, nothing of that patient can be read from any backup of ours, however old.

The rows come out of one repeatable-read snapshot. Packs are never changed, only removed when nothing uses them, and
the sweep that does so waits while a backup goes on (an advisory lock, which dies with its connection).
"""

from __future__ import annotations

import hashlib
import zlib
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg

from server import __version__
from server.core import clock

from .backup_file import Json, Writer
from .crypto import Missing
from .db import Database
from .keyring import KeyRing, KeyUnusable
from .objects import ObjectStore
from .packs import KEEP_PACKS
from .tables import QUERIES, Table, all_tables

CHUNK = 1 << 20  # bytes of rows in one frame, before compression
KEYS = "keys.patient_key"
ACCOUNT_KEYS = "keys.account_key"  # of accounts, which seal their part of the system's log
SECOND_FILE = (KEYS, ACCOUNT_KEYS)
STORE = "keys.store"
KEYS_KEPT = timedelta(days=30)
# Left out by name, each with its reason; everything else there is, is in.
LEFT_OUT = {
    "public.alembic_version": "the schema is made by the server that restores",
    KEYS: "goes into the second file",
    ACCOUNT_KEYS: "the same",
    STORE: "where this server keeps keys; another keeps them elsewhere",
    "public.data_export_part": "a copy made for its owner: made again when asked for",
    "public.data_export_file": "the same",
    "public.data_export": "the same",
}


@dataclass
class Report:
    """What a backup holds."""

    id: str
    rows: int = 0
    tables: Counter[str] = field(default_factory=Counter)
    patients: int = 0
    packs: int = 0
    size: int = 0  # bytes of the file
    keyless: int = 0  # rows of patients whose key is destroyed: left out
    missing: list[UUID] = field(default_factory=list)  # packs that are not where they should be


def keys_file(file: Path) -> Path:
    """Where the wrapped keys of a backup go."""
    return file.with_name(f"{file.name}.keys")


async def back_up(db: Database, objects: ObjectStore, keyring: KeyRing, file: Path) -> Report:
    """Write FILE and FILE.keys; both are there whole, or neither is new."""
    header = await _header(db)
    report = Report(header["id"])
    rows, keys = Writer(file, keyring, header), Writer(keys_file(file), keyring, _keys_header(header))
    try:
        async with db.raw() as connection, _packs_kept(db):
            async with db.transaction(isolation="repeatable_read"):
                for table in await all_tables(db):
                    await _dump(connection, keyring, table, rows, keys, report)
                packs = b"".join(row["id"].bytes for row in await db.fetch_all(QUERIES["all_packs"]))
            await _copy_packs(objects, packs, rows, report)
        keys.finish({"patients": report.patients})
        rows.finish({"tables": dict(report.tables), "packs": report.packs, "keyless": report.keyless})
    except BaseException:
        rows.abandon()
        keys.abandon()
        raise
    report.size = rows.size
    return report


async def _header(db: Database) -> Json:
    return {
        "id": str(uuid4()),
        "made_at": clock.now().isoformat(),
        "server": __version__,
        "schema": await db.fetch_val(QUERIES["revision"]),
    }


def _keys_header(header: Json) -> Json:
    until = (clock.now() + KEYS_KEPT).date().isoformat()
    return header | {"holds": "wrapped keys", "destroy_by": until}


@asynccontextmanager
async def _packs_kept(db: Database) -> AsyncIterator[None]:
    await db.fetch_val(QUERIES["keep_packs"], {"lock": KEEP_PACKS})
    try:
        yield
    finally:
        await db.fetch_val(QUERIES["release_packs"], {"lock": KEEP_PACKS})


async def _dump(
    connection: asyncpg.Connection, keyring: KeyRing, table: Table, rows: Writer, keys: Writer, report: Report
) -> None:
    """All rows of one table, in the order of whose they are."""
    if table.full not in SECOND_FILE and table.full in LEFT_OUT:
        return
    into = keys if table.full in SECOND_FILE else rows
    owner = None if table.full in SECOND_FILE else table.owner
    sink = _Rows(keyring, table, into, report)
    await connection.copy_from_query(_query(table, owner), output=sink.take, format="text")
    sink.close()


def _query(table: Table, owner: str | None) -> str:
    columns = ", ".join(f'whole."{column}"' for column in table.columns)
    if owner is None:
        return f"SELECT NULL, NULL, {columns} FROM {table.quoted} AS whole"  # noqa: S608 - names of our schema
    return (
        f"SELECT whole.\"{owner}\", encode(key.wrapped, 'hex'), {columns} FROM {table.quoted} AS whole"  # noqa: S608
        f' LEFT JOIN keys.patient_key AS key ON key.patient_id = whole."{owner}"'
        f' ORDER BY whole."{owner}"'
    )


_NULL = b"\\N"


class _Rows:
    """Lines of COPY (text): whose it is, the wrapped key, the row. Gathered by owner, compressed, sealed."""

    def __init__(self, keyring: KeyRing, table: Table, into: Writer, report: Report) -> None:
        self._keyring = keyring
        self._table = table
        self._into = into
        self._report = report
        self._rest = b""
        self._whose: tuple[bytes, bytes] = (_NULL, _NULL)
        self._lines: list[bytes] = []
        self._size = 0

    async def take(self, data: bytes) -> None:
        """Some bytes of the stream; a row may be cut anywhere."""
        lines = (self._rest + data).split(b"\n")
        self._rest = lines.pop()
        for line in lines:
            owner, wrapped, row = line.split(b"\t", 2)
            if self._table.full == KEYS:
                row = self._key_itself(row)
                if not row:
                    continue
            if (owner, wrapped) != self._whose or self._size >= CHUNK:
                self._flush()
                self._whose = (owner, wrapped)
            self._lines.append(row)
            self._size += len(row) + 1

    def close(self) -> None:
        self._flush()

    def _flush(self) -> None:
        lines, self._lines, self._size = self._lines, [], 0
        if not lines:
            return
        owner, wrapped = self._whose
        of_nobody = owner in (_NULL, b"")
        if not of_nobody and wrapped == _NULL:
            self._report.keyless += len(lines)  # of a patient being erased: nothing of it is copied any more
            return
        key = None if of_nobody else bytes.fromhex(wrapped.decode("ascii"))
        try:
            self._seal(key, None if of_nobody else owner.decode("ascii"), lines)
        except KeyUnusable:  # destroyed since the snapshot was taken: being erased as well
            self._report.keyless += len(lines)

    def _seal(self, key: bytes | None, patient: str | None, lines: list[bytes]) -> None:
        plain = zlib.compress(b"\n".join(lines) + b"\n", 1)
        head: dict[str, Any] = {"kind": "rows", "table": self._table.full, "columns": self._table.columns}
        head |= {"rows": len(lines), "patient": patient}
        self._into.frame(head, self._keyring.seal(key, plain, self._into.context()))
        self._count(len(lines))

    def _key_itself(self, row: bytes) -> bytes:
        """The second file holds keys, wherever they lie here; nothing when this one was destroyed meanwhile."""
        fields = row.split(b"\t")
        place = self._table.columns.index("wrapped")
        held = bytes.fromhex(fields[place].removeprefix(b"\\\\x").decode("ascii"))
        try:
            fields[place] = b"\\\\x" + self._keyring.wrapped(held).hex().encode("ascii")
        except KeyUnusable:
            return b""
        return b"\t".join(fields)

    def _count(self, lines: int) -> None:
        if self._table.full in SECOND_FILE:
            self._report.patients += lines if self._table.full == KEYS else 0
            return
        self._report.rows += lines
        self._report.tables[self._table.full] += lines


async def _copy_packs(objects: ObjectStore, ids: bytes, into: Writer, report: Report) -> None:
    """Every pack, as it lies; `ids` is 16 bytes for each."""
    for start in range(0, len(ids), 16):
        pack_id = UUID(bytes=ids[start : start + 16])
        try:
            await _copy_pack(objects, pack_id, into)
            report.packs += 1
        except Missing:
            report.missing.append(pack_id)


async def _copy_pack(objects: ObjectStore, pack_id: UUID, into: Writer) -> None:
    size, digest = await objects.pack_size(pack_id), hashlib.sha256()
    for begin in range(0, max(size, 1), objects.files.window):
        end = min(begin + objects.files.window, size)
        part = await objects.sealed(pack_id, begin, end)
        if len(part) != end - begin:
            raise Missing()
        digest.update(part)
        head = {"kind": "pack", "pack": str(pack_id), "at": begin}
        into.frame(head | ({"sha256": digest.hexdigest(), "size": size} if end == size else {}), part)


__all__ = ["KEYS_KEPT", "LEFT_OUT", "Report", "back_up", "keys_file"]
