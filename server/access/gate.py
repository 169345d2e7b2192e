"""The gate: from a request to a Reach. The only caller of policy.decide.

`reach_for` proves by a statement of its own that the session or the grant behind the request lives. A hot route
may ask `lazily`: the same condition stands in every statement of the Reach, so rows prove it; when there are no
rows, the route must `confirm` before it answers that there is nothing, so that a dead token gets its 401.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from datetime import timedelta
from typing import TYPE_CHECKING
from uuid import UUID

from starlette.requests import HTTPConnection

from server.audit.events import Event, Outcome
from server.audit.log import AuditLog
from server.core import clock
from server.core.errors import Forbidden, InsufficientScope, NotAuthenticated
from server.core.ids import digest
from server.core.settings import Settings
from server.storage.db import Database
from server.storage.sql import load
from server.storage.where import all_of

from .action import Action, Right
from .actor import NO_CREDENTIAL, NOBODY, Actor, ActorKind, Credential
from .policy import decide, is_named
from .reach import Lane, Reach, alive
from .sign_in import (
    CSRF_HEADER,
    QUERIES,
    SAFE_METHODS,
    SignIn,
    address_of,
    require_csrf,
    require_same_origin,
)

if TYPE_CHECKING:
    from .tokens import AccessToken, Bearer, Tokens

LINKS = load(__package__, "links.sql")

DEAD = "The access token is not valid, or has expired."
DEAD_LINK = "This link does not work any more."
PASS_PREFIX = "lbp_"  # noqa: S105 - how a viewer's pass begins, which is no JWT
MOST_NAMES = 10_000
USE_NOTED_EVERY = timedelta(minutes=5)  # a person reads when an app last acted, not how often


class Gate:
    """Decides what a request may reach."""

    def __init__(
        self, db: Database, settings: Settings, tokens: Tokens, sign_in: SignIn, audit: AuditLog
    ) -> None:
        self._db = db
        self._settings = settings
        self._tokens = tokens
        self._audit = audit
        self.sign_in = sign_in
        # A guest's lies below the address of its link only, which __Host- does not allow.
        self.guest_cookie = "__Secure-guest" if settings.is_https else "lightbox_guest"
        self._bearers: OrderedDict[str, Actor] = OrderedDict()
        self._grant_names: OrderedDict[UUID, tuple[str, str, float]] = OrderedDict()

    async def actor(self, request: HTTPConnection) -> Actor:
        """Who calls; NOBODY without a credential. Raises NotAuthenticated for a token that cannot be read.

        A token in the Authorization header (RFC 6750, 2.1) comes before a cookie; none is taken from a URL.
        """
        # Of `request.state`, which is slow to say that it has none.
        state = request.scope.setdefault("state", {})
        known: Actor | None = state.get("actor")
        if known is not None:
            return known
        if "guest" in request.path_params:  # below a guest's link, only its own cookie counts
            actor = await self._from_link(request)
        elif header := request.headers.get("authorization"):
            actor = await self._from_header(header, request)
        else:
            actor = await self._from_cookie(request)
        state["actor"] = actor
        return actor

    async def reach_for(
        self,
        request: HTTPConnection,
        action: Action,
        *,
        patient_id: str | None = None,
        right: Right | None = None,
        lazily: bool = False,
    ) -> Reach:
        """What this request may reach with `action`; `patient_id` is the patient whose root it came to.

        Raises NotAuthenticated, and InsufficientScope for a living token without a scope for the action.
        """
        actor = await self.actor(request)
        if actor.kind is ActorKind.NOBODY:
            raise NotAuthenticated()
        if not lazily:
            await self.confirm(request)
        try:
            by_address = patient_id is not None and request.path_params.get("patient") == patient_id
            return self._reach(actor, action, patient_id, right, by_address=by_address)
        except InsufficientScope:
            await self.confirm(request)  # a dead token is told that first
            await self._note_refusal(actor, action, patient_id)
            raise

    async def reach_for_actor(
        self, actor: Actor, action: Action, *, patient_id: str | None = None, right: Right | None = None
    ) -> Reach:
        """The same for a caller already known: included rows, entries of a batch, workers.

        Raises InsufficientScope.
        """
        return self._reach(actor, action, patient_id, right)

    def _reach(
        self, actor: Actor, action: Action, root: str | None, right: Right | None, *, by_address: bool = False
    ) -> Reach:
        lanes = self._decided(actor, action, right)
        if lanes is None:
            raise InsufficientScope(f"The access token has no scope for {action.type}.{action.verb}.")
        return Reach(action, lanes, actor.credential, root, clock.now(), by_address)

    def _decided(self, actor: Actor, action: Action, right: Right | None) -> tuple[Lane, ...] | None:
        """What the policy says of these facts, asked once a caller; None without a scope that names the action."""
        asked = (action, right)
        if asked not in actor.decisions:
            actor.decisions[asked] = decide(actor, action, right) if is_named(actor, action) else None
        lanes: tuple[Lane, ...] | None = actor.decisions[asked]
        return lanes

    async def confirm(self, request: HTTPConnection) -> None:
        """Raise NotAuthenticated unless the credential of the request still lives."""
        if getattr(request.state, "confirmed", False):
            return
        actor = await self.actor(request)
        if not await self.lives(actor.credential):
            raise NotAuthenticated(DEAD)
        request.state.confirmed = True

    async def lives(self, credential: Credential) -> bool:
        """Whether the session or grant still lives; a caller without either does not."""
        if credential == NO_CREDENTIAL:
            return False
        conditions = all_of(*alive(credential, clock.now()))
        return bool(await self._db.fetch_val(QUERIES["lives"], {}, alive=conditions))

    async def require_patient(self, reach: Reach, patient_id: str, actor: Actor) -> None:
        """Raise Forbidden unless this patient is in reach; the same for ids that do not exist (decision 1)."""
        if await self.reaches_patient(reach, patient_id):
            return
        await self._note_refusal(actor, reach.action, patient_id)
        raise Forbidden("This patient is not one that you may see.")

    async def reaches_patient(self, reach: Reach, patient_id: str) -> bool:
        """Whether any data of this patient is in reach."""
        return bool(
            await self._db.fetch_val(
                QUERIES["reaches_patient"], {"patient": patient_id}, reach=reach.patients()
            )
        )

    async def _from_header(self, header: str, request: HTTPConnection) -> Actor:
        kind, _, token = header.partition(" ")
        if kind.lower() != "bearer" or not token.strip():
            raise NotAuthenticated()
        if token.strip().startswith(PASS_PREFIX):
            return await self._from_pass(token.strip(), request)
        return await self._from_token(await self._tokens.read(token.strip()), address_of(request))

    async def _from_token(self, read: AccessToken, address: str) -> Actor:
        """Whom the token speaks for: facts fixed when it was made, and names that are read now and then."""
        bearer = read.bearer
        name, client_name = await self._names(bearer.grant_id)
        known = self._bearers.get(read.id)
        if known is not None and (known.address, known.name, known.client_name) == (
            address,
            name,
            client_name,
        ):
            return known
        actor = Actor(
            kind=ActorKind(bearer.kind),
            account_id=bearer.account_id,
            practitioner_id=bearer.practitioner_id,
            organization_id=bearer.organization_id,
            client_id=bearer.client_id,
            scopes=read.scopes,
            context_patient=bearer.patient_id,
            trusted=bearer.trusted,
            fhir_user="/".join(bearer.fhir_user.split("/")[-2:]) if bearer.fhir_user else None,
            credential=Credential(grant_id=bearer.grant_id, member=_member(bearer)),
            token_id=read.id,
            name=name,
            client_name=client_name,
            address=address,
        )
        self._bearers[read.id] = actor
        if len(self._bearers) > MOST_NAMES:
            self._bearers.popitem(last=False)
        return actor

    async def _names(self, grant_id: UUID) -> tuple[str, str]:
        """Names of the user and the app behind a grant, for the log; read now and then, and the use noted with it."""
        known = self._grant_names.get(grant_id)
        if known is not None and time.monotonic() - known[2] < USE_NOTED_EVERY.total_seconds():
            return known[:2]
        now = clock.now()
        values = {"grant": grant_id, "now": now, "before": now - USE_NOTED_EVERY}
        row = await self._db.fetch_one(QUERIES["use_of_grant"], values)
        names = (row["name"] or "", row["client_name"]) if row else ("", "")
        self._grant_names[grant_id] = (*names, time.monotonic())
        if len(self._grant_names) > MOST_NAMES:
            self._grant_names.popitem(last=False)
        return names

    async def _from_pass(self, token: str, request: HTTPConnection) -> Actor:
        """A viewer on a desktop, which reads one study as the person who made the pass may."""
        values = {"secret_hash": digest(token), "now": clock.now()}
        row = await self._db.fetch_one(LINKS["pass_facts"], values)
        if row is None:
            raise NotAuthenticated(DEAD)
        return Actor(
            kind=ActorKind(row["role"]),
            account_id=row["account_id"],
            practitioner_id=row["practitioner_id"],
            credential=Credential(pass_id=row["id"]),
            name=row["name"],
            client_name=row["viewer"],
            address=address_of(request),
            only_study=(row["patient_id"], row["study_uid"]),
        )

    async def _from_link(self, request: HTTPConnection) -> Actor:
        """A guest, whose browser carries the link's own cookie; raises Forbidden for a link that is dead (Argonaut).

        A link that never was is refused in the same words.
        """
        secret = request.cookies.get(self.guest_cookie, "")
        values = {
            "link": str(request.path_params["guest"]),
            "secret_hash": digest(secret),
            "now": clock.now(),
        }
        row = await self._db.fetch_one(LINKS["guest_facts"], values)
        if row is None:
            raise Forbidden(DEAD_LINK)
        if row["visit_id"] is None:
            return NOBODY
        if request.scope.get("method", "GET") not in SAFE_METHODS:
            require_same_origin(request, self._settings)
        return Actor(
            kind=ActorKind.GUEST,
            credential=Credential(visit_id=row["visit_id"]),
            name=row["name"],
            address=address_of(request),
            link_id=row["id"],
        )

    async def _from_cookie(self, request: HTTPConnection) -> Actor:
        signed_in = await self.sign_in.facts(request)
        if signed_in is None:
            return NOBODY
        if request.scope.get("method", "GET") not in SAFE_METHODS:
            require_same_origin(request, self._settings)
            if (token := request.headers.get(CSRF_HEADER)) is not None or not _is_form(request):
                require_csrf(signed_in, token)
        address, root = address_of(request), request.path_params.get("patient")
        if root is not None and request.url.path.startswith("/patients/"):
            return signed_in.for_record(str(root), address)
        return signed_in.actor(address)

    async def _note_refusal(self, actor: Actor, action: Action, patient_id: str | None) -> None:
        """A refusal is in the log of the patient it concerns, once an hour for the same caller and act."""
        exists = patient_id and await self._db.fetch_val(QUERIES["patient_exists"], {"patient": patient_id})
        concerns = patient_id if exists else None
        caller = actor.account_id or actor.client_id or actor.link_id
        await self._audit.record(
            Event.ACCESS_REFUSED,
            who=actor.who(),
            patient_id=concerns,
            outcome=Outcome.REFUSED,
            detail={"action": str(action)},
            fold=f"refused {caller} {action} {concerns} {clock.now():%Y-%m-%dT%H}",
        )


def _member(bearer: Bearer) -> tuple[UUID, str] | None:
    """A person who acts for an organization does so while they belong to it."""
    if bearer.kind != ActorKind.PROVIDER or bearer.account_id is None or bearer.organization_id is None:
        return None
    return bearer.account_id, bearer.organization_id


def _is_form(request: HTTPConnection) -> bool:
    """A plain HTML form carries the token in a field; its page checks that with `require_form_token`."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind in ("application/x-www-form-urlencoded", "multipart/form-data")
