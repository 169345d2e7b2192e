"""Logos of apps: fetched once by the guarded client, made anew as a small PNG, shown out of our own page.

Nobody's browser asks the app's address, so a logo tells no one who is about to decide; and what is shown is a picture
that was decoded here, whatever the address would answer tomorrow (decision 21).
"""

from __future__ import annotations

import asyncio
import base64
from io import BytesIO

from PIL import Image

from server.access.services import Services
from server.core import outbound

from .clients import QUERIES, Client

SIDE = 128  # pixels
MOST_PIXELS = 4096 * 4096
KINDS = ("PNG", "JPEG", "GIF", "WEBP")
# Pillow names its troubles in many ways; none of them is worth losing a registration for.
_TROUBLES = (
    outbound.Refused,
    Image.DecompressionBombError,
    OSError,
    ValueError,
    SyntaxError,
    Warning,
    MemoryError,
)


async def fetch(services: Services, client: Client) -> bool:
    """Keep the logo that this registration names; whether there is one now. What cannot be fetched is left out."""
    if client.logo_uri is None:
        return False
    try:
        private = client.registered_by == "operator"
        answer = await outbound.get(client.logo_uri, accept="image/png, image/*;q=0.8", private=private)
        if answer.status != 200:
            return False
        picture = await asyncio.to_thread(_made_anew, answer.body)
    except _TROUBLES:
        return False
    values = {"id": client.id, "logo_uri": client.logo_uri, "logo": picture}
    return bool(await services.db.execute(QUERIES["set_logo"], values))


def as_data(client: Client) -> str:
    """The logo for the src of a picture; empty where there is none."""
    return as_source(client.logo)


def as_source(logo: bytes | None) -> str:
    """The same, of a logo at hand."""
    return f"data:image/png;base64,{base64.b64encode(logo).decode()}" if logo else ""


def _made_anew(body: bytes) -> bytes:
    with Image.open(BytesIO(body), formats=KINDS) as picture:  # reads the head only
        if picture.width * picture.height > MOST_PIXELS:
            raise ValueError("too large")
        picture.thumbnail((SIDE, SIDE))
        made = BytesIO()
        picture.convert("RGBA").save(made, "PNG")
    return made.getvalue()
