"""One interaction's caller and services: what every interaction is given, alone or as an entry of a Bundle."""

from __future__ import annotations

from dataclasses import dataclass, field

from starlette.requests import Request

from server.access.action import Action, Verb
from server.access.actor import Actor, ActorKind
from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import InvalidInput, NotAuthenticated, NotFound
from server.records.content import Intake
from server.records.document import FORBIDDEN_TEXT

MOST_OPENED = 10_000


@dataclass
class Opening:
    """How many events of the log a request may still open, all entries of a Bundle together: each is deciphered."""

    left: int = field(default_factory=lambda: MOST_OPENED)

    def most(self, wanted: int, cost: int = 1) -> int:
        """How many of the wanted ones that are, where each counts as so many."""
        return max(0, min(wanted, self.left // cost))


@dataclass(frozen=True)
class Call:
    """Who calls, and the parts that answer."""

    request: Request
    services: Services
    actor: Actor
    contents: Intake | None = None  # where the content of Binaries goes that this request brings
    opening: Opening = field(default_factory=Opening)

    @classmethod
    async def of(cls, request: Request) -> Call:
        """The call behind a request. Raises NotAuthenticated without a living credential, NotFound for an address
        that no resource can have."""
        services: Services = request.app.state.services
        actor = await services.gate.actor(request)
        if actor.kind is ActorKind.NOBODY:
            raise NotAuthenticated()
        if any(FORBIDDEN_TEXT.search(part) for part in request.path_params.values()):
            raise NotFound()
        return cls(request, services, actor)

    @property
    def base(self) -> str:
        """The address of this FHIR API."""
        return self.services.settings.fhir_base

    @property
    def is_system(self) -> bool:
        """A backend client that acts for itself, not a person or an app of one."""
        return self.actor.kind is ActorKind.CLIENT

    async def reach(self, type: str, verb: Verb, *, lazily: bool = False) -> Reach:
        """What the caller may touch; raises NotAuthenticated and InsufficientScope. A lazy one needs `confirm`."""
        return await self.services.gate.reach_for(self.request, Action(type, verb), lazily=lazily)

    async def confirm(self) -> None:
        """Before it is said that there is nothing: a dead token is told that it is dead."""
        await self.services.gate.confirm(self.request)

    async def require_patients(self, reach: Reach, patients: list[str]) -> None:
        """Raise Forbidden for a patient outside of the caller's, also for ids that do not exist (decision 1)."""
        named = dict.fromkeys(patients)
        if len(named) > MOST_PATIENTS:  # each is a question to the database
            raise InvalidInput(f"A search may name at most {MOST_PATIENTS} patients.")
        for patient in named:
            await self.services.gate.require_patient(reach, patient, self.actor)

    def address(self, type: str, id: str) -> str:
        """The absolute address of a resource."""
        return f"{self.base}/{type}/{id}"


MOST_PATIENTS = 50  # in one search

# People and organizations: read by id, found by id and identifier only, for searching them enumerates them.
REGISTER = frozenset({"Practitioner", "PractitionerRole", "Organization"})
