"""Mails about the safety of an account: its owner hears of every change, so that one they did not make is noticed."""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from server.core.texts import N_, translations
from server.jobs import letter, mailer

from .needs import Needs
from .people import Account

LETTERS = letter.templates(__package__)
SECURITY_PATH = "/account/security"
HELP_PATH = "/help"

# What happened, in a sentence; nothing of health, no address, no secret.
WORDS = {
    "factor-added": N_("A second step was added to your sign-in."),
    "factor-removed": N_("A second step was taken off your sign-in."),
    "codes-made": N_("New recovery codes were made. The ones before do not work any more."),
    "recovery-used": N_("Somebody signed in with your password and one of your recovery codes."),
    "codes-tried": N_(
        "Somebody typed your password rightly and then several wrong codes; you may want a new one."
    ),
    "password-changed": N_("Your password was changed, and every other device was signed out."),
    "email-undone": N_("The change of your e-mail address was taken back, and every device was signed out."),
    "ended-all": N_("All other devices and all apps were signed out."),
}


async def tell(services: Needs, account: Account, what: str) -> None:
    """Mail what happened to the account's owner, if the open transaction commits."""
    words = translations(account.language).gettext(WORDS[what])
    help_at = services.settings.base_url + HELP_PATH
    await post(services, account, "security", SECURITY_PATH, what=words, help=help_at)


async def post(
    services: Needs,
    account: Account,
    name: str,
    path: str,
    *,
    to: str | None = None,
    until: datetime | None = None,
    **words: str,
) -> None:
    """Mail a letter with a link of ours, in the account's language; to its address, or to the one given."""
    base = services.settings.base_url
    values = {"host": urlsplit(base).netloc, "link": base + path, **words}
    if until is not None:
        values["until"] = f"{until:%d %B %Y, %H:%M} UTC"
    mail = letter.write(LETTERS, name, to or account.email, values, account.language)
    await mailer.post(services.db, mail, keyring=services.keyring)
