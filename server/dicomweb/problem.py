"""Errors in DICOMweb's words: a status, and one sentence as application/json.

DICOM PS3.18, 8.5 (status codes) and 8.7.6 (status report).
"""

from __future__ import annotations

import orjson
from starlette.requests import Request
from starlette.responses import Response

from server.core.challenge import headers_of
from server.core.errors import ServerError


def problem(request: Request, error: ServerError) -> Response:
    """The answer that says what went wrong."""
    content, headers = orjson.dumps({"error": str(error)}), headers_of(request, error)
    return Response(content, error.status, headers, media_type="application/json")
