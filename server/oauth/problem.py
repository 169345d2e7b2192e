"""Errors in the words of OAuth 2.0 (RFC 6749, 5.2), in one place; and the headers of every answer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.core.errors import (
    Forbidden,
    InsufficientScope,
    NotAuthenticated,
    ServerError,
    TooManyRequests,
    Unavailable,
)

from . import pages

_PEOPLE = ("/oauth/authorize", "/oauth/manage", "/oauth/launch", "/oauth/developers")
NO_STORE = {"Cache-Control": "no-store", "Pragma": "no-cache"}


class OAuthError(ServerError):
    """The request cannot be granted."""

    def __init__(self, error: str, sentence: str, status: int = 400) -> None:
        super().__init__(sentence)
        self.error = error
        self.status = status


class InvalidClient(OAuthError):
    """Client authentication failed."""

    def __init__(self, sentence: str = "The client is not known, or did not prove who it is.") -> None:
        super().__init__("invalid_client", sentence, 401)


class InvalidRequest(OAuthError):
    """A parameter is missing, repeated or malformed."""

    def __init__(self, sentence: str) -> None:
        super().__init__("invalid_request", sentence)


class InvalidGrant(OAuthError):
    """The code or refresh token is not valid any more, or not this client's."""

    def __init__(self, sentence: str = "The code or token is not valid, or was used before.") -> None:
        super().__init__("invalid_grant", sentence)


class InvalidScope(OAuthError):
    """Nothing of the requested scope can be granted."""

    def __init__(self, sentence: str = "Nothing of the requested scope can be granted.") -> None:
        super().__init__("invalid_scope", sentence)


def json(content: Mapping[str, Any], status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """An answer that nobody keeps."""
    return JSONResponse(dict(content), status, {**NO_STORE, **(headers or {})})


def problem(request: Request, error: ServerError) -> Response:
    """Any error as this surface says it: JSON for programs, a page where a person is; never a redirect."""
    if request.url.path.startswith(_PEOPLE):
        say = pages.say(pages.language_of(request))
        return pages.render(request, "problem.html", error.status, sentence=say(str(error)))
    headers = error.headers
    if isinstance(error, InvalidClient):
        headers["WWW-Authenticate"] = 'Basic realm="Lightbox"'
    elif isinstance(error, NotAuthenticated):
        headers["WWW-Authenticate"] = 'Bearer realm="Lightbox", error="invalid_token"'
    elif isinstance(error, InsufficientScope):
        headers["WWW-Authenticate"] = 'Bearer realm="Lightbox", error="insufficient_scope"'
    return json({"error": _word(error), "error_description": str(error)}, error.status, headers)


def _word(error: ServerError) -> str:
    match error:
        case OAuthError():
            return error.error
        case NotAuthenticated():
            return "invalid_token"
        case InsufficientScope():
            return "insufficient_scope"
        case Forbidden():
            return "access_denied"
        case TooManyRequests() | Unavailable():
            return "temporarily_unavailable"
    return "server_error" if error.status >= 500 else "invalid_request"
