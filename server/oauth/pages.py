"""Pages of the authorization server: plain HTML that works without JavaScript."""

from __future__ import annotations

from collections.abc import Iterable
from importlib import resources
from typing import Any
from urllib.parse import quote, urlsplit

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

_templates = Environment(
    loader=PackageLoader(__package__, "templates"),
    autoescape=select_autoescape(default=True),
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_STYLE = resources.files(__package__).joinpath("templates/style.css").read_bytes()


def render(template: str, status: int = 200, *, leads_to: Iterable[str] = (), **values: Any) -> Response:
    """The page. `leads_to` is where its forms may end up (a redirect counts as a form's action, CSP 3)."""
    text = _templates.get_template(template).render(**values)
    return HTMLResponse(text, status, _headers(leads_to))


def redirect(path: str) -> Response:
    """To another page of this server; what the address holds is told to nobody."""
    return RedirectResponse(path, 303, {"Cache-Control": "no-store", "Referrer-Policy": "no-referrer"})


def to_sign_in(back_to: str) -> Response:
    """To the portal's sign-in, which leads back to this path."""
    return redirect(f"/sign-in?next={quote(back_to, safe='')}")


async def style(request: Request) -> Response:
    """The one style sheet of these pages."""
    headers = {"Cache-Control": "public, max-age=3600", "X-Content-Type-Options": "nosniff"}
    return Response(_STYLE, media_type="text/css", headers=headers)


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
