"""Errors in FHIR's words: an OperationOutcome.

FHIR R4, 3.1.0.1.5 (status codes) and OperationOutcome.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from starlette.requests import Request
from starlette.responses import Response

from server.core.challenge import headers_of
from server.core.errors import ServerError
from server.records.document import Json, dump
from server.records.validate import Invalid, Issue

from . import fhir_xml
from .format import acceptable

FHIR_JSON = "application/fhir+json; charset=utf-8"


def problem(request: Request, error: ServerError) -> Response:
    """The answer that says what went wrong."""
    response = _response(request, outcome_of(error), error.status)
    response.headers.update(headers_of(request, error))
    return response


def _response(request: Request, found: Json, status: int) -> Response:
    """In XML where that alone is asked for; what cannot be answered in the form asked for is said in JSON."""
    try:
        media_type = acceptable(request)
    except ServerError:
        media_type = "application/fhir+json"
    if media_type.endswith("xml"):
        return Response(fhir_xml.dump(found), status, media_type=f"{media_type}; charset=utf-8")
    pretty = request.query_params.get("_pretty") == "true"
    return Response(dump(found, pretty=pretty), status, media_type=FHIR_JSON)


def outcome_of(error: ServerError) -> Json:
    """The error as an OperationOutcome."""
    if isinstance(error, Invalid):
        return outcome(map(_issue, error.issues))
    found: Json = {"severity": "error", "code": error.issue, "diagnostics": str(error)}
    if error.expression:
        found["expression"] = [error.expression]
    return outcome([found])


def outcome(issues: Iterable[Json]) -> Json:
    """An OperationOutcome with these issues."""
    return {"resourceType": "OperationOutcome", "issue": list(issues)}


def information(sentence: str) -> Json:
    """An OperationOutcome that says all is well."""
    return outcome([{"severity": "information", "code": "informational", "diagnostics": sentence}])


def _issue(issue: Issue) -> dict[str, Any]:
    return {
        "severity": issue.severity,
        "code": issue.code,
        "diagnostics": issue.sentence,
        "expression": [issue.expression],
    }
