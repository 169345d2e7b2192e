"""Pages that say something and do nothing: the front page, how we manage data."""

from __future__ import annotations

from starlette.responses import Response

from server.rights import policy

from .pages import render, see_other
from .visit import Visit

HOMES = {"patient": "/imaging", "doctor": "/my-patients", "operator": "/operator"}


async def front(visit: Visit) -> Response:
    """What this is, for strangers; the own start page for who is signed in."""
    if visit.me is not None:
        done = visit.query("done")
        return see_other(HOMES.get(visit.me.role, "/account") + (f"?done={done}" if done.isalpha() else ""))
    return render(visit.request, "front.html", here="front")


async def data(visit: Visit) -> Response:
    """How we manage your data: public, linked from every page and from sign-up."""
    return render(visit.request, "data.html", version=policy.current(), automated=policy.AUTOMATED)
