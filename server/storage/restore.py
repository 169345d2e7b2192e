"""Restoring a backup into an empty server: all of it in one transaction, or nothing.

Rows come first, table by table in the order of their references, then the packs; at the end the whole becomes
visible. A patient without a key in the file of keys stays out, with everything that refers to them: that is what
destroying a key means.
"""

from __future__ import annotations

import hashlib
import io
import zlib
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import structlog

from server.core.errors import Conflict

from .backup import SECOND_FILE, STORE
from .backup_file import END, BackupUnusable, Frame, Reader
from .db import Database
from .files import Files, Sink
from .keyring import KeyRing, KeyUnusable
from .objects import ObjectStore
from .tables import QUERIES, Table, all_tables

# Where one of these has a row, somebody has worked here. What is in other tables was made by the migration or a start.
PEOPLES = ("account", "patient", "client", "organization", "practitioner", "resource", "pack", "audit_event")
_STAGE = "pg_temp.restored"

log = structlog.get_logger(__name__)


@dataclass
class Report:
    """What was restored."""

    id: str
    made_at: str
    rows: int = 0
    tables: Counter[str] = field(default_factory=Counter)
    patients: int = 0
    packs: int = 0
    left_out: set[str] = field(default_factory=set)  # patients without a key
    dangling: int = 0  # rows that referred to them


async def restore(db: Database, objects: ObjectStore, keyring: KeyRing, file: Path, keys: Path) -> Report:
    """Restore FILE with the wrapped keys of `keys`, of the same backup or a later one.

    Raises Conflict when there is data already, BackupUnusable, OutOfSpace, StorageUnavailable.
    """
    with Reader(file, keyring) as backup, Reader(keys, keyring) as held:
        report = Report(backup.header["id"], backup.header["made_at"])
        async with db.transaction(), db.raw() as connection:
            tables = {table.full: table for table in await all_tables(db)}
            await _require_empty(connection, tables)
            work = _Restore(db, connection, keyring, tables, objects.files, report)
            await work.keys(held)
            await work.everything(backup)
    return report


async def _require_empty(connection: asyncpg.Connection, tables: dict[str, Table]) -> None:
    """Nobody may have worked here, nor may meanwhile; what a start made by itself goes."""
    for name in PEOPLES:
        table = tables[f"public.{name}"]
        await connection.execute(f"LOCK TABLE {table.quoted} IN EXCLUSIVE MODE")
        if await connection.fetchval(f"SELECT EXISTS (SELECT FROM {table.quoted})"):  # noqa: S608
            raise Conflict(
                f"There is data here already (in {name}): restore into an empty data directory or database."
            )
    for table in reversed(list(tables.values())):
        if table.name not in (*PEOPLES, "alembic_version") and table.full != STORE:
            await connection.execute(f"DELETE FROM {table.quoted}")  # noqa: S608 - a name of our schema


class _Restore:
    """The work inside the transaction."""

    def __init__(
        self,
        db: Database,
        connection: asyncpg.Connection,
        keyring: KeyRing,
        tables: dict[str, Table],
        files: Files,
        report: Report,
    ) -> None:
        self._db = db
        self._connection = connection
        self._keyring = keyring
        self._tables = tables
        self._report = report
        self._packs = _Packs(files)
        self._key: tuple[str, bytes | None] = ("", None)

    async def keys(self, held: Reader) -> None:
        """The wrapped keys first; the wrong master key shows at once."""
        for frame in held.frames():
            if frame.kind == "rows":
                if frame.head["table"] not in SECOND_FILE:
                    raise BackupUnusable("This is no file of keys.")
                await self._copy(self._table(frame), frame.head["columns"], self._opened(frame, None))
        first = await self._connection.fetchval("SELECT wrapped FROM keys.patient_key LIMIT 1")
        if first is not None:
            try:
                self._keyring.rewrap(first)
            except KeyUnusable as exc:
                raise BackupUnusable(
                    "The master key here does not open the keys of this backup. If it was rotated since, add the line"
                    " of the .retired file to this server's master key file."
                ) from exc

    async def everything(self, backup: Reader) -> None:
        """All frames in their order."""
        for frame in backup.frames():
            match frame.kind:
                case "rows":
                    await self._rows(frame)
                case "pack":
                    self._packs.take(frame)
                case kind if kind == END:
                    await self._end(frame)
                case _:
                    raise BackupUnusable("The backup was made by a later version of Lightbox.")

    async def _rows(self, frame: Frame) -> None:
        table, patient = self._table(frame), frame.head["patient"]
        key = await self._key_of(patient) if patient else None
        if patient and key is None:
            self._report.left_out.add(patient)
            return
        lines = self._opened(frame, key)
        if self._report.left_out and table.keys:
            await self._copy_whole_only(table, frame.head["columns"], lines, frame.head["rows"])
        else:
            await self._copy(table, frame.head["columns"], lines)
        self._report.rows += frame.head["rows"]
        self._report.tables[table.full] += frame.head["rows"]

    def _table(self, frame: Frame) -> Table:
        table = self._tables.get(frame.head["table"])
        if table is None or not set(frame.head["columns"]) <= set(table.columns):
            raise BackupUnusable("The backup was made by a later version of Lightbox.")
        return table

    def _opened(self, frame: Frame, key: bytes | None) -> bytes:
        try:
            return zlib.decompress(self._keyring.open(key, frame.body, frame.context))
        except (KeyUnusable, zlib.error) as exc:
            raise BackupUnusable("The backup was altered, or its keys do not belong to it.") from exc

    async def _key_of(self, patient: str) -> bytes | None:
        if self._key[0] != patient:
            self._key = (patient, await self._db.fetch_val(QUERIES["key_of"], {"patient_id": patient}))
        return self._key[1]

    async def _copy(self, table: Table, columns: list[str], lines: bytes) -> None:
        await self._connection.copy_to_table(
            table.name, schema_name=table.schema, columns=columns, source=io.BytesIO(lines), format="text"
        )

    async def _copy_whole_only(self, table: Table, columns: list[str], lines: bytes, count: int) -> None:
        """The rows whose references lead somewhere: the others belong to patients who stay out."""
        run = self._connection.execute
        listed = ", ".join(f'"{column}"' for column in columns)
        await run(f"CREATE TEMP TABLE restored AS SELECT {listed} FROM {table.quoted} WITH NO DATA")  # noqa: S608
        await self._connection.copy_to_table(
            "restored", columns=columns, source=io.BytesIO(lines), format="text"
        )
        wanted = " AND ".join(["true", *(_leads_somewhere(table, self._tables) or ())])
        status = await run(
            f"INSERT INTO {table.quoted} ({listed}) OVERRIDING SYSTEM VALUE"  # noqa: S608 - names of our schema
            f" SELECT {listed} FROM {_STAGE} AS row WHERE {wanted}"
        )
        await run(f"DROP TABLE {_STAGE}")
        self._report.dangling += count - int(status.rpartition(" ")[2])

    async def _end(self, frame: Frame) -> None:
        if not self._report.left_out and dict(self._report.tables) != frame.head["tables"]:
            raise BackupUnusable("The backup does not hold what it says.")
        if self._packs.done != frame.head["packs"]:
            raise BackupUnusable("The backup does not hold the files it says.")
        self._report.packs = self._packs.done
        for table in self._tables.values():
            for column in table.counted:
                await self._connection.execute(
                    f"SELECT setval(pg_get_serial_sequence('{table.quoted}', '{column}'),"  # noqa: S608
                    f' greatest((SELECT max("{column}") FROM {table.quoted}), 1))'
                )
        subjects = [f"patient:{patient}" for patient in self._report.left_out]
        await self._db.execute(QUERIES["forget_pseudonyms"], {"subjects": subjects})
        await self._db.execute(QUERIES["forget_idle_keys"])
        await self._db.execute(QUERIES["forget_idle_account_keys"])
        self._report.patients = await self._connection.fetchval("SELECT count(*) FROM keys.patient_key")


def _leads_somewhere(table: Table, tables: dict[str, Table]) -> list[str]:
    """For each reference: nothing in it, or the row is there. Packs come later, and are checked at the end."""
    found = []
    for key in table.keys:
        if key.parent.endswith(".pack") or key.parent == table.full:
            continue
        empty = " OR ".join(f'row."{column}" IS NULL' for column in key.columns)
        same = " AND ".join(
            f'parent."{theirs}" = row."{ours}"'
            for ours, theirs in zip(key.columns, key.parent_columns, strict=True)
        )
        parent = tables[key.parent].quoted
        found.append(f"({empty} OR EXISTS (SELECT FROM {parent} AS parent WHERE {same}))")
    return found


class _Packs:
    """Packs as they come, in pieces; each is published when its hash is right."""

    def __init__(self, files: Files) -> None:
        self._files = files
        self._sink: Sink | None = None
        self._id = ""
        self._at = 0
        self._digest = hashlib.sha256()
        self.done = 0

    def take(self, frame: Frame) -> None:
        """One piece. Raises BackupUnusable when pieces are missing or the whole is not what it was."""
        head: dict[str, Any] = frame.head
        if head["at"] == 0:
            self._begin(head["pack"])
        if self._sink is None or head["pack"] != self._id or head["at"] != self._at:
            raise BackupUnusable()
        self._sink.append(frame.body)
        self._digest.update(frame.body)
        self._at += len(frame.body)
        if "sha256" in head:
            if head["sha256"] != self._digest.hexdigest() or head["size"] != self._at:
                raise BackupUnusable("A file in the backup is not what it was.")
            self._sink.publish()
            self._sink, self.done = None, self.done + 1

    def _begin(self, name: str) -> None:
        if self._sink is not None:  # the one before was cut when it was copied: the backup said so
            self._sink.discard()
        pack_id = UUID(name)
        self._files.delete(pack_id)  # left by a restore that did not come to its end
        self._id, self._at, self._digest = name, 0, hashlib.sha256()
        self._sink = self._files.create(pack_id)
