"""Look at every page: a server with the demo's people and images is started here, its pages are photographed in
Chromium. Called by `screenshots`. Which pages there are stands in tests/every_page.py."""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

TOP = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOP))

from playwright.async_api import Browser  # noqa: E402

from server.access.services import Services  # noqa: E402
from server.accounts import people as accounts  # noqa: E402
from server.records.people import fhir_id_of_account  # noqa: E402
from server.sharing import demo  # noqa: E402
from server.storage import embedded  # noqa: E402
from server.storage.migrate import migrate  # noqa: E402
from tests import every_page  # noqa: E402
from tests.browser import chromium, visiting  # noqa: E402
from tests.conftest import RunningServer, serving  # noqa: E402
from tests.factories import Person  # noqa: E402

OUT = Path(os.environ.get("SCREENSHOTS") or Path(tempfile.gettempdir()) / "lightbox-screenshots")
# Wide, on a phone, narrow, and at 200 % zoom: what is seen on paper (CSS pixels).
SIZES = {"desk": (1280, 860), "phone": (390, 844), "narrow": (320, 640), "zoomed": (640, 400)}
SCHEMES = ("light", "dark")


@asynccontextmanager
async def demo_server() -> AsyncIterator[RunningServer]:
    """A server of its own, with everybody and every image of the demo."""
    with (
        tempfile.TemporaryDirectory(prefix="lightbox-") as folder,
        embedded.running(Path(folder) / "db") as url,
    ):
        await asyncio.to_thread(migrate, url)
        async with serving(url, Path(folder) / "data") as server:
            await demo.seed(server.services)
            yield server


async def person(services: Services, who: demo.Person) -> Person:
    """Somebody of the demo, as the scene wants them."""
    account = await accounts.find_by_email(services.db, who.email)
    assert account is not None
    fhir_id = await fhir_id_of_account(services, account.id)
    return Person(account.id, who.email, who.name, who.role, fhir_id or "", who.password)


async def take(browser: Browser, scene: every_page.Scene, who: str, only: set[str]) -> None:
    """Every page of one person, in every size and scheme."""
    places = [place for place in scene.places if place.who == who and (not only or place.name in only)]
    if not places:
        return
    async with visiting(browser, scene.server.url, reduced_motion="reduce") as visitor:
        await scene.dress(visitor.page.context, who)
        for place in places:
            await visitor.page.goto(scene.server.url + place.path, wait_until="networkidle")
            for size, (width, height) in SIZES.items():
                await visitor.page.set_viewport_size({"width": width, "height": height})
                for scheme in SCHEMES if size in ("desk", "phone") else SCHEMES[:1]:
                    await visitor.page.emulate_media(color_scheme=scheme)
                    await visitor.page.screenshot(
                        path=OUT / f"{place.name}-{size}-{scheme}.png", full_page=True
                    )
            print(place.name, place.path)


async def main(only: set[str]) -> None:
    await asyncio.to_thread(OUT.mkdir, parents=True, exist_ok=True)
    async with demo_server() as server, chromium() as browser:
        pat, doc, ops = [
            await person(server.services, who) for who in (demo.PATIENT, demo.DOCTOR, demo.OPERATOR)
        ]
        async with every_page.built(server, pat=pat, doc=doc, ops=ops) as scene:
            for who in dict.fromkeys(place.who for place in scene.places):
                await take(browser, scene, who, only)
    print(f"pictures are in {OUT}")


if __name__ == "__main__":
    os.chdir(TOP)
    asyncio.run(main(set(sys.argv[1:])))
