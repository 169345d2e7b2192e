"""The viewer's files as they are served, and what stands in when there are none."""

from __future__ import annotations

import base64
import gzip
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Mount

from server.core.errors import NotAuthenticated, NotFound
from server.portal import assets, viewer

SCRIPT = "app.bundle.0f6159c501addfe9.js"
PAGE = '<script>window.PUBLIC_URL="/viewer/"</script><div id="root"></div>'


class Door:
    """Stands for the gate: somebody, nobody, or somebody whose session ended."""

    account: str | None = "somebody"
    ended = False

    async def actor(self, _: object) -> SimpleNamespace:
        if self.ended:
            raise NotAuthenticated()
        return SimpleNamespace(account_id=self.account)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(assets, "inside_package", lambda: tmp_path / "nowhere")
    folder = tmp_path / "assets" / "ohif"
    folder.mkdir(parents=True)
    (folder / assets.STAMP).write_text("x")
    (folder / "index.html").write_text(PAGE)
    (folder / SCRIPT).write_text("let viewer;")
    (folder / f"{SCRIPT}.gz").write_bytes(gzip.compress(b"let viewer;"))
    (folder / "app.bundle.css").write_text("body{}")
    return folder


@pytest.fixture
def door() -> Door:
    return Door()


@pytest.fixture
async def browser(tmp_path: Path, folder: Path, door: Door) -> AsyncIterator[httpx.AsyncClient]:
    async def not_found(*_: object) -> Response:
        return Response(status_code=404)

    app = Starlette(routes=[Mount("/viewer", routes=viewer.routes)], exception_handlers={NotFound: not_found})
    settings = SimpleNamespace(data=tmp_path)
    app.state.services = SimpleNamespace(settings=settings, gate=door)
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://test") as client:
        yield client


async def test_any_address_without_a_dot_is_the_page(browser: httpx.AsyncClient) -> None:
    for path in ("/viewer/", "/viewer/viewer?StudyInstanceUIDs=1.2.3", "/viewer/segmentation"):
        answer = await browser.get(path)
        assert answer.status_code == 200
        assert answer.text == PAGE
        assert answer.headers["cache-control"] == "no-cache"


async def test_the_policy_names_the_inline_scripts_by_hash(browser: httpx.AsyncClient) -> None:
    policy = (await browser.get("/viewer/")).headers["content-security-policy"]
    digest = base64.b64encode(hashlib.sha256(b'window.PUBLIC_URL="/viewer/"').digest()).decode()
    scripts = next(part for part in policy.split("; ") if part.startswith("script-src"))
    assert f"'sha256-{digest}'" in scripts
    assert "unsafe-inline" not in scripts
    assert "'unsafe-eval'" not in scripts


async def test_hashed_names_last_and_come_compressed(browser: httpx.AsyncClient) -> None:
    answer = await browser.get(f"/viewer/{SCRIPT}")
    assert answer.headers["content-encoding"] == "gzip"
    assert answer.headers["vary"] == "Accept-Encoding"
    assert "immutable" in answer.headers["cache-control"]
    assert answer.headers["content-type"] == "text/javascript; charset=utf-8"
    assert answer.text == "let viewer;"


@pytest.mark.parametrize("accepted", ["identity", "gzip;q=0", ""])
async def test_plain_to_whoever_takes_no_gzip(browser: httpx.AsyncClient, accepted: str) -> None:
    answer = await browser.get(f"/viewer/{SCRIPT}", headers={"Accept-Encoding": accepted})
    assert "content-encoding" not in answer.headers
    assert answer.text == "let viewer;"


async def test_what_is_held_already_is_not_sent_again(browser: httpx.AsyncClient) -> None:
    first = await browser.get("/viewer/app.bundle.css")
    again = await browser.get("/viewer/app.bundle.css", headers={"If-None-Match": first.headers["etag"]})
    assert first.status_code == 200
    assert again.status_code == 304
    assert again.content == b""


@pytest.mark.parametrize(
    "path", ["no.such.js", "../viewer.py", "%2e%2e/%2e%2e/secret.txt", "made-from.txt", f"{SCRIPT}.gz"]
)
async def test_nothing_else_is_served(browser: httpx.AsyncClient, path: str) -> None:
    assert (await browser.get(f"/viewer/{path}")).status_code == 404


async def test_without_sign_in_the_page_leads_there_and_back(browser: httpx.AsyncClient, door: Door) -> None:
    door.account = None
    answer = await browser.get("/viewer/viewer?StudyInstanceUIDs=1.2.3")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/sign-in?next=%2Fviewer%2Fviewer%3FStudyInstanceUIDs%3D1.2.3"
    door.ended = True
    assert (await browser.get("/viewer/")).status_code == 303


async def test_the_configuration_is_never_kept(browser: httpx.AsyncClient) -> None:
    answer = await browser.get("/viewer/app-config.js")
    assert answer.headers["cache-control"] == "no-store"
    assert "wadoRoot: '/dicomweb'" in answer.text


async def test_without_ohif_a_study_opens_in_the_preview(browser: httpx.AsyncClient, folder: Path) -> None:
    (folder / assets.STAMP).unlink()
    answer = await browser.get("/viewer/viewer?StudyInstanceUIDs=1.2.3,4.5.6")
    assert answer.status_code == 303
    assert answer.headers["location"] == "/studies/1.2.3/preview"
    for path in ("/viewer/", "/viewer/viewer?StudyInstanceUIDs=//elsewhere.example"):
        assert (await browser.get(path)).status_code == 404
