"""Resources that go from one patient to another: two records turn out to be one person's, or not to be after all.

The versions go along as they were written; what refers to the patient is written anew as the next version, so that
no reference leads to a record that is none any more (FHIR R4, Patient.link). Part of the caller's transaction.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from server.storage.db import Database
from server.storage.handover import wrapped_for
from server.storage.keyring import KeyRing
from server.storage.sql import load

from . import document, store
from .document import Json

QUERIES = load(__package__, "carry.sql")
Name = tuple[str, str]  # type and id


async def carry(
    db: Database,
    keyring: KeyRing,
    *,
    giver: str,
    taker: str,
    references: Mapping[str, str],
    only: Collection[Name] | None = None,
) -> list[Name]:
    """Bring over all resources of a patient, or `only` some; which ones. `references` says what is called how now."""
    named: dict[str, Any] = {"types": None, "ids": None}
    if only is not None:
        named = {"types": [type for type, _ in only], "ids": [id for _, id in only]}
    rows = await db.fetch_all(QUERIES["resources_of"], {"giver": giver, **named})
    values = {"giver": giver, "taker": taker, "keys": [row["key"] for row in rows]}
    await db.fetch_val(QUERIES["move_resources"], values)
    await _wrap_anew(db, keyring, values)
    for row in rows:
        if row["deleted"]:
            continue
        resource = document.load_exact(row["json"])
        changed = renamed(resource, references)
        if changed != resource:
            await store.rewrite(db, dict(row) | {"patient_id": taker}, changed)
    return [(row["type"], row["id"]) for row in rows]


async def _wrap_anew(db: Database, keyring: KeyRing, values: Json) -> None:
    rows = await db.fetch_all(QUERIES["content_keys"], {"taker": values["taker"], "keys": values["keys"]})
    old = [row["wrapped_key"] for row in rows]
    new = await wrapped_for(db, keyring, old, giver=values["giver"], taker=values["taker"])
    columns = {f"{name}s": [row[name] for row in rows] for name in ("type", "id", "version")}
    await db.execute(QUERIES["wrap_content_anew"], {"taker": values["taker"], "wrapped": new, **columns})


async def let_go(db: Database, patient_id: str, studies: Collection[str]) -> None:
    """Studies went elsewhere: what the server made of them here ends, what people wrote stays without them."""
    values = {"patient": patient_id, "studies": list(studies)}
    rows = await db.fetch_all(QUERIES["about_gone_studies"], values)
    for row in rows:
        if row["author"] == "server":
            await store.remove(db, row["type"], row["id"], author="server")
    written = [row["key"] for row in rows if row["author"] != "server"]
    await db.execute(QUERIES["detach"], {"keys": written})


def renamed(value: Any, references: Mapping[str, str]) -> Any:
    """The same content, with references to what is called otherwise now; pure."""
    if isinstance(value, dict):
        found: Json = {}
        for name, member in value.items():
            is_reference = name == "reference" and isinstance(member, str)
            found[name] = references.get(member, member) if is_reference else renamed(member, references)
        return found
    if isinstance(value, list):
        return [renamed(each, references) for each in value]
    return value


__all__ = ["carry", "let_go", "renamed"]
