"""What happens between a database that runs and the first request: migration, keys, the demo, the greeting."""

from __future__ import annotations

import asyncio
import sys

from server.core.settings import Settings
from server.portal import assets
from server.sharing import demo as demo_people

from .context import make_ready, note_address, services_of


def prepare(settings: Settings) -> None:
    """Make all ready, and say where we answer. Raises StorageUnavailable, MigrationFailed, MasterKeyMissing."""
    first_start = not settings.key_file.exists()
    make_ready(settings)
    note_address(settings)
    if settings.demo:
        asyncio.run(_add_demo(settings))
    _greet(settings, first_start=first_start)


async def _add_demo(settings: Settings) -> None:
    async with services_of(settings) as services:
        await demo_people.seed(services)


def _greet(settings: Settings, *, first_start: bool) -> None:
    lines = [f"Lightbox answers on {settings.base_url}"]
    if first_start:
        lines += [
            f"The master key lies in {settings.key_file.resolve()}.",
            "Keep a copy of it elsewhere: without it every image and record here is lost.",
        ]
    if assets.find(assets.VIEWER, settings.data) is None:
        lines += ["The built-in preview is the viewer; python -m server.portal.assets fetches OHIF."]
    if settings.demo:
        lines += ["Sign in as:"]
        lines += [f"  {person.role:<9} {person.email:<20} {person.password}" for person in demo_people.PEOPLE]
    print("\n".join(lines), file=sys.stderr, flush=True)
