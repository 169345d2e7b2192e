"""Consents that come through FHIR: the same shares, written the other way round (decision 5).

A Consent of scope patient-privacy whose provision permits one recipient is a share: active and naming a registered
Practitioner (or an Organization) it holds at once, and the other party is told; naming an e-mail it is an
invitation; set to inactive it is over. One that says more than can be enforced is refused while active, and only
kept while not. Consents about anything else are kept and grant nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.core.ids import new_id, new_secret
from server.core.texts import N_
from server.records import store
from server.records.store import Stored

from . import guest, link_consent, notify, share
from .acts import QUERIES, require_patience, settle, study_ids_of, values_of
from .consent_json import Json, NotEnforceable, Terms, consent_of, is_about_sharing, terms_of
from .guest_link import Link, LinkState
from .model import LIVING, WAITING, WAITS, Share, State, require_future, require_own, share_of, taken_back

PROMISING = ("active", "proposed")
RECIPIENT = "Consent.provision.actor[0].reference"


@dataclass(frozen=True)
class Party:
    """The other side of a share: registered here, or known by an e-mail address only."""

    name: str
    email: str
    practitioner_id: str | None = None
    organization_id: str | None = None
    account_id: Any = None

    @property
    def registered(self) -> bool:
        return bool(self.practitioner_id or self.organization_id)


@dataclass(frozen=True)
class Step:
    """A share as a Consent wants it to be, and what has happened with that."""

    share: Share
    event: Event | None = None
    secret: str | None = None  # of a new invitation


async def create(
    services: Services,
    resource: Json,
    *,
    actor: Actor,
    reach: Reach,
    patient_id: str,
    id: str | None = None,
    method: str = "POST",
) -> Stored:
    """Store a new Consent and, where it is one, make the share it stands for.

    Raises Unprocessable (the patient is not in reach, more than can be enforced while active, a recipient or study
    that is not here), Conflict when the recipient has a share already.
    """
    consent_id = id or new_id()
    async with services.db.transaction():
        step = await _first(services, consent_id, patient_id, resource, reach)
        stored = await store.create(
            services.db,
            await _body(services, step, resource),
            reach=reach,
            patient_id=patient_id,
            author=actor.author,
            id=consent_id,
            method=method,
        )
        if step is not None:
            await services.db.fetch_one(QUERIES["add_share"], values_of(step.share, step.secret))
            await _tell(services, step, actor)
    return stored


async def update(
    services: Services,
    resource: Json,
    *,
    actor: Actor,
    reach: Reach,
    patient_id: str,
    if_match: int | None = None,
    method: str = "PUT",
) -> Stored:
    """Store the next version, and bring the share behind it to where that says.

    Raises NotFound, PreconditionFailed, Conflict, Unprocessable.
    """
    consent_id = resource["id"]
    async with services.db.transaction():
        if (link := await guest.behind(services, consent_id, reach=reach)) is not None:
            return await _update_link(services, link, resource, actor, reach, if_match, method)
        before = await _share_behind(services, consent_id, reach)
        if before is None:
            step = await _first(services, consent_id, patient_id, resource, reach)
        else:
            step = await _next(services, before, resource, reach)
        stored = await store.update(
            services.db,
            await _body(services, step, resource),
            reach=reach,
            patient_id=patient_id,
            author=actor.author,
            if_match=if_match,
            method=method,
        )
        if step is not None:
            statement = QUERIES["add_share" if before is None else "save_share"]
            await services.db.fetch_one(statement, values_of(step.share, step.secret))
            await _tell(services, step, actor)
    return stored


async def delete(
    services: Services, consent_id: str, *, actor: Actor, reach: Reach, if_match: int | None = None
) -> Stored:
    """End the share behind the Consent, then the Consent. Raises NotFound, PreconditionFailed."""
    async with services.db.transaction():
        before = await _share_behind(services, consent_id, reach)
        link = await guest.behind(services, consent_id, reach=reach)
        stored = await store.delete(
            services.db, "Consent", consent_id, reach=reach, author=actor.author, if_match=if_match
        )
        if before is not None and before.stored_state in LIVING:
            step = over(before, clock.now())
            await services.db.fetch_one(QUERIES["save_share"], values_of(step.share, step.secret))
            await _tell(services, step, actor)
        if link is not None and link.state is LinkState.LIVING:
            await guest.end(services, link, actor=actor)
    return stored


async def _update_link(
    services: Services,
    link: Link,
    resource: Json,
    actor: Actor,
    reach: Reach,
    if_match: int | None,
    method: str,
) -> Stored:
    """A Consent that stands for a guest link: its status ends it, and nothing else of it changes."""
    living = link.state is LinkState.LIVING
    if resource.get("status") in PROMISING:
        if not living:
            raise Unprocessable(link_consent.OVER, expression="Consent.status")
        link_consent.require_unchanged(resource, await link_consent.body_of(services, link, None))
    elif living:
        link = await guest.end(services, link, actor=actor)
    return await store.update(
        services.db,
        await link_consent.body_of(services, link, resource),
        reach=reach,
        patient_id=link.patient_id,
        author=actor.author,
        if_match=if_match,
        method=method,
    )


def over(before: Share, now: datetime) -> Step:
    """A share that is taken back."""
    return Step(*taken_back(before, now))


def moved(before: Share, wanted: Share, status: str, party: Party, now: datetime) -> Step:
    """Where a promise (active or proposed) brings a share; `wanted` is `before` with the terms of the Consent."""
    if before.state is State.ACTIVE:
        if status == "proposed":
            raise Unprocessable(N_("What holds cannot be proposed again; set it to inactive to end it."))
        return Step(wanted, Event.SHARE_CHANGED if wanted != before else None)
    if status == "active" and party.registered:
        return _held(wanted, party, now)
    if before.state in WAITING:
        return Step(wanted, Event.SHARE_CHANGED if wanted != before else None)
    return _invited(replace(wanted, ended_at=None), Event.SHARE_RESENT, now)


def _held(wanted: Share, party: Party, now: datetime) -> Step:
    held = replace(
        wanted,
        stored_state=State.ACTIVE,
        practitioner_id=party.practitioner_id,
        organization_id=party.organization_id,
        accepted_at=now,
        waits_until=None,
        ended_at=None,
    )
    return Step(held, Event.SHARE_ACCEPTED)


def _invited(wanted: Share, event: Event, now: datetime) -> Step:
    if not wanted.email:
        raise Unprocessable(
            N_("Nobody can answer this: name a registered Practitioner and set it to active.")
        )
    return Step(replace(wanted, stored_state=State.INVITED, waits_until=now + WAITS), event, new_secret())


async def _first(
    services: Services, consent_id: str, patient_id: str, resource: Json, reach: Reach
) -> Step | None:
    """The share that a Consent begins; None for one that is only kept."""
    terms, status = _terms(resource), resource.get("status")
    if terms is None or status not in PROMISING:
        return None
    await _require_patient(services, patient_id, reach)
    party = await _party(services, terms, active=status == "active")
    holds = status == "active" and party.registered
    if not holds and not party.email:
        return None  # proposed to somebody who cannot answer
    await _require_free(services, patient_id, party, holds=holds)
    now = clock.now()
    wanted = Share(
        id=consent_id,
        patient_id=patient_id,
        practitioner_id=None,
        organization_id=None,
        name=party.name,
        email=party.email,
        stored_state=State.INVITED,
        rights=terms.rights,
        studies=await _studies(services, patient_id, terms, reach),
        message="",
        created_at=now,
        waits_until=None,
        accepted_at=None,
        until=require_future(terms.until),
        ended_at=None,
        last_looked_at=None,
        parent_id=None,
    )
    return _held(wanted, party, now) if holds else _invited(wanted, Event.SHARE_INVITED, now)


async def _next(services: Services, before: Share, resource: Json, reach: Reach) -> Step:
    """Where the next version of its Consent brings a share."""
    terms, status = _terms(resource), str(resource.get("status"))
    if status not in PROMISING:
        return over(before, clock.now())
    if terms is None:
        raise NotEnforceable("The Consent of a share stays one: patient-privacy, a permit, one recipient.")
    party = await _party(services, terms, active=status == "active")
    _require_same(before, party)
    if before.state not in LIVING:
        await _require_free(services, before.patient_id, party, holds=status == "active" and party.registered)
    wanted = replace(
        before,
        rights=terms.rights,
        studies=await _studies(services, before.patient_id, terms, reach),
        until=terms.until if terms.until == before.until else require_future(terms.until),
    )
    step = moved(before, wanted, status, party, clock.now())
    if step.event is not None:
        require_own(before)
    return step


def _terms(resource: Json) -> Terms | None:
    """What the Consent asks for, or None for one that is no share.

    Raises NotEnforceable for an active one that says more than can be enforced.
    """
    if not is_about_sharing(resource):
        return None
    try:
        return terms_of(resource)
    except NotEnforceable:
        if resource.get("status") == "active":
            raise
        return None


async def _body(services: Services, step: Step | None, resource: Json) -> Json:
    """What is stored: the Consent as sent, saying what the share is (an active one that waits is proposed)."""
    if step is None:
        return resource
    return consent_of(step.share, await study_ids_of(services, step.share), resource)


async def _tell(services: Services, step: Step, actor: Actor) -> None:
    """The event, and the mail to the other party."""
    if step.event is None:
        return
    await settle(services, step.share, step.event, who=actor.who(), author=actor.author)
    match step.event:
        case Event.SHARE_ACCEPTED:
            await notify.granted(services, step.share)
        case Event.SHARE_INVITED | Event.SHARE_RESENT:
            await require_patience(services, actor)
            assert step.secret is not None
            await notify.invited(services, step.share, step.secret)
        case Event.SHARE_CHANGED:
            pass
        case _:
            await notify.over(services, step.share)


async def _party(services: Services, terms: Terms, *, active: bool) -> Party:
    """Whom a Consent names. Raises NotEnforceable where an active one names somebody who is not registered here."""
    if terms.recipient is None:
        return Party(terms.name, people.normal_email(terms.email))
    kind, _, id = terms.recipient.partition("/")
    row = await services.db.fetch_one(QUERIES[kind.lower()], {"id": id})
    if row is not None and kind == "Practitioner":
        return Party(row["name"], row["email"], practitioner_id=row["id"], account_id=row["account_id"])
    if row is not None:
        return Party(row["name"], "", organization_id=row["id"])
    if active:
        raise NotEnforceable(f"There is no registered {kind} of this id here.", expression=RECIPIENT)
    return Party(terms.name, "")


def _require_same(before: Share, party: Party) -> None:
    """A share is with one party from its beginning to its end."""
    if before.practitioner_id or before.organization_id:
        bound = (before.practitioner_id, before.organization_id)
        same = bound == (party.practitioner_id, party.organization_id)
    else:
        same = people.fold_email(party.email) == people.fold_email(before.email)
    if not same:
        raise Unprocessable(
            "The recipient of a share does not change; make a new Consent.", expression=RECIPIENT
        )


async def _require_patient(services: Services, patient_id: str, reach: Reach) -> None:
    """Locks the patient, so that two Consents for one recipient at once see each other."""
    values = {"patient": patient_id}
    if await services.db.fetch_val(QUERIES["lock_patient"], values, reach=reach.patients()) is None:
        raise Unprocessable(N_("The patient of this Consent is not one whose record you may share."))


async def _require_free(services: Services, patient_id: str, party: Party, *, holds: bool) -> None:
    """One living share for a recipient, and none with oneself. Raises Conflict, Unprocessable."""
    await share.require_another(services, patient_id, email=party.email, account_id=party.account_id)
    if holds:
        query, values = (
            "share_with",
            {"practitioner": party.practitioner_id, "organization": party.organization_id},
        )
    else:
        query, values = "invitation_of", {"folded": people.fold_email(party.email)}
    row = await services.db.fetch_one(QUERIES[query], {"patient": patient_id, "now": clock.now(), **values})
    if row is not None and share_of(row).state in LIVING:
        raise Conflict(f"This recipient has a Consent already: Consent/{row['id']}.")


async def _share_behind(services: Services, consent_id: str, reach: Reach) -> Share | None:
    try:
        return await share.locked(services, consent_id, reach)
    except NotFound:
        return None


async def _studies(services: Services, patient_id: str, terms: Terms, reach: Reach) -> tuple[str, ...] | None:
    """The UIDs of the ImagingStudy resources that a Consent names, each within the caller's reach."""
    if terms.study_ids is None:
        return None
    ids = sorted(set(terms.study_ids))
    values = {"patient": patient_id, "ids": ids}
    rows = await services.db.fetch_all(QUERIES["studies_by_fhir_id"], values, reach=reach.studies())
    if len(rows) != len(ids):
        raise NotEnforceable(
            "One of the ImagingStudy resources is not there.", expression="Consent.provision.data"
        )
    return tuple(sorted(row["study_uid"] for row in rows))
