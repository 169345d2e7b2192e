"""An image on its way to a project: whether the project may read it now, whose it is, and where it lies.

Whether somebody still takes part is asked of living rows each time.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import orjson

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind, Credential
from server.access.reach import Reach
from server.access.services import Services
from server.imaging.deidentify import Made, words_of
from server.storage.db import Record
from server.storage.objects import Address
from server.storage.sql import load

QUERIES = load(__package__, "research.sql")
PATIENT_READ = Action("Patient", Verb.READ)


async def reach_of(services: Services, project_id: UUID, action: Action, credential: Credential) -> Reach:
    """What the project may read at this moment, while the operator who acts for it is signed in."""
    project = Actor(ActorKind.PROJECT, project_id=str(project_id), credential=credential)
    return await services.gate.reach_for_actor(project, action)


async def known_of(services: Services, patient_id: str, *, reach: Reach) -> frozenset[str]:
    """Words that identify a person here: names, numbers, birth date, addresses."""
    row = await services.db.fetch_one(QUERIES["who_it_is"], {"patient": patient_id}, reach=reach.patients())
    if row is None:
        return frozenset()
    texts = [*row["numbers"], *row["holders"], patient_id]
    patient = orjson.loads(row["json"]) if row["json"] else {}
    for name in ("name", "identifier", "telecom", "address", "contact"):
        texts += _strings(patient.get(name) or [])
    birth = str(patient.get("birthDate") or "")
    return words_of([*texts, birth.replace("-", "")])


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in ("system", "use", "url", "period"):
                yield from _strings(each)
    elif isinstance(value, list):
        for each in value:
            yield from _strings(each)


def address_of(services: Services, row: Record) -> Address:
    key = services.keyring.unwrap(row["wrapped"], row["wrapped_key"])
    return Address(row["pack_id"], row["object_id"], row["pack_offset"], row["size"], key)


def digest_of_head(made: Made) -> bytes:
    """What was made anew is what was planned when this and its size are the same."""
    return hashlib.sha256(made.head).digest()
