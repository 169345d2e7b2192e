"""Errors as pages: the one mapping of the portal. Nothing of the inside is shown."""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.core.errors import ServerError
from server.core.texts import N_

from .pages import HEADERS, render, to_sign_in, wants_json

TITLES = {
    400: N_("This could not be understood"),
    403: N_("This is not possible"),
    404: N_("There is nothing here"),
    405: N_("This is not possible"),
    409: N_("Something has changed meanwhile"),
    410: N_("This is gone"),
    413: N_("This is too large"),
    422: N_("This is not possible"),
    429: N_("A little slower, please"),
    500: N_("Something went wrong on our side"),
    503: N_("A short break"),
    507: N_("There is no room left"),
}
# Where a link that is spent can be had anew.
ANEW = {"/verify/": "/verify", "/reset/": "/reset"}
# What a stranger may not open and what does not exist look the same, so the sentence helps with both.
MISSING = N_("The page does not exist, or it is not for the account you are signed in with.")


def problem(request: Request, error: ServerError) -> Response:
    """The page of an error; JSON for our own scripts; the way to sign-in for who has no session."""
    if wants_json(request):
        return JSONResponse({"error": str(error)}, error.status, headers={**HEADERS, **error.headers})
    if error.status == 401:
        return to_sign_in(request)
    sentence = MISSING if error.status == 404 else str(error)
    title = TITLES.get(error.status, TITLES[500])
    anew = next((way for begin, way in ANEW.items() if request.url.path.startswith(begin)), "")
    anew = anew if error.status == 410 else ""
    response = render(request, "problem.html", error.status, title=title, sentence=sentence, anew=anew)
    response.headers.update(error.headers)
    return response
