"""What goes on in the background for the safety of accounts."""

from __future__ import annotations

from datetime import timedelta

from server.jobs.queue import Kit, Periodic

from . import email_change, factor_loss, passkeys, steps
from .needs import Needs


async def _forget(services: Needs) -> None:
    """Drop what no longer matters: challenges, half sign-ins, changes of address."""
    await passkeys.forget_old(services.db)
    await steps.forget_old(services.db)
    await email_change.forget_old(services.db)


KIT = Kit(
    periodic=(
        Periodic("accounts: second factors lost", timedelta(minutes=10), factor_loss.mail_ripe),
        Periodic("accounts: forget half sign-ins", timedelta(hours=1), _forget),
    )
)
