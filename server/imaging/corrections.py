"""What a patient corrects about a study: laid over the values of the images, which stay as they came.

Product row 53. Shown by the ImagingStudy and the pages; DICOMweb goes on describing the objects that it gives out.
Every word is kept, with who said it and when. What the images said decides about access (scopes that filter by
modality) as before: a correction opens and closes nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from uuid import UUID, uuid4

import orjson

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.events import Event
from server.core import clock
from server.core.errors import InvalidInput, NotFound
from server.core.texts import N_
from server.storage.db import Record
from server.storage.sql import load

from . import rebuild
from .to_fhir.overlay import original_values

QUERIES = load(__package__, "corrections.sql")

MOST = 200  # characters
# What may be corrected. The name on the images is shown to tell discs apart: it says nothing of whose a study is.
ATTRIBUTES = ("date", "description", "modality", "body_part", "name")
_DATE = re.compile(r"\d{4}(-\d{2}(-\d{2})?)?")
_CODE = re.compile(r"[A-Z][A-Z0-9 _]{0,15}")


class NotCorrectable(InvalidInput):
    """This is not something a correction can say."""


@dataclass(frozen=True)
class Correction:
    """One word of the holder about one attribute; `value` is empty where it went back to the images' own."""

    id: UUID
    attribute: str
    value: str
    original: str
    by_name: str
    created_at: datetime
    superseded_at: datetime | None

    @property
    def in_force(self) -> bool:
        return self.superseded_at is None and bool(self.value)


async def correct(
    services: Services,
    patient_id: str,
    study_uid: str,
    changes: Mapping[str, str],
    *,
    reach: Reach,
    actor: Actor,
) -> list[str]:
    """Say how it is; the attributes that changed. An empty value takes a correction back.

    `reach` is for updating ImagingStudy: only its part that comes from holding the profile counts. Raises NotFound,
    and NotCorrectable for an attribute or value that cannot be.
    """
    wanted = {attribute: _checked(attribute, value) for attribute, value in changes.items()}
    async with services.db.transaction():
        row = await _locked(services, patient_id, study_uid, reach)
        said = original_values(row)
        corrected: dict[str, str] = orjson.loads(row["corrected"])
        # What the images say already needs no correction.
        wanted = {name: "" if value == said[name] else value for name, value in wanted.items()}
        changed = {name: value for name, value in wanted.items() if corrected.get(name, "") != value}
        if changed:
            await _write(services, row, corrected, changed, said, actor)
    if changed:
        rebuild.soon(services, {(patient_id, study_uid)})
    return list(changed)


async def undo(
    services: Services, patient_id: str, study_uid: str, attribute: str, *, reach: Reach, actor: Actor
) -> str:
    """Take the latest word on an attribute back: what was said before it holds again; '' is what the images say.

    Raises NotFound when nothing was said of it.
    """
    async with services.db.transaction():
        row = await _locked(services, patient_id, study_uid, reach)
        values = {"patient_id": patient_id, "study_uid": study_uid, "attribute": attribute}
        said = await services.db.fetch_all(QUERIES["latest_two"], values)
        if not said or not said[0]["value"]:
            raise NotFound()
        before = str(said[1]["value"]) if len(said) > 1 else ""
        await services.db.execute(QUERIES["mark_undone"], {"ids": [each["id"] for each in said]})
        corrected = orjson.loads(row["corrected"])
        await _write(services, row, corrected, {attribute: before}, original_values(row), actor)
    rebuild.soon(services, {(patient_id, study_uid)})
    return before


async def history(services: Services, patient_id: str, study_uid: str, *, reach: Reach) -> list[Correction]:
    """Every word about a study, the latest first; empty where nothing was said or the study is not in reach."""
    values = {"patient_id": patient_id, "study_uid": study_uid}
    rows = await services.db.fetch_all(QUERIES["corrections"], values, reach=reach.studies())
    return [
        Correction(
            row["id"],
            row["attribute"],
            row["value"],
            row["original"],
            row["by_name"],
            row["created_at"],
            row["superseded_at"],
        )
        for row in rows
    ]


async def _locked(services: Services, patient_id: str, study_uid: str, reach: Reach) -> Record:
    """The study, kept from changing; only who holds the record corrects it."""
    values = {"patient_id": patient_id, "study_uid": study_uid}
    holders = reach.of_holder().patients()
    row = await services.db.fetch_one(QUERIES["study_to_correct"], values, reach=holders)
    if row is None:
        raise NotFound()
    return row


async def _write(
    services: Services,
    row: Record,
    corrected: dict[str, str],
    changed: Mapping[str, str],
    said: Mapping[str, str],
    actor: Actor,
) -> None:
    now, study = clock.now(), {"patient_id": row["patient_id"], "study_uid": row["study_uid"]}
    names = list(changed)
    rows = {
        "ids": [uuid4() for _ in names],
        "attributes": names,
        "values": [changed[name] for name in names],
        "originals": [said[name] for name in names],
        "account": actor.account_id,
        "name": actor.name,
        "now": now,
    }
    await services.db.execute(QUERIES["supersede"], study | {"attributes": names, "now": now})
    await services.db.execute(QUERIES["say_correction"], study | rows)
    in_force = {name: value for name, value in {**corrected, **changed}.items() if value}
    document = orjson.dumps(in_force).decode()
    await services.db.execute(QUERIES["set_corrected"], study | {"corrected": document, "now": now})
    await services.audit.record(
        Event.STUDY_CORRECTED,
        who=actor.who(),
        patient_id=row["patient_id"],
        detail={"study": row["study_uid"], "attributes": names},
    )


def _checked(attribute: str, value: str) -> str:
    """The value as it is kept. Raises NotCorrectable."""
    if attribute not in ATTRIBUTES:
        raise NotCorrectable(N_("This cannot be corrected."))
    plain = " ".join(value.split())
    if len(plain) > MOST or any(ord(each) < 32 for each in plain):
        raise NotCorrectable(N_("A correction has at most 200 characters."))
    if attribute == "date" and plain:
        return _date(plain)
    if attribute in ("modality", "body_part") and plain:
        plain = plain.upper()
        if attribute == "modality" and not _CODE.fullmatch(plain):
            raise NotCorrectable(N_("A kind of imaging is a short code, such as CT or MR."))
    return plain


def _date(text: str) -> str:
    """A day, a month or a year that was."""
    try:
        if not _DATE.fullmatch(text):
            raise ValueError(text)
        first = date.fromisoformat(text + "-01-01"[len(text) - 4 :] if len(text) < 10 else text)
    except ValueError as error:
        raise NotCorrectable(N_("A date is a year, a month of a year, or a day: 2019-03-31.")) from error
    if first > clock.now().date():
        raise NotCorrectable(N_("The date lies in the future."))
    return text
