"""Databases for tests: clones of a migrated template, emptied after use and given to the next test.

A clone costs PostgreSQL a tenth of a second, and hundreds of tests want one; emptying it takes a few milliseconds. A
database whose schema a test has touched is dropped instead.
"""

from __future__ import annotations

import itertools
import os
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg.sql import SQL, Identifier, Literal

TEMPLATE = "t_template"
MOST_PAGES = 64  # of a table; with more, what a test deleted is swept out for the next one
_numbers = itertools.count(1)

# The transactions that made the schema as it is: any change of it adds one, and TRUNCATE does too.
_OF_US = 16384  # the first number PostgreSQL gives to what is not its own
_SHAPE = " UNION ALL ".join(
    f"SELECT '{name}', count(*), sum(xmin::text::bigint) FROM {name} WHERE {key} >= {_OF_US}"
    for name, key in (
        *(("pg_class", "oid"), ("pg_attribute", "attrelid"), ("pg_attrdef", "oid"), ("pg_constraint", "oid")),
        *(("pg_index", "indexrelid"), ("pg_namespace", "oid"), ("pg_proc", "oid"), ("pg_trigger", "oid")),
        *(("pg_type", "oid"), ("pg_default_acl", "oid"), ("pg_extension", "oid")),
    )
)
_TABLES = "SELECT schemaname, tablename FROM pg_tables WHERE schemaname !~ '^pg_|^information_schema$' ORDER BY 1, 2"
_SEQUENCES = """
    SELECT format('%I.%I', schemaname, sequencename), coalesce(last_value, start_value), last_value IS NOT NULL
    FROM pg_sequences ORDER BY 1"""
_PUT = SQL(
    "INSERT INTO {table} OVERRIDING SYSTEM VALUE SELECT * FROM jsonb_populate_recordset(NULL::{table}, %s::jsonb)"
)
_OTHERS = """
    SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


def database_of(url: str, name: str) -> str:
    """The address of another database of the same cluster."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def create_database(url: str, name: str, template: str = TEMPLATE) -> str:
    """A clone of the template; its address."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}" STRATEGY FILE_COPY')
    return database_of(url, name)


def drop_database(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@dataclass
class Pool:
    """The clones of one cluster that nobody uses now, and what a new one looks like.

    Each keeps a connection of ours, whose caches know the schema already: that is most of what emptying would cost.
    """

    url: str
    _free: list[str] = field(default_factory=list)
    _ours: dict[str, psycopg.Connection[Any]] = field(default_factory=dict)
    _new: _State | None = None

    def take(self) -> str:
        """The address of a database as the migrations leave it."""
        if self._free:
            return self._free.pop()
        url = create_database(self.url, f"t_{os.getpid()}_{next(_numbers)}")
        if self._new is None:
            self._new = _State.of(self._connection(url))
        return url

    def give_back(self, url: str) -> None:
        """Emptied for the next one, or dropped."""
        assert self._new is not None
        try:
            same = self._new.restore(self._connection(url))
        except psycopg.OperationalError:  # the test has ended every connection
            self._ours.pop(url).close()
            same = self._new.restore(self._connection(url))
        if same:
            self._free.append(url)
        else:
            self._ours.pop(url).close()
            drop_database(self.url, urlsplit(url).path[1:])

    def close(self) -> None:
        for each in self._ours.values():
            each.close()

    def _connection(self, url: str) -> psycopg.Connection[Any]:
        if url not in self._ours:
            self._ours[url] = psycopg.connect(url, autocommit=True)
        return self._ours[url]


@dataclass
class _State:
    """A database as it comes from the template: its schema, the rows that migrations put into it, its sequences."""

    shape: list[Any]
    sequences: list[Any]
    rows: list[tuple[Identifier, str]]  # as JSON
    used: str  # the statement that finds tables with rows in them

    @classmethod
    def of(cls, connection: psycopg.Connection[Any]) -> _State:
        tables = [Identifier(*row) for row in connection.execute(_TABLES).fetchall()]
        rows = []
        for table in tables:
            found = connection.execute(
                SQL("SELECT jsonb_agg(to_jsonb(t))::text FROM {} t").format(table)
            ).fetchone()
            if found and found[0]:
                rows.append((table, found[0]))
        shape, sequences = connection.execute(_SHAPE).fetchall(), connection.execute(_SEQUENCES).fetchall()
        return cls(shape, sequences, rows, _used(tables))

    def restore(self, connection: psycopg.Connection[Any]) -> bool:
        """Whether the database could be made as it was."""
        connection.execute(_OTHERS)
        if connection.execute(_SHAPE).fetchall() != self.shape:
            return False
        used = [(SQL(table), pages) for table, pages in connection.execute(self.used).fetchall()]
        with connection.transaction():
            connection.execute("SET LOCAL session_replication_role = replica")  # no triggers, no foreign keys
            for table, _ in used:
                connection.execute(SQL("DELETE FROM {}").format(table))
            for table, rows in self.rows:
                connection.execute(_PUT.format(table=table), [rows])
            for sequence in set(self.sequences) - set(connection.execute(_SEQUENCES).fetchall()):
                connection.execute("SELECT setval(%s::regclass, %s, %s)", sequence)
        for table, pages in used:
            if pages > MOST_PAGES:
                connection.execute(SQL("VACUUM {}").format(table))
        return True


def _used(tables: list[Identifier]) -> str:
    """The statement that tells the tables with rows in them, and their sizes in pages."""
    each = SQL("SELECT {name}, pg_relation_size({name}::regclass) / 8192 WHERE EXISTS (SELECT FROM {table})")
    parts = [each.format(name=Literal(table.as_string(None)), table=table) for table in tables]
    return SQL(" UNION ALL ").join(parts).as_string(None)
