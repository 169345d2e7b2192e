"""The demo: people to sign in as, and real sample images (pydicom's own) of the patient among them.

They come through the same functions as anybody and any upload. The operator is added last: once that account is
there, the demo was complete, and what somebody deleted since stays deleted.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import structlog
from pydicom import data as pydicom_data

from server.access.action import STUDY_STORE
from server.access.actor import Actor, ActorKind
from server.access.services import Services
from server.accounts import people as accounts
from server.audit.events import Event
from server.audit.who import Who
from server.imaging import store
from server.records import people as records

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Person:
    """Somebody to sign in as."""

    role: str
    name: str
    email: str
    password: str


PATIENT = Person("patient", "Pat Demo", "pat@demo.example", "demo-patient-pass")
DOCTOR = Person("doctor", "Dana Doctor", "doc@demo.example", "demo-doctor-pass")
OPERATOR = Person("operator", "Olive Operator", "ops@demo.example", "demo-operator-pass")
PEOPLE = (PATIENT, DOCTOR, OPERATOR)
BIRTH_DATE = "1975-05-17"

# One of each kind that a record meets, each of which the viewer shows.
SAMPLES = (
    "CT_small.dcm",
    "MR_small.dcm",
    "examples_overlay.dcm",  # MR, abdomen
    "examples_jpeg2k.dcm",  # ultrasound, JPEG 2000
    "examples_rgb_color.dcm",  # ultrasound, colour
    "examples_palette.dcm",  # ultrasound, palette
    "examples_ybr_color.dcm",  # ultrasound, 30 frames, JPEG
    "JPEG2000.dcm",  # nuclear medicine, whole body
    "693_J2KI.dcm",  # CT of unknown date
    "rtdose.dcm",
    "waveform_ecg.dcm",
    "reportsi.dcm",  # structured report
)


async def seed(services: Services) -> None:
    """Add what is missing of the demo; nothing when it was complete once."""
    if await accounts.find_by_email(services.db, OPERATOR.email):
        return
    patient = await _account(services, PATIENT)
    await _images(services, patient, await _profile(services, patient))
    doctor = await _account(services, DOCTOR)
    await _practitioner(services, doctor)
    await _account(services, OPERATOR)


async def _account(services: Services, person: Person) -> accounts.Account:
    found = await accounts.find_by_email(services.db, person.email)
    if found:
        return found
    async with services.db.transaction():
        added = await accounts.add(
            services.db,
            email=person.email,
            name=person.name,
            role=person.role,
            password=person.password,
            verified=True,
            by_operator=True,
        )
        await services.audit.record(Event.ACCOUNT_CREATED, who=_who(added), patient_id=None)
    return added


async def _profile(services: Services, account: accounts.Account) -> str:
    known = await records.fhir_id_of_account(services, account.id)
    return known or await records.register_patient(
        services, who=_who(account), name=account.name, birth_date=BIRTH_DATE, account_id=account.id
    )


async def _practitioner(services: Services, account: accounts.Account) -> None:
    if await records.fhir_id_of_account(services, account.id) is None:
        await records.register_practitioner(
            services,
            account_id=account.id,
            name=account.name,
            email=account.email,
            registration=records.Registration(
                number="DEMO-1", specialty="Radiology", organization="Demo Clinic"
            ),
            verified=True,
        )


async def _images(services: Services, account: accounts.Account, patient_id: str) -> None:
    actor = Actor(ActorKind.PATIENT, account_id=account.id, name=account.name)
    reach = await services.gate.reach_for_actor(actor, STUDY_STORE, patient_id=patient_id)
    report = await store.receive(
        services, _parts(), reach=reach, actor=actor, patient_id=patient_id, study_uid=None, mine=True
    )
    for failure in report.failed:
        log.warning("a sample image was not stored", reason=failure.comment)


class _Sample:
    """One file, as a store takes it."""

    headers: ClassVar[Mapping[str, str]] = {"content-type": "application/dicom"}

    def __init__(self, file: Path) -> None:
        self._file = file

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._file.read_bytes()


async def _parts() -> AsyncIterator[store.Part]:
    folder = Path(pydicom_data.__file__).parent / "test_files"
    for name in SAMPLES:
        yield _Sample(folder / name)


def _who(account: accounts.Account) -> Who:
    return Who(name=account.name, role=account.role, account_id=account.id)
