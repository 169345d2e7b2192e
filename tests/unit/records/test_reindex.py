"""After an upgrade that indexes more, every resource is indexed again, and nothing else of it changes."""

from __future__ import annotations

from server.access.action import Action, Verb
from server.access.reach import Ground, Lane, Reach
from server.core import clock
from server.records import reindex, search, store
from server.records.criteria import condition
from server.records.registry import types
from server.records.search import Query
from server.records.search_references import Searching
from server.storage.db import Database
from server.storage.sql import Statement

REACH = Reach(Action("Basic", Verb.SEARCH), (Lane(Ground.SERVER),))
FORGET = [
    Statement("forget", text)
    for text in (
        "DELETE FROM index_text",
        "DELETE FROM index_token",
        "UPDATE search_index SET made_by = 'before'",
    )
]


async def found(db: Database, name: str, value: str) -> list[tuple[str, int]]:
    query = Query(types()["Basic"], (condition(types()["Basic"], name, value),))
    shown = await search.page(db, query, Searching("http://x/fhir"), reach=REACH, limit=10)
    return sorted((one.id, one.version) for one in shown)


async def test_what_an_upgrade_adds_is_found(db: Database) -> None:
    add = Statement("add", "INSERT INTO patient (id, created_at) VALUES ('p1', :now)")
    await db.execute(add, {"now": clock.now()})
    for id in ("b1", "b2", "b3"):
        basic = {"resourceType": "Basic", "id": id, "code": {"coding": [{"code": "x"}], "text": "zebra"}}
        await store.put(db, basic, patient_id="p1", author="server")
    await store.remove(db, "Basic", "b3", author="server")
    both = [("b1", 1), ("b2", 1)]
    assert await reindex.go_on(db) == 0  # of a new database: all was indexed when it was written
    assert await found(db, "_content", "zebra") == both
    for statement in FORGET:
        await db.execute(statement)
    assert await found(db, "_content", "zebra") == await found(db, "code", "x") == []
    assert await reindex.go_on(db) == 2
    assert await found(db, "_content", "zebra") == await found(db, "code", "x") == both
    assert await reindex.go_on(db) == 0
