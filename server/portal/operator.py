"""Operators: the numbers of the service, and what waits. No health data; no name where a number will do."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from server.core.errors import NotFound
from server.core.texts import N_
from server.rights import operating

from .pages import render, see_other
from .visit import Handler, Visit

DUTIES = {
    "support": N_("Support"),
    "privacy": N_("Privacy"),
    "verifier": N_("Verification of doctors"),
    "security": N_("Security"),
}
# Pages, and the duties that open them.
SECTIONS = (
    ("/operator/requests", N_("Requests"), ("support", "privacy")),
    ("/operator/doctors", N_("Doctors"), ("verifier",)),
    ("/operator/incidents", N_("Incidents"), ("security", "privacy")),
    ("/operator/records", N_("Records"), ("privacy", "security")),
    ("/operator/proposals", N_("Four eyes"), ("privacy",)),
    ("/operator/disclosures", N_("Disclosures"), ("privacy",)),
    ("/operator/research", N_("Research"), ("privacy",)),
    ("/operator/jobs", N_("Dead jobs"), ("support", "security")),
)


def for_duty(handler: Handler, *duties: str) -> Handler:
    """The page for operators who have one of these duties; for the others it does not exist."""

    async def checked(visit: Visit) -> Response:
        if not set(duties) & set(visit.signed_in.duties):
            raise NotFound()
        return await handler(visit)

    checked.__name__ = handler.__name__
    checked.__doc__ = handler.__doc__
    return checked


def sections_of(visit: Visit) -> list[tuple[str, str]]:
    """What this operator's duties open."""
    mine = set(visit.signed_in.duties)
    return [(path, title) for path, title, duties in SECTIONS if mine & set(duties)]


def uuid_of(visit: Visit, name: str) -> UUID:
    """An id in the path; raises NotFound for what cannot be one."""
    try:
        return UUID(visit.place(name))
    except ValueError as exc:
        raise NotFound() from exc


async def show(visit: Visit) -> Response:
    """Numbers, and what waits."""
    numbers = await operating.overview(visit.services, actor=visit.actor)
    return render(
        visit.request,
        "operator.html",
        here="operator",
        numbers=numbers,
        sections=sections_of(visit),
        duties=[DUTIES[each] for each in visit.signed_in.duties if each in DUTIES],
    )


async def jobs(visit: Visit) -> Response:
    """Work that was given up."""
    found = await operating.dead_jobs(visit.services, actor=visit.actor)
    return render(
        visit.request, "operator_jobs.html", here="operator", jobs=found, sections=sections_of(visit)
    )


async def settle_job(visit: Visit) -> Response:
    """Again, or drop it."""
    again = visit.form["do"] == "again"
    await operating.settle_job(visit.services, uuid_of(visit, "job"), again=again, actor=visit.actor)
    return see_other("/operator/jobs", "saved")
