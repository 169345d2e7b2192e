"""Who may do what: one pure function from the caller and the action to lanes. What no rule names is nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from .action import READING, Action, Right, Verb
from .actor import Actor, ActorKind
from .reach import Ground, Lane
from .scopes import Scope

# Of no patient: readable by whoever signed in and has the scope; found by id and identifier only.
REGISTER = frozenset({"Practitioner", "PractitionerRole", "Organization"})

# Of no patient: whoever wrote it has it to itself. A Subscription is its app's (fhir/subscription.py), a Group a list.
AUTHORED = frozenset({"Group", "Subscription"})

# What the other party of a share sees, and the right it needs; None: any living share.
SHARED: dict[str, Right | None] = {
    "Patient": None,
    "Consent": None,
    "ImagingStudy": Right.IMAGES,
    "Endpoint": Right.IMAGES,
    "Device": Right.IMAGES,
    "ServiceRequest": Right.REPORTS,
    "DiagnosticReport": Right.REPORTS,
    "DocumentReference": Right.REPORTS,
    "Observation": Right.REPORTS,
    "Encounter": Right.REPORTS,
    "Binary": Right.REPORTS,
    "Provenance": Right.REPORTS,  # one of a report would tell that there is one
}

# What the other party of a share may add, given the right to.
ADDED = frozenset({"ImagingStudy", "DiagnosticReport", "DocumentReference", "Observation", "Binary"})

# What somebody without an account sees through a link, and the right of the link it needs; nothing is written.
LINKED: dict[str, Right | None] = {
    "Patient": None,
    "ImagingStudy": Right.IMAGES,
    "DiagnosticReport": Right.REPORTS,
    "Binary": Right.REPORTS,
}

# What a project of research reads: to take names away somebody has to know them.
RESEARCHED = frozenset({"Patient", "ImagingStudy"})

# What an operator reads in an emergency.
EMERGENCY = frozenset(SHARED) - {"Consent"}

# What an organization's own client writes about the patients it has.
BROUGHT = frozenset({*SHARED, "Patient", "Encounter", "Device"}) - {"Consent"}

# What nobody writes through an API: the server makes it.
SERVER_MADE = frozenset({"AuditEvent", "Endpoint"})


def decide(actor: Actor, action: Action, right: Right | None = None) -> tuple[Lane, ...]:
    """The lanes on which `actor` may do `action`; `right` names a right of the share it needs beside the type's own.

    A session has its user's rights; a token has those of them that its scopes name, each scope with its own
    context and filters, never combined with another's.
    """
    lanes = tuple(_of_user(actor, action, right))
    if actor.only_study is not None:
        return tuple(_of_one_study(actor.only_study, action, lanes))
    if actor.scopes is None:
        return lanes
    scopes = actor.scopes.granting(action.type, action.verb)
    through = (narrowed for scope in scopes for narrowed in _through(scope, lanes, actor))
    return tuple(dict.fromkeys([*through, *_of_themselves(actor, action)]))


def is_named(actor: Actor, action: Action) -> bool:
    """Whether the token's scopes speak of this action at all; a session has no scopes to ask."""
    if actor.scopes is None or actor.scopes.granting(action.type, action.verb):
        return True
    return bool(tuple(_of_themselves(actor, action)))


def _of_user(actor: Actor, action: Action, right: Right | None) -> Iterator[Lane]:
    if action.verb not in READING and action.type in SERVER_MADE:
        return
    match actor.kind:
        case ActorKind.PATIENT | ActorKind.DOCTOR:
            yield from _of_person(actor, action, right)
        case ActorKind.PROVIDER:
            yield from _of_organization(actor, action, right)
        case ActorKind.CLIENT if actor.trusted:
            yield Lane(Ground.SERVER)
            yield from _of_organization(actor, action, right)
        case ActorKind.CLIENT:
            yield from _of_organization(actor, action, right)
        case _:
            yield from _of_outsiders(actor, action, right)
            return
    yield from _of_register(actor, action)
    if action.type in AUTHORED:
        yield Lane(Ground.AUTHORED, actor.own if action.type == "Subscription" else actor.author)


def _of_outsiders(actor: Actor, action: Action, right: Right | None) -> Iterator[Lane]:
    """Guests read what their link shows, projects of research what is of those who take part. Operators read no
    health data, save a record opened in an emergency: with a reason, before its person's eyes, never through an app.
    """
    if action.verb not in READING:
        return
    if actor.kind is ActorKind.GUEST and actor.link_id and action.type in LINKED:
        yield Lane(Ground.LINK, actor.link_id, _needed(LINKED[action.type], right))
    elif actor.kind is ActorKind.PROJECT and actor.project_id and action.type in RESEARCHED:
        yield Lane(Ground.RESEARCH, actor.project_id)
    elif (
        actor.kind is ActorKind.OPERATOR
        and actor.scopes is None
        and actor.account_id
        and action.type in EMERGENCY
    ):
        yield Lane(Ground.EMERGENCY, str(actor.account_id))


def _of_person(actor: Actor, action: Action, right: Right | None) -> Iterator[Lane]:
    """Who holds profiles, and a doctor the shares given to them. A doctor who holds a record is one or the other:
    whom an app or a page acts for is said by its hat, so that a practice's software does not list its user's own."""
    if actor.account_id and actor.kind is ActorKind.PATIENT:
        yield Lane(Ground.OWN, str(actor.account_id))
    if actor.practitioner_id:
        yield from _shared(Ground.SHARE, actor.practitioner_id, action, right)


def _of_themselves(actor: Actor, action: Action) -> Iterator[Lane]:
    """Who signed in may be read by an app that was told of them: SMART App Launch 2.2, "fhirUser"."""
    if actor.scopes is None or action.verb is not Verb.READ or not actor.fhir_user or not actor.account_id:
        return
    if not (actor.scopes.has("fhirUser") or actor.scopes.has("profile")):
        return
    type, _, id = actor.fhir_user.rpartition("/")
    if type != action.type:
        return
    match type:
        case "Practitioner":
            yield Lane(Ground.REGISTER, resource=id)
        case "Patient":
            yield Lane(Ground.OWN, str(actor.account_id), patient=id, resource=id)
        case "RelatedPerson" if actor.context_patient:
            yield Lane(Ground.OWN, str(actor.account_id), patient=actor.context_patient, resource=id)


def _of_one_study(only: tuple[str, str], action: Action, lanes: tuple[Lane, ...]) -> Iterator[Lane]:
    """What a viewer's pass leaves of its person's lanes: reading the images of one study."""
    if action.type != "ImagingStudy" or action.verb not in READING:
        return
    patient, study = only
    for lane in lanes:
        yield replace(lane, patient=patient, study=study)


def _of_organization(actor: Actor, action: Action, right: Right | None) -> Iterator[Lane]:
    """What it brought itself, and what patients share with it."""
    if not actor.organization_id:
        return
    if action.type in BROUGHT:
        yield Lane(Ground.BROUGHT, actor.organization_id)
    yield from _shared(Ground.SHARE_ORGANIZATION, actor.organization_id, action, right)


def _shared(ground: Ground, holder: str, action: Action, right: Right | None) -> Iterator[Lane]:
    if action.verb in READING and action.type in SHARED:
        yield Lane(ground, holder, _needed(SHARED[action.type], right))
    elif action.verb in (Verb.CREATE, Verb.UPDATE) and action.type in ADDED:
        yield Lane(ground, holder, _needed(Right.ADD, right))


def _needed(*rights: Right | None) -> tuple[Right, ...]:
    """All of them, each once: to download images, both the images and the download must have been given."""
    return tuple(dict.fromkeys(right for right in rights if right is not None))


def _of_register(actor: Actor, action: Action) -> Iterator[Lane]:
    if action.type in REGISTER and action.verb in READING:
        yield Lane(Ground.REGISTER)


def _through(scope: Scope, lanes: tuple[Lane, ...], actor: Actor) -> Iterator[Lane]:
    for lane in lanes:
        if lane.ground in (Ground.REGISTER, Ground.AUTHORED):
            yield replace(lane, filters=scope.filters, scoped=scope.type)
        elif scope.context == "patient" and actor.context_patient and actor.account_id:
            yield replace(lane, patient=actor.context_patient, filters=scope.filters, scoped=scope.type)
        elif (scope.context == "user" and actor.account_id) or (
            scope.context == "system" and actor.kind is ActorKind.CLIENT
        ):
            yield replace(lane, filters=scope.filters, scoped=scope.type)
