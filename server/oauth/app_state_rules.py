"""What a state may be, whose it is, and who may touch it.

SMART App Launch 2.2, "Persisting App State": create, updates, querying, security and access controls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from starlette.requests import Request

from server.access.action import READING, Action, Verb
from server.access.actor import Actor, ActorKind
from server.access.scopes import Scope
from server.access.services import Services
from server.core.errors import (
    Forbidden,
    InsufficientScope,
    InvalidInput,
    TooLarge,
    UnknownParameter,
    Unprocessable,
)
from server.records import document, validate
from server.storage.sql import load
from server.storage.where import FALSE, TRUE, Where, all_of, any_of

QUERIES = load(__package__, "app_state.sql")
MOST_BYTES = 256 * 1024  # of one state, as it is sent
MOST_STATES = 100  # of one app about one subject
TYPES = ("Patient", "Practitioner", "PractitionerRole", "RelatedPerson", "Person")
_ELEMENTS = frozenset(
    {"resourceType", "id", "meta", "implicitRules", "language", "text", "extension", "identifier", "code",
     "subject", "created", "author"}
)  # fmt: skip
# Who may say something for everybody who uses an app: whoever runs something, not its users.
_ADMINISTRATORS = (ActorKind.OPERATOR, ActorKind.PROVIDER, ActorKind.CLIENT)


class TooMany(Unprocessable):
    """This app keeps as many states about this subject as it may; delete one first."""


@dataclass(frozen=True)
class State:
    """A Basic resource that is fit to be a state."""

    resource: dict[str, Any]
    id: str | None
    system: str
    code: str
    subject: str  # absolute; empty: the app as a whole


@dataclass(frozen=True)
class Subject:
    """Whose a state is."""

    patient_id: str | None = None
    account_id: UUID | None = None


async def read_state(request: Request, *, new: bool) -> State:
    """The body as a state. Raises TooLarge, InvalidInput, Unprocessable."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise TooLarge("A state has at most 256 KB.")
    resource = document.parse(bytes(body))
    if resource.get("resourceType") != "Basic":
        raise InvalidInput("A state is a Basic resource.")
    await validate.check(resource)
    if new and ("id" in resource or "versionId" in resource.get("meta", {})):
        raise Unprocessable("A new state has neither an id nor a version.")
    if others := resource.keys() - _ELEMENTS:
        raise Unprocessable(f"A state has no {sorted(others)[0]}.")
    if any("valueString" not in each for each in resource.get("extension", ())):
        raise Unprocessable("The extensions of a state hold a valueString.", expression="Basic.extension")
    codings = resource["code"].get("coding", [])
    if len(codings) != 1 or not codings[0].get("system") or not codings[0].get("code"):
        raise Unprocessable("A state has exactly one coding, with system and code.", expression="Basic.code")
    subject = resource.get("subject", {})
    if subject and "reference" not in subject:
        raise Unprocessable("The subject of a state is a reference.", expression="Basic.subject")
    reference = subject.get("reference", "")
    return State(resource, resource.get("id"), codings[0]["system"], codings[0]["code"], reference)


async def subject_of(services: Services, actor: Actor, reference: str) -> Subject:
    """Whose a state about this subject is. Raises Unprocessable, Forbidden."""
    if not reference:
        return Subject()
    base = f"{services.settings.fhir_base}/"
    type, _, id = reference.removeprefix(base).partition("/")
    if not reference.startswith(base) or type not in TYPES or not id or "/" in id:
        raise Unprocessable(
            "The subject is the absolute address of a person at this server's FHIR API.",
            expression="Basic.subject",
        )
    if type == "Patient":
        return Subject(patient_id=id)
    if actor.account_id is not None:
        values = {
            "id": id,
            "account": actor.account_id,
            "practitioner": f"Practitioner/{actor.practitioner_id}",
        }
        match type:
            case "Practitioner" if id == actor.practitioner_id:
                return Subject(account_id=actor.account_id)
            case "PractitionerRole" if actor.practitioner_id:
                if await services.db.fetch_val(QUERIES["role_of_practitioner"], values):
                    return Subject(account_id=actor.account_id)
            case "RelatedPerson":
                if patient := await services.db.fetch_val(QUERIES["related_person_of"], values):
                    return Subject(patient, actor.account_id)
    raise Forbidden("A state is about the patient, or about who signed in.")


async def open_to(services: Services, actor: Actor, verb: Verb) -> Where:
    """A condition over `state`, a row of app_state: a scope speaks of it, and its subject is the caller's to touch.

    The patient's part is asked of living shares, as everywhere: of the caller's own rights, for what the app may is
    said by the scopes for Basic. Raises InsufficientScope.
    """
    scopes = actor.scopes.granting("Basic", verb) if actor.scopes is not None else []
    if not scopes:
        raise InsufficientScope(f"The access token has no scope for Basic.{verb}.")
    # To keep something about a patient is to add to the record (decision 14); to see it, to see the record.
    action = Action("Patient", Verb.READ) if verb in READING else Action("Observation", Verb.CREATE)
    reach = await services.gate.reach_for_actor(replace(actor, scopes=None), action)
    patients = reach.patients("whose")
    reached = Where(
        f"EXISTS (SELECT 1 FROM patient AS whose WHERE whose.id = state.patient_id AND ({patients.sql}))",  # noqa: S608
        patients.values,
    )
    return any_of(*(_through(scope, number, actor, verb, reached) for number, scope in enumerate(scopes)))


def _through(scope: Scope, number: int, actor: Actor, verb: Verb, reached: Where) -> Where:
    """What one scope opens, with its own context and filters."""
    subjects: list[Where] = []
    of_patient = Where("state.patient_id IS NOT NULL AND state.account_id IS NULL") & reached
    if scope.context == "patient":
        if actor.context_patient is None:
            return FALSE
        named = Where("state.patient_id = :context", {"context": actor.context_patient})
        subjects.append(of_patient & named)
    else:
        subjects.append(of_patient)
        if actor.account_id is not None:
            own = Where("state.account_id = :own::uuid", {"own": actor.account_id})
            subjects.append(own & (Where("state.patient_id IS NULL") | reached))
    if verb in READING or (scope.context != "patient" and actor.kind in _ADMINISTRATORS):
        subjects.append(Where("state.patient_id IS NULL AND state.account_id IS NULL"))
    return all_of(any_of(*subjects), *_filters(scope, number))


def _filters(scope: Scope, number: int) -> Iterator[Where]:
    for which, filter in enumerate(scope.filters):
        yield any_of(
            *(
                _coding(value.system, value.code, f"scope{number}_{which}_{place}")
                for place, value in enumerate(filter.values)
            )
        )


def criteria(pairs: list[tuple[str, str]], *, base: str) -> Where:
    """A search as a condition over `state`. Raises UnknownParameter, InvalidInput."""
    parts = [TRUE]
    for number, (name, value) in enumerate(pairs):
        match name:
            case "code":
                parts.append(
                    any_of(*(_token(each, f"code{number}_{n}") for n, each in enumerate(value.split(","))))
                )
            case "subject" | "patient" | "subject:Patient":
                whole = [_absolute(each, base, typed=name != "subject") for each in value.split(",")]
                parts.append(
                    Where(f"state.subject = ANY (:subject{number}::text[])", {f"subject{number}": whole})
                )
            case "subject:missing" if value in ("true", "false"):
                parts.append(Where(f"state.subject {'=' if value == 'true' else '<>'} ''"))
            case "_id":
                parts.append(
                    Where(f"state.id = ANY (:id{number}::text[])", {f"id{number}": value.split(",")})
                )
            case "_count" | "_format" | "_pretty" | "_total":
                continue
            case _:
                raise UnknownParameter("A search for state knows code, subject, subject:missing and _id.")
    return all_of(*parts)


def _token(text: str, name: str) -> Where:
    system, bar, code = text.rpartition("|")
    if not code:
        raise InvalidInput("A code is given as system|code.")
    return _coding(system if bar else None, code, name)


def _coding(system: str | None, code: str, name: str) -> Where:
    same = Where(f"state.code = :{name}", {name: code})
    if system is None:
        return same
    return same & Where(f"state.system = :{name}_system", {f"{name}_system": system})


def _absolute(reference: str, base: str, *, typed: bool) -> str:
    if reference.startswith(("http://", "https://", "urn:")):
        return reference
    if typed and "/" not in reference:
        return f"{base}/Patient/{reference}"
    return f"{base}/{reference}"
