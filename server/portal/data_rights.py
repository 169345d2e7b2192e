"""Your data: a copy of everything, restriction, consents, holds, disclosures (product rows 49, 52, 55-57, 59)."""

from __future__ import annotations

from uuid import UUID

from starlette.responses import Response

from server.core.errors import NotFound, ServerError
from server.records.people import patient_of_account
from server.rights import consents, disclosures, erasure, export, holdings, policy, restriction

from . import permissions, step_up
from .downloads import zip_answer
from .pages import language_of, render, see_other
from .visit import Visit

HERE = "/account/data"
_SIZES = ((1 << 30, "GB"), (1 << 20, "MB"), (1 << 10, "kB"))


async def show(visit: Visit) -> Response:
    """Everything a person can ask of their data, and what is on it."""
    return await _page(visit)


async def _page(visit: Visit, status: int = 200, problem: str = "") -> Response:
    services, actor = visit.services, visit.holder
    reach = await visit.own_reach(erasure.PATIENT_DELETE)
    profiles = await holdings.profiles(services, actor=actor, reach=reach)
    copies = [
        {"it": each, "size": _size(each.size), "several": len(profiles) > 1}
        for each in await export.listed(services, actor=actor)
    ]
    return render(
        visit.request,
        "your_data.html",
        status,
        here="account",
        profiles=profiles,
        copies=copies,
        told=await disclosures.of_patient(services, reach=reach),
        waiting=await erasure.waiting(services, actor=actor),
        automated=policy.AUTOMATED,
        problem=problem,
    )


def _size(size: int) -> str:
    for unit, name in _SIZES:
        if size >= unit:
            return f"{size / unit:.1f} {name}"
    return f"{size} B"


def _profile_id(visit: Visit) -> str:
    """The profile that a form is about; whether it is theirs, the reach says."""
    found = visit.form["profile"]
    if not found or len(found) > 64:
        raise NotFound()
    return found


@step_up.required
async def make_copy(visit: Visit) -> Response:
    """Have a copy made; asks who it is first."""
    reach = await visit.own_reach(export.PATIENT_READ)
    await export.ask(visit.services, _profile_id(visit), reach=reach, actor=visit.holder)
    return see_other(HERE, "copy")


async def drop_copy(visit: Visit) -> Response:
    """Delete a copy before its time."""
    await export.drop(visit.services, _uuid(visit.place("copy")), actor=visit.holder)
    return see_other(HERE, "copy-deleted")


async def fetch_copy(visit: Visit) -> Response:
    """The ZIP, whole or from where a download was cut (RFC 9110, 14)."""
    reach = await visit.own_reach(export.PATIENT_READ)
    found, download = await export.open_download(
        visit.services, _uuid(visit.place("copy")), reach=reach, actor=visit.holder
    )
    name = f"lightbox-{found.created_at:%Y-%m-%d}.zip"
    return zip_answer(visit, download, name=name, etag=found.etag)


async def restrict(visit: Visit) -> Response:
    """Stored only, from now on."""
    reach = await visit.own_reach(restriction.PATIENT_UPDATE)
    await restriction.begin(visit.services, _profile_id(visit), reach=reach, actor=visit.holder)
    return see_other(HERE, "restricted")


@step_up.required
async def unrestrict(visit: Visit) -> Response:
    """Shared again with whom it was shared with before; asks who it is first."""
    reach = await visit.own_reach(restriction.PATIENT_UPDATE)
    try:
        await restriction.end(visit.services, _profile_id(visit), reach=reach, actor=visit.holder)
    except NotFound:
        raise
    except ServerError as exc:
        return await _page(visit, exc.status, str(exc))
    return see_other(HERE, "unrestricted")


async def show_consents(visit: Visit) -> Response:
    """Everything this person has said yes to, each with the way to take it back."""
    reach = await visit.own_reach(consents.CONSENT_UPDATE)
    given = await consents.given(visit.services, actor=visit.holder, reach=reach)
    current = await permissions.current(visit.services, visit.signed_in.account_id)
    names = {each.key: each.name for each in permissions.CHOICES}
    choices = [(names[key], each.at) for key, each in current.items() if each.given and key in names]
    return render(visit.request, "consents.html", here="account", given=given, choices=choices)


async def withdraw_consents(visit: Visit) -> Response:
    """All of it at once: shares, apps, permissions. As easy as giving: nothing is asked."""
    me, services = visit.signed_in, visit.services
    reach = await visit.own_reach(consents.CONSENT_UPDATE)
    async with services.db.transaction():
        await consents.withdraw_all(services, actor=visit.holder, reach=reach)
        patient_id = await patient_of_account(services, me.account_id)
        who = visit.holder.who()
        await permissions.choose(
            services, me.account_id, [], who=who, patient_id=patient_id, channel="account"
        )
    return see_other("/account/consents", "withdrawn-all")


async def show_policy(visit: Visit) -> Response:
    """The question of the newest version, and what was answered before."""
    version = policy.current()
    answers = await policy.answers_of(visit.services, visit.signed_in.account_id)
    agreed, at = answers.get(version.number, (False, None))
    return render(
        visit.request,
        "policy_answer.html",
        here="account",
        version=version,
        agreed=agreed,
        answered_at=at,
        automated=policy.AUTOMATED,
    )


async def answer_policy(visit: Visit) -> Response:
    """Keep the answer; anything but a ticked yes is a no."""
    me, version = visit.signed_in, policy.current()
    if not version.question:
        raise NotFound()
    await policy.answer(
        visit.services,
        me.account_id,
        version,
        agreed=visit.form["answer"] == "yes",
        language=language_of(visit.request, me),
        who=visit.holder.who(),
        patient_id=await patient_of_account(visit.services, me.account_id),
    )
    return see_other("/account/policy", "policy")


def _uuid(value: str) -> UUID:
    try:
        return UUID(value)
    except ValueError as exc:
        raise NotFound() from exc
