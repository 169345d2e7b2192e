"""Mails about shares. No patient's name, nothing about health: who it is about stands behind the sign-in.

The letters lie in `letters/`; each says what it is, until when, and how to refuse.
"""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import urlsplit

from babel.dates import format_date

from server.access.services import Services
from server.accounts.people import fold_email
from server.core import clock
from server.core.texts import locale
from server.jobs import letter, mailer
from server.storage.sql import load

from .model import Share, State

QUERIES = load(__package__)
LETTERS = letter.templates(__package__)

INVITATION_PATH = "/invitation/{secret}"
SHARING_PATH = "/sharing"
DOCTOR_PATH = "/"
SIGN_UP_PATH = "/sign-up"
ACTIVITY_PATH = "/activity"
LINK_PATH = "/link/{link}"
CLAIM_PATH = "/account/people"


async def invited(services: Services, share: Share, secret: str) -> None:
    """To the doctor: the link."""
    assert share.waits_until is not None
    path = INVITATION_PATH.format(secret=secret)
    guess = await language_of_patient(services, share.patient_id)
    await _to(
        services, share.email, "invitation", path, until=share.waits_until, name=share.name, guess=guess
    )


async def passed_on(services: Services, share: Share, secret: str) -> None:
    """To the colleague: the link; to the patient: a doctor has passed it on."""
    assert share.waits_until is not None
    path = INVITATION_PATH.format(secret=secret)
    guess = await language_of_patient(services, share.patient_id)
    await _to(
        services,
        share.email,
        "invitation_of_colleague",
        path,
        until=share.waits_until,
        name=share.name,
        guess=guess,
    )
    await _to_holders(services, share, "passed_on")


async def accepted(services: Services, share: Share) -> None:
    """To the patient: the doctor has accepted (product row 34)."""
    await _to_holders(services, share, "accepted")


async def declined(services: Services, share: Share) -> None:
    """To the patient: the doctor has declined."""
    await _to_holders(services, share, "declined")


async def given_back(services: Services, share: Share) -> None:
    """To the patient: the doctor has ended it."""
    await _to_holders(services, share, "given_back")


async def expired(services: Services, share: Share) -> None:
    """To the patient: nobody answered within 336 hours; it can be sent again."""
    await _to_holders(services, share, "expired")


async def granted(services: Services, share: Share) -> None:
    """To the doctor: access by the patient's own word (a request answered, a Consent through FHIR)."""
    await _to_doctor(services, share, "granted")


async def over(services: Services, share: Share) -> None:
    """To the doctor: what was offered or shared is no more."""
    match share.stored_state:
        case State.WITHDRAWN:
            await _to_doctor(services, share, "withdrawn")
        case State.ENDED:
            await _to_doctor(services, share, "ended")
        case State.DECLINED:
            await _to_doctor(services, share, "refused")


async def requested(services: Services, email: str, doctor: str, until: datetime, *, known: bool) -> None:
    """To whoever has the address: a doctor asks for access. With a profile: answer; without: sign up first."""
    path = SHARING_PATH if known else SIGN_UP_PATH
    name = "request" if known else "request_sign_up"
    await _to(services, email, name, path, until=until, name=doctor)


async def link_made(
    services: Services, email: str, name: str, link_id: str, until: datetime, language: str
) -> None:
    """To the guest: the link. It opens nothing without the birth date and the code of another mail."""
    path = LINK_PATH.format(link=link_id)
    await _to(services, email, "guest_link", path, until=until, name=name, guess=language)


async def link_code(services: Services, email: str, name: str, code: str, language: str) -> None:
    """To the guest: the code that the page asks for. No link: whoever reads it has the page open."""
    await _to(services, email, "guest_code", "/", name=name, guess=language, code=code)


async def link_spent(services: Services, patient_id: str, name: str) -> None:
    """To the patient: too many wrong answers ended a link."""
    await _to_holders_of(services, patient_id, "guest_spent", name)


async def profile_waits(services: Services, email: str, doctor: str) -> None:
    """To the patient: a doctor has made a profile that waits to be claimed."""
    await _to(services, email, "profile_waits", CLAIM_PATH, name=doctor)


async def guardian_added(services: Services, patient_id: str, name: str) -> None:
    """To whoever holds the profile: somebody acts in it from now on."""
    await _to_holders_of(services, patient_id, "guardian_added", name)


async def records_merged(services: Services, patient_id: str) -> None:
    """To whoever holds the profile: another record of the same person is part of it from now on."""
    await _to_holders_of(services, patient_id, "records_merged", "")


async def records_parted(services: Services, patient_id: str) -> None:
    """To whoever holds the profile: an operator took out again what had been joined with it."""
    await _to_holders_of(services, patient_id, "records_parted", "")


async def break_glass(services: Services, patient_id: str, name: str) -> None:
    """To whoever holds the profile, at once: a doctor opened it in an emergency."""
    await _to_holders_of(services, patient_id, "break_glass", name)


async def looked(services: Services, email: str, count: int, *, daily: bool, language: str) -> None:
    """To whoever holds a record: others looked at it."""
    base = services.settings.base_url
    values = {"host": urlsplit(base).netloc, "link": base + ACTIVITY_PATH, "count": count, "daily": daily}
    mail = letter.write(LETTERS, "looked", email, values, language)
    await mailer.post(services.db, mail, keyring=services.keyring)


async def language_of_patient(services: Services, patient_id: str) -> str:
    """The language of whoever holds the profile."""
    rows = await services.db.fetch_all(QUERIES["holders"], {"patient": patient_id, "now": clock.now()})
    return str(rows[0]["language"]) if rows else "en"


async def _to_holders(services: Services, share: Share, name: str) -> None:
    await _to_holders_of(services, share.patient_id, name, share.name)


async def _to_holders_of(services: Services, patient_id: str, letter_name: str, name: str) -> None:
    values = {"patient": patient_id, "now": clock.now()}
    for row in await services.db.fetch_all(QUERIES["holders"], values):
        await _to(services, row["email"], letter_name, SHARING_PATH, name=name, guess=row["language"])


async def _to_doctor(services: Services, share: Share, name: str) -> None:
    email = share.email
    if share.practitioner_id:
        row = await services.db.fetch_one(QUERIES["practitioner"], {"id": share.practitioner_id})
        email = row["email"] if row is not None else email
    if email:  # an organization has none
        await _to(services, email, name, DOCTOR_PATH, name=share.name)


async def _to(
    services: Services,
    email: str,
    letter_name: str,
    path: str,
    *,
    name: str,
    until: datetime | None = None,
    guess: str = "en",
    code: str = "",
) -> None:
    """In the language of the account with this address, else in the one guessed."""
    base = services.settings.base_url
    known = await services.db.fetch_val(QUERIES["language_of_address"], {"folded": fold_email(email)})
    language = str(known or guess)
    values = {"host": urlsplit(base).netloc, "link": base + path, "name": name, "code": code}
    values["until"] = _spelled(until, language) if until is not None else ""
    mail = letter.write(LETTERS, letter_name, email, values, language)
    await mailer.post(services.db, mail, keyring=services.keyring)


def _spelled(moment: datetime, language: str) -> str:
    moment = moment.astimezone(UTC)
    return f"{format_date(moment, 'long', locale=locale(language))}, {moment:%H:%M} UTC"
