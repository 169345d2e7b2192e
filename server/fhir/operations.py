"""$validate: whether a resource could be stored, changed or deleted, without doing it.

FHIR R4, Resource-validate (operation): `resource`, `mode`, `profile`. What is looked at is the structure and the rules
of R4 itself; another profile that is named is refused, for nobody here could say that it is met.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import InvalidInput, Unprocessable
from server.records import validate
from server.records.document import Json
from server.records.registry import resource_type

from .call import Call
from .delete import NOT_DELETED
from .format import json_answer, resource_of, respond
from .problem import information, outcome, outcome_of
from .read import read
from .writing import NOT_WRITTEN

MODES = ("", "create", "update", "delete", "profile")


@dataclass(frozen=True)
class _Asked:
    """What is to be validated, and for what."""

    type: str
    id: str | None
    resource: Json | None
    mode: str
    profile: str

    @classmethod
    async def of(cls, request: Request, limit: int) -> _Asked:
        body = await resource_of(request, limit=limit)
        named = dict(request.query_params)
        resource: Json | None = body
        if body["resourceType"] == "Parameters":
            named, resource = named | _texts(body), _resource_in(body)
        names = request.path_params
        mode, profile = named.get("mode", ""), named.get("profile", "")
        return cls(names["type"], names.get("id"), resource, mode, profile.partition("|")[0])


async def validate_resource(request: Request) -> Response:
    """POST [base]/[type]/$validate and POST [base]/[type]/[id]/$validate"""
    call = await Call.of(request)
    await call.confirm()
    asked = await _Asked.of(request, call.services.settings.max_resource_bytes)
    resource_type(asked.type)
    _require_possible(asked)
    if asked.id is not None and asked.mode in ("update", "delete"):
        await read(call, asked.type, asked.id)  # 404 for one the caller may not see
    return await respond(request, json_answer(await _found(asked)))


def _require_possible(asked: _Asked) -> None:
    """Raise InvalidInput for what is no question, Unprocessable for a profile that is not known here."""
    if asked.mode not in MODES:
        raise InvalidInput("The mode is create, update, delete or profile.", expression="mode")
    if asked.mode in ("update", "delete") and asked.id is None:
        raise InvalidInput(f"To validate a {asked.mode} needs the address of a resource.", expression="mode")
    if asked.resource is None and asked.mode != "delete":
        raise InvalidInput("The Parameters have no resource to validate.", expression="resource")
    if asked.resource is not None and asked.resource.get("resourceType") != asked.type:
        raise InvalidInput(
            "The resourceType of the body is not that of the address.", expression="resourceType"
        )
    if asked.profile not in ("", f"http://hl7.org/fhir/StructureDefinition/{asked.type}"):
        raise Unprocessable("This server validates by R4 itself: it cannot say whether the profile is met.")


async def _found(asked: _Asked) -> Json:
    """The OperationOutcome: 200, whatever it says."""
    if asked.mode == "delete":
        return _refusal(NOT_DELETED.get(asked.type)) or information("This could be deleted.")
    assert asked.resource is not None
    issues = await validate.find_issues(asked.resource)
    if issues:
        return outcome_of(validate.Invalid(issues))
    if asked.mode == "update" and asked.resource.get("id") != asked.id:
        return _refusal("The id of the resource is missing, or is not that of the address.") or {}
    refused = _refusal(NOT_WRITTEN.get(asked.type)) if asked.mode in ("create", "update") else None
    return refused or information("This is valid R4.")


def _refusal(sentence: str | None) -> Json | None:
    if sentence is None:
        return None
    return outcome([{"severity": "error", "code": "business-rule", "diagnostics": sentence}])


def _parameters(body: Json) -> list[Json]:
    given = body.get("parameter")
    return [each for each in given if isinstance(each, dict)] if isinstance(given, list) else []


def _resource_in(body: Json) -> Json | None:
    found = (each.get("resource") for each in _parameters(body) if each.get("name") == "resource")
    return next((each for each in found if isinstance(each, dict)), None)


def _texts(body: Json) -> dict[str, str]:
    """The parameters that are texts, by name."""
    return {
        str(each.get("name")): value
        for each in _parameters(body)
        for key, value in each.items()
        if key.startswith("value") and isinstance(value, str)
    }
