"""Sharing, step by step, through the functions that the surfaces use."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from email.message import EmailMessage
from typing import TYPE_CHECKING

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.jobs import mailer
from server.jobs.worker import Worker
from server.sharing import expiry, invitation, share
from tests import mails
from tests.mails import text_of

if TYPE_CHECKING:
    from tests.factories import Person


def actor_of(person: Person) -> Actor:
    """The person as the gate would have it, without a session."""
    practitioner = person.fhir_id if person.role == "doctor" else None
    return Actor(
        ActorKind(person.role), account_id=person.account_id, practitioner_id=practitioner, name=person.name
    )


async def consent_reach(services: Services, person: Person, verb: Verb = Verb.UPDATE) -> Reach:
    """What the person may do with Consents."""
    return await services.gate.reach_for_actor(actor_of(person), Action("Consent", verb))


async def invite(
    services: Services,
    patient: Person,
    email: str,
    *,
    name: str = "Bo Reader",
    rights: Sequence[str] = ("images", "reports", "download"),
    studies: Sequence[str] | None = None,
    message: str = "",
) -> tuple[share.Share, str]:
    """An invitation, and the secret of its link, read from the mail."""
    before = len(await invitations_to(services, email))
    made = await share.invite(
        services,
        patient.fhir_id,
        name=name,
        email=email,
        rights=rights,
        studies=studies,
        message=message,
        actor=actor_of(patient),
        reach=await consent_reach(services, patient, Verb.CREATE),
    )
    return made, await invitation_to(services, email, after=before)


async def invite_and_accept(
    services: Services,
    patient: Person,
    doctor: Person,
    *,
    rights: Sequence[str] = ("images", "reports", "download"),
    studies: Sequence[str] | None = None,
) -> str:
    """An accepted share; its id."""
    _, secret = await invite(
        services, patient, doctor.email, name=doctor.name, rights=rights, studies=studies
    )
    return (await invitation.accept(services, secret, actor=actor_of(doctor))).id


async def work(services: Services) -> None:
    """Let everything that waits in the queue be done, and what time does to shares."""
    await expiry.run(services)
    await Worker(services, [mailer.KIT, expiry.KIT]).drain()


async def mails_to(services: Services, email: str) -> list[EmailMessage]:
    """The mails in the outbox to this address, the oldest first."""
    await Worker(services, [mailer.KIT]).drain()
    return mails.to(services.settings.data / "outbox", email)


async def invitations_to(services: Services, email: str) -> list[EmailMessage]:
    """The invitations among them."""
    return [mail for mail in await mails_to(services, email) if "/invitation/" in text_of(mail)]


async def invitation_to(services: Services, email: str, *, after: int = 0) -> str:
    """The secret of the link in the last invitation sent to this address, once there are more than `after`."""
    until = time.monotonic() + 60  # a running server's own worker may hold the mail at this moment
    while len(found := await invitations_to(services, email)) <= after:
        assert time.monotonic() < until, f"no invitation was mailed to {email}"
        await asyncio.sleep(0.02)
    return secret_in(found[-1])


def secret_in(mail: EmailMessage) -> str:
    """The secret of the link in an invitation."""
    found = re.search(r"/invitation/(\S{43})$", text_of(mail), re.MULTILINE)
    assert found, text_of(mail)
    return found[1]
