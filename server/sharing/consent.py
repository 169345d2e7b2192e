"""Consents that come through FHIR: the same shares, written the other way round.

A Consent of scope patient-privacy whose provision is a permit for one recipient is a share: posted as active and
naming a registered Practitioner (or an Organization) it holds at once and the other party is told; naming an e-mail
it is an invitation; set to inactive it is over. One that says more than can be enforced is refused while active and
only kept while not. Consents about anything else are kept, and grant nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event
from server.core import clock
from server.core.errors import Conflict, NotFound, Unprocessable
from server.core.ids import digest, new_id, new_secret
from server.records import store
from server.records.store import Stored
from server.storage.db import Record

from . import notify, share
from .acts import QUERIES, record
from .consent_json import Json, NotEnforceable, Terms, is_about_sharing, terms_of
from .model import LIVING, WAITS, Share, State, require_future, right_set, share_of

OVER = {
    State.INVITED: (State.WITHDRAWN, Event.SHARE_WITHDRAWN),
    State.REQUESTED: (State.DECLINED, Event.SHARE_DECLINED),
    State.ACTIVE: (State.ENDED, Event.SHARE_ENDED),
}


@dataclass(frozen=True)
class _Party:
    """The other side of a share, found here."""

    practitioner_id: str | None
    organization_id: str | None
    name: str
    email: str


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

    Raises NotFound (the patient is not in reach), Unprocessable (more than can be enforced while active, a
    recipient or study that is not here).
    """
    consent_id = id or new_id()
    async with services.db.transaction():
        stored = await store.create(
            services.db,
            resource,
            reach=reach,
            patient_id=patient_id,
            author=actor.author,
            id=consent_id,
            method=method,
        )
        if (terms := _terms(resource)) and resource.get("status") in ("active", "proposed"):
            await _begin(
                services, consent_id, patient_id, resource["status"], terms, actor=actor, reach=reach
            )
        return await store.read(services.db, "Consent", stored.id, reach=reach)


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
    """Store the next version and bring the share behind it to where the status says.

    Raises NotFound, PreconditionFailed, Conflict, Unprocessable.
    """
    consent_id = resource["id"]
    async with services.db.transaction():
        before = await _share_behind(services, consent_id, reach)
        await store.update(
            services.db,
            resource,
            reach=reach,
            patient_id=patient_id,
            author=actor.author,
            if_match=if_match,
            method=method,
        )
        await _follow(services, before, resource, patient_id, actor=actor, reach=reach)
        return await store.read(services.db, "Consent", consent_id, reach=reach)


async def delete(
    services: Services, consent_id: str, *, actor: Actor, reach: Reach, if_match: int | None = None
) -> Stored:
    """End the share behind the Consent, then the Consent. Raises NotFound, PreconditionFailed."""
    async with services.db.transaction():
        before = await _share_behind(services, consent_id, reach)
        if before is not None and before.stored_state in LIVING:
            await share.move(services, before, *OVER[before.stored_state], actor=actor)
            if_match = None if if_match is None else if_match + 1
        return await store.delete(
            services.db, "Consent", consent_id, reach=reach, author=actor.author, if_match=if_match
        )


async def _share_behind(services: Services, consent_id: str, reach: Reach) -> Share | None:
    try:
        return await share.locked(services, consent_id, reach)
    except NotFound:
        return None


def _terms(resource: Json) -> Terms | None:
    """What the Consent asks for; None for one that is no share. Raises NotEnforceable for an active one that says
    more than can be enforced."""
    if not is_about_sharing(resource):
        return None
    try:
        return terms_of(resource)
    except NotEnforceable:
        if resource.get("status") == "active":
            raise
        return None


async def _follow(
    services: Services, before: Share | None, resource: Json, patient_id: str, *, actor: Actor, reach: Reach
) -> None:
    """The share does what the new version's status says."""
    status, terms = resource.get("status"), _terms(resource)
    if before is None:
        if terms and status in ("active", "proposed"):
            await _begin(services, resource["id"], patient_id, status, terms, actor=actor, reach=reach)
        return
    if status not in ("active", "proposed"):
        if before.stored_state in LIVING:
            await share.move(services, before, *OVER[before.stored_state], actor=actor)
        return
    if terms is None:
        raise NotEnforceable(
            "The Consent of a share stays one: scope patient-privacy, permit, one recipient."
        )
    await _require_same_party(services, before, terms)
    await _go_on(services, before, status, terms, actor=actor, reach=reach)


async def _go_on(
    services: Services, before: Share, status: str, terms: Terms, *, actor: Actor, reach: Reach
) -> None:
    """A share that lives goes on with these terms; one that is over begins anew."""
    if before.state is State.ACTIVE and status == "proposed":
        raise Unprocessable(
            "What holds cannot be proposed again; set it to inactive to end it.", expression="Consent.status"
        )
    if before.state not in LIVING:
        await _begin_anew(services, before, status, terms, actor=actor, reach=reach)
        return
    studies = await _studies(services, before.patient_id, terms, reach)
    kept = (before.rights, before.studies, before.until)
    if kept != (terms.rights, studies and tuple(studies), terms.until):
        arguments: dict[str, Any] = {"rights": terms.rights, "studies": studies, "until": terms.until}
        before = await _change(services, before, arguments, actor=actor, reach=reach)
    if status == "active" and before.state in (State.REQUESTED, State.INVITED):
        party = await _party(services, terms, active=True)
        if party is not None:
            await _activate(services, before, party, actor=actor)
            return
    await _as_it_stands(services, before, actor=actor)


async def _change(
    services: Services, before: Share, arguments: dict[str, Any], *, actor: Actor, reach: Reach
) -> Share:
    if before.state is State.REQUESTED:
        values = {"patient": before.patient_id, "id": before.id, "from": [before.stored_state]}
        values |= arguments | {"rights": right_set(arguments["rights"])}
        row = await services.db.fetch_one(QUERIES["set_terms"], values)
        assert row is not None
        return share_of(row)
    return await share.change(services, before.id, **arguments, actor=actor, reach=reach)


async def _begin(
    services: Services,
    consent_id: str,
    patient_id: str,
    status: str,
    terms: Terms,
    *,
    actor: Actor,
    reach: Reach,
) -> None:
    """A new share: at once for a registered party of an active Consent, an invitation for everything else."""
    party = await _party(services, terms, active=status == "active")
    studies = await _studies(services, patient_id, terms, reach)
    if status == "active" and party is not None:
        await _add_active(services, consent_id, patient_id, party, terms, studies, actor=actor)
        return
    email = party.email if party is not None else terms.email
    if not email:
        return  # proposed to somebody who cannot answer: kept, and grants nothing
    made = await share.invite(
        services,
        patient_id,
        name=(party.name if party is not None else "") or terms.name,
        email=email,
        rights=terms.rights,
        studies=studies,
        until=terms.until,
        actor=actor,
        reach=reach,
        share_id=consent_id,
    )
    if made.id != consent_id:
        raise Conflict("This doctor is invited already; update that Consent.")


async def _begin_anew(
    services: Services, before: Share, status: str, terms: Terms, *, actor: Actor, reach: Reach
) -> None:
    studies = await _studies(services, before.patient_id, terms, reach)
    values: dict[str, Any] = {"patient": before.patient_id, "id": before.id, "name": before.name}
    values |= {
        "rights": right_set(terms.rights),
        "studies": studies,
        "until": require_future(terms.until),
    }
    values |= {"message": before.message, "waits_until": clock.now() + WAITS}
    secret = new_secret()
    row = await services.db.fetch_one(QUERIES["invite_again"], values | {"secret_hash": digest(secret)})
    assert row is not None
    party = await _party(services, terms, active=status == "active")
    if status == "active" and party is not None:
        await _activate(services, share_of(row), party, actor=actor)
        return
    if not before.email:
        raise Unprocessable("Nobody can answer this; name a registered Practitioner and set it to active.")
    made = await record(services, row, Event.SHARE_RESENT, who=actor.who(), author=actor.author)
    await notify.invited(services, made, secret)


async def _add_active(
    services: Services,
    consent_id: str,
    patient_id: str,
    party: _Party,
    terms: Terms,
    studies: list[str] | None,
    *,
    actor: Actor,
) -> None:
    parties = {
        "patient": patient_id,
        "practitioner": party.practitioner_id,
        "organization": party.organization_id,
    }
    existing = await services.db.fetch_one(QUERIES["share_with"], parties)
    if existing is not None and share_of(existing).state in LIVING:
        raise Conflict(f"There is a Consent for this recipient already: Consent/{existing['id']}.")
    now = clock.now()
    values: dict[str, Any] = {
        "id": consent_id,
        "name": party.name,
        "email": party.email,
        "state": State.ACTIVE,
    }
    values |= {
        "folded": people.fold_email(party.email),
        "rights": right_set(terms.rights),
        "studies": studies,
    }
    values |= {"message": "", "secret_hash": None, "now": now, "waits_until": None, "accepted_at": now}
    values |= {"until": require_future(terms.until)}
    row = await services.db.fetch_one(QUERIES["add_share"], values | parties)
    assert row is not None
    made = await _recorded(services, row, actor)
    await notify.granted(services, made)


async def _activate(services: Services, before: Share, party: _Party, *, actor: Actor) -> None:
    await share.activate(
        services,
        before,
        practitioner_id=party.practitioner_id,
        organization_id=party.organization_id,
        actor=actor,
    )


async def _as_it_stands(services: Services, now: Share, *, actor: Actor) -> None:
    """The Consent says what the share is, whatever the client wrote (an active one that waits is proposed)."""
    from .acts import write_consent

    await write_consent(services, now, author=actor.author)


async def _recorded(services: Services, row: Record, actor: Actor) -> Share:
    return await record(services, row, Event.SHARE_ACCEPTED, who=actor.who(), author=actor.author)


async def _party(services: Services, terms: Terms, *, active: bool) -> _Party | None:
    """The registered party a Consent names, or None for one named by e-mail; Unprocessable for an unknown one."""
    if terms.recipient is None:
        return None
    kind, _, id = terms.recipient.partition("/")
    row = await services.db.fetch_one(QUERIES[kind.lower()], {"id": id})
    if row is not None and kind == "Practitioner":
        return _Party(row["id"], None, row["name"], row["email"])
    if row is not None:
        return _Party(None, row["id"], row["name"], "")
    if active:
        raise NotEnforceable(
            f"There is no registered {kind} of this id here.",
            expression="Consent.provision.actor[0].reference",
        )
    return None


async def _require_same_party(services: Services, before: Share, terms: Terms) -> None:
    """A share is with one party from its beginning to its end."""
    party = await _party(services, terms, active=False)
    bound = before.practitioner_id or before.organization_id
    named = (party.practitioner_id or party.organization_id) if party is not None else None
    if bound is not None:
        same = named == bound
    else:
        email = party.email if party is not None else terms.email
        same = people.fold_email(email) == people.fold_email(before.email)
    if not same:
        raise Unprocessable(
            "The recipient of a share does not change; make a new Consent.",
            expression="Consent.provision.actor[0].reference",
        )


async def _studies(services: Services, patient_id: str, terms: Terms, reach: Reach) -> list[str] | None:
    """The UIDs of the ImagingStudy resources a Consent names, each within the caller's reach."""
    if terms.study_ids is None:
        return None
    ids = sorted(set(terms.study_ids))
    values = {"patient": patient_id, "ids": ids}
    rows = await services.db.fetch_all(QUERIES["studies_by_fhir_id"], values, reach=reach.studies())
    if len(rows) != len(ids):
        raise NotEnforceable(
            "One of the ImagingStudy resources is not there.", expression="Consent.provision.data"
        )
    return sorted(row["study_uid"] for row in rows)
