"""What create, update and patch have in common: checks of a body, whose it is, and the answer that Prefer asks for.

FHIR R4, 3.1.0.1.7 (Prefer), 3.1.0.8 (create), 3.1.0.4 (update).
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from server.access.action import Verb
from server.access.policy import AUTHORED
from server.access.reach import Reach
from server.core.errors import InvalidInput, NotAllowed, Unprocessable
from server.records import validate
from server.records.document import Json, dump
from server.records.references import Belonging, belonging
from server.records.registry import resource_type
from server.records.store import Stored

from .call import REGISTER, Call
from .format import Answer, resource_answer
from .problem import information

NOT_WRITTEN = {
    "AuditEvent": "AuditEvents are written by this server only.",
    "Endpoint": "Endpoints are made by this server, one for each patient with images.",
}

READ_ONLY = "GET, HEAD"  # what is possible at an address that nobody writes to, or not this caller


@dataclass(frozen=True)
class Prefer:
    """The Prefer header (RFC 7240), as FHIR uses it."""

    returning: str = "representation"
    strict: bool = False

    @classmethod
    def read(cls, header: str | None) -> Prefer:
        if not header:
            return cls()
        wishes = {
            name.strip().lower(): value.strip().strip('"')
            for name, _, value in (part.partition("=") for part in header.replace(";", ",").split(","))
        }
        returning = wishes.get("return", "representation")
        known = {name.lower(): name for name in ("minimal", "representation", "OperationOutcome")}
        returning = known.get(returning.lower(), "representation")
        return cls(returning, wishes.get("handling", "").lower() == "strict")


def require_type(resource: Json, type: str) -> None:
    """The body is of the type that the address names."""
    if resource.get("resourceType") != type:
        raise InvalidInput(
            "The resourceType of the body is not that of the address.", expression="resourceType"
        )


async def writable(call: Call, type: str, verb: Verb) -> Reach:
    """The reach for a write. Raises InsufficientScope, and NotAllowed where this caller may write none of these."""
    resource_type(type)
    reach = await call.reach(type, verb)
    if type in NOT_WRITTEN:
        raise NotAllowed(NOT_WRITTEN[type], allow=READ_ONLY)
    # One that names a foreign Endpoint would lead apps there with the patient's token: only who is trusted writes it.
    if type == "ImagingStudy" and not call.actor.trusted:
        sentence = "ImagingStudies are made from the images themselves: store those with STOW-RS."
        raise NotAllowed(sentence, allow=READ_ONLY)
    if not reach or (type in REGISTER and not call.is_system):
        raise NotAllowed("Resources of this type cannot be written here.", allow=READ_ONLY)
    return reach


async def checked(call: Call, resource: Json) -> Belonging:
    """Whose a valid resource is. Raises Invalid for a broken rule, Unprocessable without a patient."""
    await validate.check(resource)
    type, required = resource_type(resource["resourceType"]), not call.actor.trusted
    owner = await belonging(call.services.db, resource, type, base=call.base, required=required)
    if not owner.patient_id and not call.actor.trusted and type.name not in AUTHORED:
        owner = Belonging(call.actor.context_patient or "", owner.study_uid)
        if not owner.patient_id:
            raise Unprocessable("The resource must say whose it is.")
    return owner


def written(prefer: Prefer, stored: Stored, status: int, base: str, *, found: bool = False) -> Answer:
    """The answer to a write: Location, ETag, and the body that Prefer asks for.

    `found`: it was there already, and nothing was written (FHIR R4, 3.1.0.8.1).
    """
    answer = resource_answer(stored, status)
    headers = dict(answer.headers)
    if status == 201 or found:
        headers["Location"] = f"{base}/{stored.type}/{stored.id}/_history/{stored.version}"
    match prefer.returning:
        case "minimal":
            return replace(answer, json=b"", headers=headers)
        case "OperationOutcome":
            return replace(
                answer, json=dump(information("It is here already." if found else "Stored.")), headers=headers
            )
    return replace(answer, headers=headers)
