"""Who calls: a person with a session, or an app or system with a token."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any
from uuid import UUID

from server.audit.who import Who

from .scopes import Scopes


class ActorKind(StrEnum):
    """The roles of `product.md`; a client is a system that acts for itself."""

    PATIENT = "patient"
    DOCTOR = "doctor"
    PROVIDER = "provider"
    OPERATOR = "operator"
    CLIENT = "client"
    GUEST = "guest"
    PROJECT = "project"  # of research: what it is given, it is given without names
    NOBODY = "nobody"


@dataclass(frozen=True)
class Credential:
    """What the caller showed; every statement demands that it still lives."""

    session_id: UUID | None = None
    grant_id: UUID | None = None
    member: tuple[UUID, str] | None = None  # the account acts for this organization, while it belongs to it
    visit_id: UUID | None = None  # of a guest, who has no account
    pass_id: UUID | None = None  # of a viewer on somebody's desktop


NO_CREDENTIAL = Credential()


@dataclass(frozen=True)
class Actor:
    """The caller, as facts that do not change while the credential lives."""

    kind: ActorKind
    account_id: UUID | None = None
    practitioner_id: str | None = None
    organization_id: str | None = None
    client_id: str | None = None
    scopes: Scopes | None = None  # None: a session, with all the rights of its user
    context_patient: str | None = None  # the patient in the token's context
    fhir_user: str | None = None  # who signed in, as a FHIR resource (`Patient/1`); a token may tell of it
    trusted: bool = False  # a client the operator lets reach everything
    credential: Credential = NO_CREDENTIAL
    token_id: str | None = None
    name: str = ""
    client_name: str = ""
    address: str = ""
    link_id: str | None = None  # a guest's link
    project_id: str | None = None  # of research
    # (patient, Study Instance UID): a viewer's pass reads nothing else.
    only_study: tuple[str, str] | None = None
    # What the gate was told by the policy of these facts, by action and right: a caller asks the same again and again.
    decisions: dict[Any, Any] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def key(self) -> str:
        """One caller, for what is written down once an hour."""
        known = f"{self.account_id} {self.client_id}"
        return f"{known} {self.link_id}" if self.link_id else known

    @property
    def author(self) -> str:
        """Who brought a resource, as `resource.author` keeps it."""
        if self.organization_id and not self.account_id:
            return f"organization:{self.organization_id}"
        return f"account:{self.account_id}" if self.account_id else f"client:{self.client_id}"

    @property
    def own(self) -> str:
        """The author of what is this app's alone, and not the person's or the organization's."""
        return f"{self.author} client:{self.client_id}"

    def who(self) -> Who:
        """The caller as the audit log wants it."""
        return Who(
            name=self.name,
            role=str(self.kind),
            account_id=self.account_id,
            practitioner_id=self.practitioner_id,
            organization_id=self.organization_id,
            client_id=self.client_id,
            client_name=self.client_name,
            token_id=self.token_id,
            address=self.address,
            link_id=self.link_id,
        )


NOBODY = Actor(ActorKind.NOBODY)
