"""An address as a QR code (ISO/IEC 18004), made here and drawn as SVG: to be read off a screen, or printed."""

from __future__ import annotations

from io import BytesIO

import segno
from starlette.responses import Response

from .pages import HEADERS


def answer(address: str) -> Response:
    """The picture."""
    picture = BytesIO()
    code = segno.make(address, error="m", micro=False)
    code.save(picture, kind="svg", scale=6, border=4, dark="#000", light="#fff", xmldecl=False)
    return Response(picture.getvalue(), headers=HEADERS, media_type="image/svg+xml")
