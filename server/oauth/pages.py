"""Pages of the authorization server: plain HTML that works without JavaScript, in the reader's language."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import date
from functools import cache
from importlib import resources
from typing import Any
from urllib.parse import quote, urlsplit

from babel.dates import format_date, format_datetime
from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from server.access.sign_in import SignedIn
from server.core.texts import DEFAULT, languages, locale, negotiated, translations

Say = Callable[[str], str]

_MOMENT = "d MMMM y, HH:mm"
_STYLE = resources.files(__package__).joinpath("templates/style.css").read_bytes()


def language_of(request: Request, person: SignedIn | None = None, ui_locales: str = "") -> str:
    """As the account says, as the app asks (ui_locales, OpenID Connect Core, 3.1.2.1), as the browser does."""
    if person is not None and person.language != DEFAULT and person.language in languages():
        return person.language
    for tag in ui_locales.split()[:20]:
        if (found := tag.partition("-")[0].lower()) in languages():
            return found
    return negotiated(request.headers.get("accept-language", ""))


def say(language: str) -> Say:
    """A text in a language."""
    return translations(language).gettext


def render(
    request: Request,
    template: str,
    status: int = 200,
    *,
    leads_to: Iterable[str] = (),
    language: str | None = None,
    **values: Any,
) -> Response:
    """The page. `leads_to` is where its forms may end up (a redirect counts as a form's action, CSP 3)."""
    language = language or language_of(request, values.get("person"))
    text = _environment(language).get_template(template).render(**values)
    return HTMLResponse(text, status, _headers(leads_to) | {"Content-Language": language})


def redirect(path: str) -> Response:
    """To another page of this server; what the address holds is told to nobody."""
    return RedirectResponse(path, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def to_sign_in(back_to: str, *, again: bool = False) -> Response:
    """To the portal's sign-in, which leads back to this path; `again` asks whoever is signed in already, too."""
    return redirect(f"/sign-in?next={quote(back_to, safe='')}{'&again=1' if again else ''}")


async def style(request: Request) -> Response:
    """The one style sheet of these pages."""
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_STYLE, media_type="text/css", headers=headers)


@cache
def _environment(language: str) -> Environment:
    environment = Environment(
        loader=PackageLoader(__package__, "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(translations(language), newstyle=True)  # type: ignore[attr-defined]
    region = locale(language)
    environment.filters["day"] = lambda value: format_date(value, "long", locale=region)
    environment.filters["moment"] = lambda value: f"{format_datetime(value, _MOMENT, locale=region)} UTC"
    environment.filters["born"] = lambda text: _born(text, language)
    # For a text that is not written in the template: `_` would take it for markup, and a % in it for a place.
    environment.filters["said"] = translations(language).gettext
    environment.filters["host"] = lambda url: urlsplit(url).hostname or url
    environment.globals["language"] = language
    return environment


def _born(text: str, language: str) -> str:
    """A FHIR date, which may be a year alone, spelled out where it is a day."""
    try:
        return format_date(date.fromisoformat(text), "long", locale=locale(language))
    except ValueError:
        return text


def _headers(leads_to: Iterable[str]) -> dict[str, str]:
    targets = " ".join(["'self'", *sorted({_source(url) for url in leads_to})])
    policy = (
        "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none';"
        f" form-action {targets}; frame-ancestors 'none'"
    )
    return {
        "Content-Security-Policy": policy,
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cache-Control": "no-store",
        "Pragma": "no-cache",
    }


def _source(url: str) -> str:
    """The origin of a registered redirect URI as a CSP source; an app's own scheme is its own source."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in ("http", "https") else f"{parts.scheme}:"
