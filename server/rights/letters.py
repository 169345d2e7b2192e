"""Mails about rights. No patient's name and nothing about health; what they are about stands behind the sign-in."""

from __future__ import annotations

from urllib.parse import urlsplit

from server.access.services import Services
from server.jobs import letter, mailer

LETTERS = letter.templates(__package__)


async def post(
    services: Services, what: str, email: str, language: str = "en", *, path: str = "/", **values: str
) -> None:
    """Have this letter sent, if the open transaction commits."""
    base = services.settings.base_url
    known = {"host": urlsplit(base).netloc, "link": base + path, **values}
    mail = letter.write(LETTERS, what, email, known, language)
    await mailer.post(services.db, mail, keyring=services.keyring)
