"""What goes on besides requests: mails, requests for access, what time ends, what is old.

One worker in each server process, started and stopped with it. It stands here because it needs the kits of every
room below the surfaces.
"""

from __future__ import annotations

from contextlib import AsyncExitStack
from datetime import timedelta
from types import TracebackType
from typing import Self

from server.access.services import Services
from server.accounts import background as accounts
from server.accounts import verification
from server.imaging import rebuild, removal, upkeep
from server.jobs import mailer
from server.jobs.queue import Kit, Periodic
from server.jobs.worker import Worker
from server.storage import packs

from . import expiry, merging


async def _sweep(services: Services) -> None:
    """Remove files of stores that never came to an end."""
    await packs.sweep(services.db, services.objects)


KITS = (
    mailer.KIT,
    verification.KIT,
    accounts.KIT,
    expiry.KIT,
    merging.KIT,
    rebuild.KIT,
    upkeep.KIT,
    removal.KIT,
    Kit(periodic=(Periodic("storage: abandoned packs", timedelta(hours=1), _sweep),)),
)


class Background:
    """The worker of this process, as an asynchronous context manager."""

    def __init__(self, services: Services, *kits: Kit) -> None:
        self.worker = Worker(services, (*KITS, *kits))
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._stack.enter_async_context(self.worker.running())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.aclose()
