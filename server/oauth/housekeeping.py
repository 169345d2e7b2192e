"""Dropping what ran out long ago. Run now and then by the background worker."""

from __future__ import annotations

from datetime import timedelta

from server.access.services import Services
from server.core import clock

from .clients import QUERIES

# A spent code is kept a while, so that a late second use still ends what was made of it.
CODES = timedelta(days=1)
SPENT_REFRESH_TOKENS = timedelta(days=90)
BACKEND_GRANTS = timedelta(days=1)


async def forget_old(services: Services) -> None:
    """Codes, assertions and kept requests that ran out, the grants of backend tokens; signing keys that are old."""
    db, now = services.db, clock.now()
    await db.execute(QUERIES["forget_codes"], {"before": now - CODES})
    await db.execute(QUERIES["forget_refresh_tokens"], {"now": now, "spent": now - SPENT_REFRESH_TOKENS})
    await db.execute(QUERIES["forget_jtis"], {"now": now})
    await db.execute(QUERIES["forget_pushed_requests"], {"now": now})
    await db.execute(QUERIES["forget_launches"], {"now": now})
    await db.execute(QUERIES["forget_backend_grants"], {"before": now - BACKEND_GRANTS})
    await services.keys.rotate_old()
