"""$validate: whether a resource could be stored, without storing it.

FHIR R4, Resource-validate (operation). Structure and rules of R4 itself; a named profile is not looked at, and the
outcome says so.
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import InvalidInput
from server.records import validate
from server.records.document import Json
from server.records.registry import resource_type

from .call import Call
from .format import json_answer, resource_of, respond
from .problem import information, outcome_of


async def validate_resource(request: Request) -> Response:
    """POST [base]/[type]/$validate and POST [base]/[type]/[id]/$validate"""
    call = await Call.of(request)
    await call.confirm()
    body = await resource_of(request, limit=call.services.settings.max_resource_bytes)
    resource = _to_validate(body)
    type = request.path_params["type"]
    resource_type(type)
    if resource.get("resourceType") != type:
        raise InvalidInput(
            "The resourceType of the body is not that of the address.", expression="resourceType"
        )
    issues = await validate.find_issues(resource)
    found: Json = outcome_of(validate.Invalid(issues)) if issues else information("This is valid R4.")
    return await respond(request, json_answer(found))


def _to_validate(body: Json) -> Json:
    """The resource itself, or the `resource` of a Parameters."""
    if body["resourceType"] != "Parameters":
        return body
    parameters = body.get("parameter")
    for parameter in parameters if isinstance(parameters, list) else ():
        found = parameter.get("resource") if isinstance(parameter, dict) else None
        if isinstance(found, dict) and parameter.get("name") == "resource":
            return found
    raise InvalidInput("The Parameters have no resource to validate.")
