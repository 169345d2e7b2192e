"""Deleting everything: what it takes away, the password, a time to think it over, and the proof (product row 54)."""

from __future__ import annotations

from base64 import b64encode
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import orjson
from starlette.responses import JSONResponse, Response

from server.accounts import people
from server.audit import heads
from server.core.errors import Conflict, NotAuthenticated, NotFound, TooManyRequests
from server.core.texts import N_
from server.rights import erasure, holdings

from .forms import Form, filled
from .pages import HEADERS, render, see_other
from .visit import Visit

ACCOUNT = "account"
WHEN = {
    "now": N_("At once"),
    "later": N_("In 14 days: until then you can take it back"),
}
SURE = N_("Tick the box to say that you are sure.")


async def show(visit: Visit) -> Response:
    """What would be deleted, and the form."""
    return await _page(visit, filled({"what": ACCOUNT, "when": "later"}))


async def submit(visit: Visit) -> Response:
    """Check the password, then have it deleted; who deletes the account is signed out."""
    form, me, services = visit.form, visit.signed_in, visit.services
    reach = await visit.own_reach(erasure.PATIENT_DELETE)
    held = [each.patient_id for each in await holdings.profiles(services, actor=visit.holder, reach=reach)]
    what, when = form.one_of("what", [ACCOUNT, *held]), form.one_of("when", list(WHEN))
    if form["sure"] != "yes":
        form.errors["sure"] = SURE
    if form:
        try:
            await people.check_password(services.db, me.account_id, form.secret("password"))
        except (NotAuthenticated, TooManyRequests) as exc:
            form.refuse(exc, "password")
    if not form:
        return await _page(visit, form)
    wait = erasure.COOLING_OFF if when == "later" else timedelta(0)
    patient_id = None if what == ACCOUNT else what
    try:
        ids = await erasure.ask(services, actor=visit.holder, reach=reach, patient_id=patient_id, wait=wait)
    except Conflict as exc:
        form.refuse(exc)
        return await _page(visit, form)
    if when == "later":
        return see_other("/account/data", "erasure-asked")
    response = see_other(f"/erased/{ids[0]}")
    if what == ACCOUNT:
        await services.gate.sign_in.end(visit.request, response)
    return response


async def take_back(visit: Visit) -> Response:
    """In the time to think it over."""
    await erasure.take_back(visit.services, _uuid(visit), actor=visit.holder)
    return see_other("/account/data", "erasure-taken-back")


async def show_proof(visit: Visit) -> Response:
    """How far it is, and at the end the proof; for whoever knows the random number. No name stands here."""
    row = await erasure.state_of(visit.services, _uuid(visit))
    proof = orjson.loads(row["proof"]) if row["proof"] else None
    done = orjson.loads(row["steps"]).items()
    steps = {name: {"at": datetime.fromisoformat(facts["at"])} for name, facts in done if "at" in facts}
    return render(visit.request, "erased.html", erasure=row, proof=proof, steps=steps)


async def fetch_proof(visit: Visit) -> Response:
    """The proof with its signature (Ed25519) and the public key, to keep."""
    row = await erasure.state_of(visit.services, _uuid(visit))
    if row["proof"] is None:
        raise NotFound()
    kid = orjson.loads(row["proof"])["kid"]
    keys = await heads.public_keys(visit.services.db)
    content = {
        "proof": bytes(row["proof"]).decode(),
        "signature": b64encode(row["signature"]).decode(),
        "key": b64encode(keys[kid]).decode() if kid in keys else None,
        "algorithm": "Ed25519",
    }
    disposition = {"Content-Disposition": f'attachment; filename="erased-{row["id"]}.json"'}
    return JSONResponse(content, headers=HEADERS | disposition)


async def _page(visit: Visit, form: Form) -> Response:
    reach = await visit.own_reach(erasure.PATIENT_DELETE)
    profiles = await holdings.profiles(visit.services, actor=visit.holder, reach=reach)
    context: dict[str, Any] = {"form": form, "profiles": profiles, "when": list(WHEN.items())}
    context["held"] = [hold for each in profiles for hold in each.holds]
    return render(visit.request, "delete_account.html", 200 if form else 422, here="account", **context)


def _uuid(visit: Visit) -> UUID:
    try:
        return UUID(visit.place("erasure"))
    except ValueError as exc:
        raise NotFound() from exc
