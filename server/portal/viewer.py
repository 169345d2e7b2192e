"""The viewer: OHIF under /viewer/, as `assets.py` put it there; without it, our own preview.

Files come precompressed to whoever accepts that, and for good where their name holds a hash of their content. Pages
need a sign-in; the files behind them hold nothing of anybody.
"""

from __future__ import annotations

import base64
import hashlib
import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import FileResponse, RedirectResponse, Response
from starlette.routing import BaseRoute, Route

from server.core.errors import NotAuthenticated, NotFound

from . import assets

_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".json": "application/json",
    ".wasm": "application/wasm",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/vnd.microsoft.icon",
    ".woff2": "font/woff2",
    ".xml": "application/xml",
    ".txt": "text/plain; charset=utf-8",
    "": "text/plain; charset=utf-8",
}
_HASHED = re.compile(r"(^|[./])[0-9a-f]{16}\.")
_INLINE_SCRIPT = re.compile(r"<script>(.*?)</script>", re.DOTALL)
_UID = re.compile(r"[0-9.]{1,64}")
_ID = re.compile(r"[0-9a-f-]{36}")
_CONFIG = Path(__file__).with_name("viewer-config.js")


async def serve(request: Request) -> Response:
    """A file of the viewer, or its page for any other address without a dot (its own router reads that)."""
    folder = assets.find(assets.VIEWER, request.app.state.services.settings.data)
    if folder is None:
        return preview_instead(request)
    viewer = _viewer(folder, (folder / assets.STAMP).stat().st_mtime_ns)
    path = request.path_params["path"]
    if path in viewer.files and path != "index.html":
        return _file(request, viewer.files[path])
    if "." in path:
        raise NotFound()
    # A guest is known below their link only; the page itself holds nothing of anybody.
    if not _ID.fullmatch(request.query_params.get("link", "")) and not await _signed_in(request):
        return to_sign_in(request)
    response = _file(request, viewer.files["index.html"])
    response.headers["Content-Security-Policy"] = viewer.policy
    return response


async def configuration(request: Request) -> Response:
    """What OHIF reads first: where the images are, and what to do when the session has ended."""
    return FileResponse(_CONFIG, media_type=_TYPES[".js"], headers={"Cache-Control": "no-store", **_PLAIN})


def preview_instead(request: Request) -> Response:
    """Without OHIF, the study named in its address opens in the built-in preview."""
    study = request.query_params.get("StudyInstanceUIDs", "").partition(",")[0]
    if not _UID.fullmatch(study):
        raise NotFound("The viewer is not installed here; the preview of each study takes its place.")
    link, patient = request.query_params.get("link", ""), request.query_params.get("patient", "")
    below = f"/link/{link}" if _ID.fullmatch(link) else ""
    whose = "?" + urlencode({"patient": patient}) if patient and not below else ""
    return RedirectResponse(f"{below}/studies/{study}/preview{whose}", status_code=303)


def to_sign_in(request: Request) -> Response:
    """The sign-in page, which leads back here."""
    here = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse("/sign-in?" + urlencode({"next": here}), status_code=303)


async def _signed_in(request: Request) -> bool:
    try:
        actor = await request.app.state.services.gate.actor(request)
    except NotAuthenticated:  # a session that ended
        return False
    return bool(actor.account_id)


_PLAIN = {"X-Content-Type-Options": "nosniff"}


@dataclass(frozen=True)
class File:
    """One file of the viewer and, where there is one, its compressed form."""

    path: Path
    packed: Path | None
    type: str
    etag: str
    lasting: bool  # the name changes with the content


@dataclass(frozen=True)
class Viewer:
    """Everything that may be asked for; what is not listed does not exist."""

    files: dict[str, File]
    policy: str


@lru_cache(maxsize=2)
def _viewer(folder: Path, made_at: int) -> Viewer:
    """The files of the folder; `made_at` is there so that a newly fetched viewer is looked at anew."""
    paths = [path for path in folder.rglob("*") if path.is_file()]
    files = {
        path.relative_to(folder).as_posix(): _describe(path)
        for path in paths
        if path.suffix in _TYPES and path.name != assets.STAMP
    }
    return Viewer(files, _policy((folder / "index.html").read_text(encoding="utf-8")))


def _describe(path: Path) -> File:
    packed = path.with_name(path.name + ".gz")
    facts = path.stat()
    return File(
        path,
        packed if packed.exists() else None,
        _TYPES[path.suffix],
        f"{facts.st_mtime_ns:x}-{facts.st_size:x}",
        _HASHED.search(path.name) is not None,
    )


def _policy(page: str) -> str:
    """Content-Security-Policy: the page's own inline scripts by their hash, workers and images from blobs."""
    digests = (hashlib.sha256(script.encode()).digest() for script in _INLINE_SCRIPT.findall(page))
    hashes = " ".join(f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests)
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' 'wasm-unsafe-eval' {hashes}",
            "worker-src 'self' blob:",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "connect-src 'self' data: blob:",
            "object-src 'self' blob:",
            "frame-src 'self' blob:",
            "font-src 'self' data:",
            "base-uri 'self'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    )


def _file(request: Request, file: File) -> Response:
    packed = file.packed if _accepts_gzip(request) else None
    etag = f'"{file.etag}-gz"' if packed else f'"{file.etag}"'
    headers = {
        "ETag": etag,
        "Cache-Control": "public, max-age=31536000, immutable" if file.lasting else "no-cache",
        "Vary": "Accept-Encoding",
        **_PLAIN,
    }
    if etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if packed:
        headers["Content-Encoding"] = "gzip"
    return FileResponse(packed or file.path, headers=headers, media_type=file.type)


def _accepts_gzip(request: Request) -> bool:
    """RFC 9110, 12.5.3."""
    for element in request.headers.get("accept-encoding", "").lower().split(","):
        coding, _, weight = element.partition(";")
        if coding.strip() in ("gzip", "x-gzip"):
            return weight.replace(" ", "") not in ("q=0", "q=0.0", "q=0.00", "q=0.000")
    return False


# Mounted at /viewer.
routes: list[BaseRoute] = [
    Route("/app-config.js", configuration),
    Route("/{path:path}", serve),
]
