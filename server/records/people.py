"""Patients, practitioners and organizations: their row (which carries rights) and their FHIR resource, as one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any
from uuid import UUID

from server.access.services import Services
from server.audit.events import Event
from server.audit.who import Who
from server.core import clock
from server.core.errors import NotFound
from server.core.ids import new_id
from server.storage.sql import load

from . import document, store, us_core
from .batch import Put, put_all

QUERIES = load(__package__, "people.sql")

Json = dict[str, Any]


@dataclass(frozen=True)
class Registration:
    """What a doctor says of being one; shown to patients with its verification state."""

    number: str = ""
    authority: str = ""
    specialty: str = ""
    organization: str = ""


async def register_patient(
    services: Services,
    *,
    who: Who,
    name: str = "",
    birth_date: date | str | None = None,
    account_id: UUID | None = None,
    organization_id: str | None = None,
    resource: Mapping[str, Any] | None = None,
    as_sent: Mapping[str, Any] | None = None,
    patient_id: str | None = None,
) -> str:
    """Make a profile with its key and its Patient resource; the FHIR id.

    With an account the profile is that person's; without, it is unclaimed and `organization_id` made it.
    `resource` gives more elements of the Patient than name and birth date; `as_sent` is all of them, from a system,
    which may choose the id. Raises AlreadyStored when it is taken.
    """
    patient_id, now = patient_id or new_id(), clock.now()
    async with services.db.transaction():
        values = {"id": patient_id, "now": now, "organization": organization_id}
        await services.db.execute(
            QUERIES["add_patient"], values | {"claimed_at": now if account_id else None}
        )
        key = {"id": patient_id, "wrapped": await services.keyring.add_patient_key(patient_id), "now": now}
        await services.db.execute(QUERIES["add_key"], key)
        if account_id:
            holder = {"id": patient_id, "account": account_id, "now": now}
            await services.db.execute(QUERIES["add_holder"], holder)
        body = _patient(patient_id, {**_demographics(name, birth_date), **(resource or {})})
        if as_sent is not None:
            body = {**as_sent, "resourceType": "Patient", "id": patient_id}
        await store.put(services.db, body, patient_id=patient_id, author=_author(account_id, organization_id))
        await services.audit.record(Event.PROFILE_CREATED, who=who, patient_id=patient_id)
    return patient_id


async def register_unclaimed(
    services: Services, *, who: Who, organization_id: str, resources: Sequence[Mapping[str, Any]]
) -> list[str]:
    """Profiles that nobody owns yet, made by an organization: many at once; their FHIR ids.

    `resources` give the elements of each Patient.
    """
    now, ids = clock.now(), [new_id() for _ in resources]
    wrapped = [await services.keyring.add_patient_key(patient_id) for patient_id in ids]
    async with services.db.transaction():
        values = {"ids": ids, "wrapped": wrapped, "now": now, "organization": organization_id}
        await services.db.execute(QUERIES["add_unclaimed"], values)
        author = _author(None, organization_id)
        puts = [
            Put(_patient(id, resource), id, author=author)
            for id, resource in zip(ids, resources, strict=True)
        ]
        await put_all(services.db, puts)
        await services.audit.record_all(Event.PROFILE_CREATED, who=who, about=[(each, {}) for each in ids])
    return ids


async def register_practitioner(
    services: Services, *, account_id: UUID, name: str, email: str, registration: Registration, verified: bool
) -> str:
    """Make a doctor's row and Practitioner resource; the FHIR id. Verified is an operator's word."""
    practitioner_id = new_id()
    values = {
        "id": practitioner_id,
        "account": account_id,
        "name": name,
        "specialty": registration.specialty,
        "organization_name": registration.organization,
        "number": registration.number,
        "authority": registration.authority,
        "verification": "verified" if verified else "unverified",
        "now": clock.now(),
    }
    async with services.db.transaction():
        await services.db.execute(QUERIES["add_practitioner"], values)
        body = _practitioner(practitioner_id, name, registration)
        await store.put(services.db, body, patient_id="", author=f"account:{account_id}")
    return practitioner_id


async def register_organization(
    services: Services,
    *,
    name: str,
    identifier_system: str | None = None,
    issuers: tuple[str, ...] = (),
    member: UUID | None = None,
) -> str:
    """Make an organization with an identifier system of its own (decision 6); the FHIR id.

    Raises AlreadyStored when another organization has that identifier system.
    """
    organization_id = new_id()
    system = identifier_system or f"urn:uuid:{new_id()}"
    values = {"id": organization_id, "name": name, "system": system, "now": clock.now()}
    async with services.db.transaction():
        folded = [issuer.casefold().strip() for issuer in issuers]
        await services.db.execute(QUERIES["add_organization"], values | {"issuers": folded})
        if member:
            await services.db.execute(QUERIES["add_member"], {"id": organization_id, "account": member})
        body = {"resourceType": "Organization", "id": organization_id, "active": True, "name": name}
        await store.put(services.db, body, patient_id="", author="server")
    return organization_id


async def find_organization(services: Services, name: str) -> str | None:
    """The FHIR id of the organization of that name, or None."""
    found: str | None = await services.db.fetch_val(QUERIES["organization_named"], {"name": name})
    return found


async def fhir_id_of_account(services: Services, account_id: UUID) -> str | None:
    """The Patient, Practitioner or Organization an account stands for; None for an operator."""
    values = {"account": account_id, "now": clock.now()}
    found: str | None = await services.db.fetch_val(QUERIES["fhir_id_of_account"], values)
    return found


async def patient_of_account(services: Services, account_id: UUID) -> str | None:
    """The profile that a person holds as their own; a doctor may have one too."""
    values = {"account": account_id, "now": clock.now()}
    found: str | None = await services.db.fetch_val(QUERIES["patient_of_account"], values)
    return found


async def change_practitioner(
    services: Services, practitioner_id: str, *, registration: Registration, author: str
) -> None:
    """Write what a doctor says of being one into the row and the Practitioner; elements of others stay."""
    values = {
        "id": practitioner_id,
        "specialty": registration.specialty,
        "organization_name": registration.organization,
        "number": registration.number,
        "authority": registration.authority,
    }
    async with services.db.transaction():
        row = await services.db.fetch_one(QUERIES["change_practitioner"], values)
        if row is None:
            raise NotFound()
        said = _practitioner(practitioner_id, row["name"], registration)
        kept = document.load_exact(row["json"]) if row["json"] else {}
        body = {name: kept[name] for name in kept if name not in ("identifier", "qualification")} | said
        await store.put(services.db, body, patient_id="", author=author)


def _patient(patient_id: str, said: Mapping[str, Any]) -> Json:
    body = {"resourceType": "Patient", "id": patient_id, "active": True, **said}
    return us_core.claimed({"identifier": [us_core.record_identifier(patient_id)], **body})


def _author(account_id: UUID | None, organization_id: str | None) -> str:
    if account_id:
        return f"account:{account_id}"
    return f"organization:{organization_id}" if organization_id else "server"


def _demographics(name: str, birth_date: date | str | None) -> Json:
    found: Json = {}
    if name.strip():
        found["name"] = [human_name(name)]
    if birth_date:
        found["birthDate"] = str(birth_date)
    return found


def human_name(name: str) -> Json:
    """A name typed in one field as a FHIR HumanName: the last word is taken for the family name."""
    given, _, family = name.strip().rpartition(" ")
    parts: Json = {"text": name.strip(), "family": family}
    return parts | {"given": given.split()} if given else parts


def _practitioner(practitioner_id: str, name: str, registration: Registration) -> Json:
    body: Json = {
        "resourceType": "Practitioner",
        "id": practitioner_id,
        "active": True,
        "name": [human_name(name)],
    }
    if registration.number:
        identifier: Json = {"value": registration.number}
        if registration.authority:
            identifier["assigner"] = {"display": registration.authority}
        body["identifier"] = [identifier]
    if registration.specialty:
        body["qualification"] = [{"code": {"text": registration.specialty}}]
    return body
