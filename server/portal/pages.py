"""Rendering: templates, the headers of every page, static files with lasting addresses."""

from __future__ import annotations

import hashlib
from datetime import date, datetime
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any
from urllib.parse import quote

from babel.numbers import format_decimal
from jinja2 import Environment, PackageLoader, StrictUndefined
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

from server.access.sign_in import SignedIn
from server.core.texts import N_, languages, locale, negotiated, translations

from . import words

STATIC = Path(str(resources.files(__package__).joinpath("static")))

# No inline script, no inline style, no other host. `form-action` is left out where a form leads on to an app.
CSP = {
    "default-src": "'none'",
    "script-src": "'self'",
    "worker-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "manifest-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
HEADERS = {
    "cache-control": "no-store",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "x-frame-options": "DENY",
    "cross-origin-opener-policy": "same-origin",
    "permissions-policy": "camera=(), microphone=(), geolocation=()",
}

# What a page says after something was done; only the key travels in the address.
DONE = {
    "signed-out": N_("You are signed out."),
    "profile": N_("Your profile is saved."),
    "password": N_("Your password is changed. Every other device was signed out."),
    "permissions": N_("Your choices are saved. They hold from this moment."),
    "research-joined": N_("You take part now. You can stop on this page at any time."),
    "research-left": N_(
        "You no longer take part. Nothing more is given, and the project is told to delete the rest."
    ),
    "invited": N_("The invitation is on its way. You will see here when it was accepted."),
    "resent": N_("A new invitation is on its way. The link sent before no longer works."),
    "withdrawn": N_("The invitation is withdrawn. Its link no longer works."),
    "ended": N_("Sharing has ended. From this moment nothing of yours can be opened there."),
    "asked-for": N_("Your request is on its way. The patient decides; you will see the answer here."),
    "declined": N_("You declined the invitation."),
    "given-back": N_("You gave the access back. The patient is told."),
    "taken-back": N_("Your colleague can open nothing of this patient through you any more."),
    "request-declined": N_("You declined the request. Nothing was shared."),
    "request-accepted": N_("You allowed the request."),
    "accepted": N_("You can see this record now."),
    "verified": N_("Your e-mail address is confirmed."),
    "mail-sent": N_("If this address waits to be confirmed, the mail is on its way again."),
    "mine": N_("The study is part of your record now."),
    "not-mine": N_("The study is no longer in your record. You can take this back for 30 days."),
    "deleted": N_("The study is deleted. You can take this back for 30 days."),
    "restored": N_("The study is back in your record."),
    "report-added": N_("The report is in the record, beside its images."),
    "report-deleted": N_("The report is deleted."),
    "document-added": N_("It is saved. Add more, or go on."),
    "record-done": N_("The record is complete."),
    "record-deleted": N_("The record is deleted."),
    "asked": N_("Thank you. We have your message and answer by e-mail."),
    "notice": N_("Saved. You are told as you chose."),
    "corrected": N_("The details are corrected. The images stay as they came."),
    "undone": N_("Taken back."),
    "pass-ended": N_("That key opens nothing any more."),
    "seen-changed": N_("Saved. It holds from this moment."),
    "share-changed": N_("Saved. It holds from this moment."),
    "link-made": N_("The link is ready, and on its way by e-mail."),
    "link-ended": N_("The link has ended. From this moment it opens nothing."),
    "saved": N_("Saved."),
    "proposed": N_("Proposed. Another operator decides."),
    "factor-kept": N_("The second step of your sign-in stays."),
    "factor-added": N_("The second step is set up. It is asked for from the next sign-in on."),
    "factor-removed": N_("The second step is taken off."),
    "passkey-removed": N_("The passkey is removed."),
    "address-asked": N_("We have written to both addresses. The new one counts once its link is opened."),
    "address-changed": N_("Your e-mail address is changed."),
    "address-kept": N_(
        "Your account has this address. Every device was signed out; choose a new password now."
    ),
    "sessions-ended": N_("All other devices and all apps are signed out."),
    "copy": N_("The copy is being made. You get a mail when it is ready; it appears here."),
    "copy-deleted": N_("The copy is deleted."),
    "restricted": N_("Your record is restricted. Nobody but you can open it from this moment."),
    "unrestricted": N_("The restriction has ended. Your shares work again."),
    "withdrawn-all": N_("Everything you had allowed is taken back."),
    "policy": N_("Your answer is saved."),
    "erasure-asked": N_("It will be deleted in 14 days. Until then you can take it back on this page."),
    "erasure-taken-back": N_("Nothing will be deleted."),
    "joined": N_(
        "It is part of your record now. Whoever saw it sees what was in it, and nothing else of yours."
    ),
    "parted": N_("The records are two again. The person is told."),
    "claimed": N_("The record is yours now."),
    "guardian": N_("You act in this record from now on."),
    "child-added": N_("The record is ready. You act in it; the pages show it now."),
    "shown": N_("The pages show this record now."),
    "guardian-ended": N_("They can do nothing in this record any more."),
    "no-emergency": N_("Nobody can open this record in an emergency any more."),
    "session-ended": N_("That device is signed out."),
    "own-record": N_("Your own record is ready. You change sides at the top of every page."),
    "registration": N_("Your registration is saved. Patients see that it has not been checked yet."),
    "registered": N_("You are registered as a doctor. Your own record stays yours alone."),
    "page-made": N_("Your page is ready. Patients who open it can give you access."),
    "page-reset": N_("Your page has a new address. The old one opens nothing any more."),
    "tick-two": N_("Tick two to eight studies to compare them."),
    "given": N_("They can see it from now on. You end it whenever you want."),
    "page-closed": N_("Your page is closed. Its address opens nothing any more."),
}


class LastingFiles(StaticFiles):
    """Static files; an address that carries the digest of its content may be kept for a year."""

    async def get_response(self, path: str, scope: Scope) -> Any:
        response = await super().get_response(path, scope)
        lasting = b"v=" in scope.get("query_string", b"")
        response.headers["cache-control"] = "public, max-age=31536000, immutable" if lasting else "no-cache"
        response.headers["x-content-type-options"] = "nosniff"
        return response


@cache
def asset(name: str) -> str:
    """The address of a static file, changing with its content."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/static/{name}?v={digest}"


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader("server.portal"),
        autoescape=True,
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    environment.filters["day"] = lambda value: words.day(value, language)
    environment.filters["moment"] = lambda value: words.moment(value, language)
    environment.filters["number"] = lambda value: format_decimal(value, locale=locale(language))
    environment.filters["initials"] = words.initials
    # For a text that is not written in the template: `_` would take it for markup, and a % in it for a place.
    environment.filters["said"] = translations(language).gettext
    environment.globals |= {"asset": asset, "language": language}
    return environment


def language_of(request: Request, me: SignedIn | None = None) -> str:
    """The reader's language: as their account says, else as their browser does."""
    if me is not None and me.language in languages() and me.language != "en":
        return me.language
    return negotiated(request.headers.get("accept-language", ""))


def render(
    request: Request, template: str, /, status: int = 200, *, onward: bool = False, **context: Any
) -> HTMLResponse:
    """A page. `onward`: its form may lead on to an app's address, which `form-action` would forbid."""
    me: SignedIn | None = getattr(request.state, "me", None)
    language = language_of(request, me)
    catalogue = translations(language)
    done = DONE.get(request.query_params.get("done", ""))
    known = {
        "me": me,
        "csrf": me.csrf_token if me else "",
        "here": "",
        "done": catalogue.gettext(done) if done else "",
        "region": request.app.state.services.settings.region,
        "path": request.url.path,
    }
    text = _environment(language).get_template(template).render(known | context)
    return HTMLResponse(text, status, headers=headers(onward=onward))


def headers(*, onward: bool = False) -> dict[str, str]:
    """The headers of a page."""
    policy = "; ".join(
        f"{name} {value}" for name, value in CSP.items() if not (onward and name == "form-action")
    )
    return {**HEADERS, "content-security-policy": policy}


def wants_json(request: Request) -> bool:
    """Our own scripts send JSON, or ask for it."""
    kind = request.headers.get("content-type", "")
    return kind.startswith("application/json") or request.headers.get("accept", "") == "application/json"


def see_other(path: str, done: str | None = None) -> RedirectResponse:
    """On to a page after a POST (303, RFC 9110 15.4.4), which then says what was done."""
    if done:
        path += ("&" if "?" in path else "?") + f"done={done}"
    return RedirectResponse(path, 303, headers=HEADERS)


def to_sign_in(request: Request) -> RedirectResponse:
    """To the sign-in page and back again; after a POST back to the page the form was on is all that can be."""
    path = request.url.path if request.method in ("GET", "HEAD") else "/"
    query = f"?{request.url.query}" if request.url.query and path != "/" else ""
    return see_other(f"/sign-in?next={quote(path + query, safe='/')}")


def spelled(value: date | datetime | None, request: Request) -> str:
    """A date in the reader's language, for sentences made in Python."""
    return words.day(value, language_of(request, getattr(request.state, "me", None)))
