"""A database of the first release, with people in it, becomes one of this release."""

from __future__ import annotations

import itertools

import psycopg
import pytest

from server.storage.migrate import MigrationFailed, migrate
from tests.databases import create_database, drop_database

_numbers = itertools.count(1)

_PATIENT = "INSERT INTO patient (id, state, created_at) VALUES (%s, %s, '2026-01-01')"
_STUDY = (
    "INSERT INTO study (patient_id, study_uid, fhir_id, standing, created_at, updated_at)"
    " VALUES (%s, %s, %s, 'mine', '2026-01-01', '2026-01-01')"
)


@pytest.fixture
def empty(cluster: str):
    name = f"t_migrate_{next(_numbers)}"
    yield create_database(cluster, name, "template0")
    drop_database(cluster, name)


def test_from_the_foundation(empty: str) -> None:
    migrate(empty, "0001")
    with psycopg.connect(empty) as connection:
        connection.execute(_PATIENT, ("restricted", "restricted"))
        connection.execute(_PATIENT, ("active", "active"))
        connection.execute(_STUDY, ("restricted", "1.1", "a"))
        connection.execute(_STUDY, ("active", "1.2", "b"))
    migrate(empty)
    with psycopg.connect(empty) as connection:
        found = connection.execute("SELECT study_uid, patient_state FROM study ORDER BY 1").fetchall()
        assert found == [("1.1", "restricted"), ("1.2", "active")]
        connection.execute("UPDATE patient SET state = 'erasing' WHERE id = 'active'")
        connection.execute(_STUDY, ("active", "1.3", "c"))
        states = connection.execute("SELECT patient_state FROM study WHERE patient_id = 'active'").fetchall()
        assert states == [("erasing",), ("erasing",)]


def test_twice_changes_nothing(empty: str) -> None:
    migrate(empty)
    migrate(empty)


def test_a_database_that_is_not_there_is_said_in_a_sentence(empty: str) -> None:
    with pytest.raises(MigrationFailed, match="could not be brought up to date"):
        migrate(empty + "_not")
