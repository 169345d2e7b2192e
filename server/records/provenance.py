"""Provenance: who brought a resource: the patient, somebody of the care team, an organization, a system.

FHIR R4, Provenance. Made by the server beside what it is about, in the same transaction.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from server.storage.db import Database
from server.storage.sql import load

from .document import instant

QUERIES = load(__package__, "provenance.sql")

Json = dict[str, Any]

_PARTICIPANT = "http://terminology.hl7.org/CodeSystem/provenance-participant-type"
_OPERATION = "http://terminology.hl7.org/CodeSystem/v3-DataOperation"
# Whose coming is noted by itself; an ImagingStudy's is noted when it is made from the images.
BROUGHT = frozenset({"DiagnosticReport", "DocumentReference"})


def derived_id(*parts: str) -> str:
    """The id of what the server makes of something: the same each time it is made."""
    return str(uuid5(NAMESPACE_URL, "urn:lightbox:" + "/".join(parts)))


async def agents_of(db: Database, patient_id: str, authors: Iterable[str]) -> list[Json]:
    """The agents that `resource.author` stands for, each once, in order."""
    wanted = [each for each in dict.fromkeys(authors) if each and each != "server"]
    if not wanted:
        return []
    values = {
        "patient": patient_id,
        "authors": wanted,
        "accounts": [UUID(found) if (found := _named(each, "account")) else None for each in wanted],
        "organizations": [_named(each, "organization") for each in wanted],
        "clients": [_named(each, "client") for each in wanted],
    }
    rows = await db.fetch_all(QUERIES["who_they_are"], values)
    return [_agent(dict(row), patient_id) for row in rows]


def provenance(
    id: str, target: str, recorded: datetime, agents: list[Json], *, activity: str = "CREATE"
) -> Json:
    """The Provenance of one resource; `activity` is CREATE or UPDATE."""
    coding = {"system": _OPERATION, "code": activity, "display": activity.lower()}
    return {
        "resourceType": "Provenance",
        "id": id,
        "target": [{"reference": target}],
        "recorded": instant(recorded),
        "activity": {"coding": [coding]},
        "agent": agents,
    }


def _named(author: str, kind: str) -> str | None:
    found, _, id = author.partition(":")
    return id if found == kind else None


def agent(kind: str, who: Json) -> Json:
    """An agent; `kind` is enterer or transmitter."""
    coding = {"system": _PARTICIPANT, "code": kind, "display": kind.capitalize()}
    return {"type": {"coding": [coding]}, "who": who}


def _agent(row: Json, patient_id: str) -> Json:
    if row["practitioner_id"]:
        who = {"reference": f"Practitioner/{row['practitioner_id']}", "display": row["name"]}
        return agent("enterer", who)
    if row["as_what"] == "self":
        return agent("enterer", {"reference": f"Patient/{patient_id}"})
    if row["organization_id"]:
        who = {"reference": f"Organization/{row['organization_id']}", "display": row["name"]}
        return agent("transmitter", who)
    if row["author"].startswith("client:"):
        return agent("transmitter", {"type": "Device", "display": row["name"] or "A system"})
    return agent("enterer", {"display": row["name"] or "A former user"})
