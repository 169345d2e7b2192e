"""What only an operator does: no view of health data comes with it. Raises Forbidden for everybody else."""

from __future__ import annotations

from server.access.actor import NO_CREDENTIAL, Actor, ActorKind
from server.access.services import Services
from server.accounts.people import fold_email
from server.core import clock
from server.core.errors import Forbidden, NotFound, Unprocessable
from server.storage.sql import load

QUERIES = load(__package__)
MOST_TEXT = 2000


async def require_operator(services: Services, actor: Actor) -> None:
    """An operator with a living session; the command line has none, and is trusted (who may run it reads the keys)."""
    if actor.kind is not ActorKind.OPERATOR:
        raise Forbidden()
    if actor.credential != NO_CREDENTIAL and not await services.gate.lives(actor.credential):
        raise Forbidden()


async def patient_of_email(services: Services, email: str, *, actor: Actor) -> str:
    """The profile of the person with this address, for a request that came through contact. Raises NotFound."""
    await require_operator(services, actor)
    values = {"folded": fold_email(email), "now": clock.now()}
    found: str | None = await services.db.fetch_val(QUERIES["patient_of_email"], values)
    if found is None:
        raise NotFound("There is no patient with this address.")
    return found


async def require_patient(services: Services, patient_id: str) -> None:
    """Raises NotFound."""
    if not await services.db.fetch_val(QUERIES["patient_exists"], {"patient": patient_id}):
        raise NotFound("There is no such patient.")


def said(value: str, what: str) -> str:
    """A text that must be there; raises Unprocessable."""
    text = value.strip()
    if not text or len(text) > MOST_TEXT:
        raise Unprocessable(f"{what} is needed, of at most {MOST_TEXT} characters.")
    return text
