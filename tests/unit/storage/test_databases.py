"""The databases that tests hand on to each other (tests/databases.py): the next one finds nothing of the one before."""

from __future__ import annotations

import psycopg

from tests.databases import Pool


def test_what_one_test_wrote_the_next_does_not_find(cluster: str) -> None:
    """Rows, rows of the migrations, numbers, open transactions; somebody may still be connected."""
    pool = Pool(cluster)
    first = pool.take()
    with psycopg.connect(first, autocommit=True) as other:
        other.execute("UPDATE change_counter SET last = 7")
        other.execute("UPDATE search_index SET made_by = 'somebody'")
        other.execute("SELECT setval('resource_key_seq', 900)")
        left_open = psycopg.connect(first)
        left_open.execute("LOCK TABLE patient IN ACCESS EXCLUSIVE MODE")
        pool.give_back(first)
    left_open.close()
    assert pool.take() == first
    with psycopg.connect(first, autocommit=True) as again:
        assert again.execute("SELECT last FROM change_counter").fetchall() == [(0,)]
        assert again.execute("SELECT made_by FROM search_index").fetchall() == [("",)]
        assert again.execute("SELECT nextval('resource_key_seq')").fetchone() == (1,)
    pool.give_back(first)
    pool.close()


def test_a_schema_that_was_touched_is_not_handed_on(cluster: str) -> None:
    pool = Pool(cluster)
    for change in (
        "ALTER TABLE audit_event DISABLE TRIGGER USER",
        "CREATE TABLE mine (x int)",
        "TRUNCATE pack CASCADE",
    ):
        touched = pool.take()
        with psycopg.connect(touched, autocommit=True) as connection:
            connection.execute(change)
        pool.give_back(touched)
        fresh = pool.take()
        assert fresh != touched, change
        pool.give_back(fresh)
    pool.close()
