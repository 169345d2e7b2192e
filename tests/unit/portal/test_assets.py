"""What is fetched from npm is checked, fitted and put in place in one step; without npm it says so in a line."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import os
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import pytest

from server.portal import assets

INDEX = (
    '<script>window.PUBLIC_URL="/"</script><link rel="manifest" href="/manifest.json">'
    '<script type="module" src="/init-service-worker.js"></script>'
    '<script src="/app.bundle.0f6159c501addfe9.js"></script><a href="//elsewhere.example/">x</a>'
)
ARRAYS = """
function compileConstructor(dtype, dimension) {
  return new Function(dtype + dimension);
}
function arrayDType(data) {}
"""
PACKED = {
    "package/LICENSE": "MIT",
    "package/dist/index.html": INDEX,
    "package/dist/app.bundle.0f6159c501addfe9.js": '__webpack_require__.p = "/";' + ARRAYS + " " * 2000,
    "package/dist/app.bundle.css": "src: url(/a34f9d1faa5f3315.woff2)",
    "package/dist/app.bundle.js.map": "{}",
    "package/dist/ort/model.wasm": "large",
    "package/dist/sw.js": "service worker",
    "package/dist/app-config.js": "window.config = {}",
    "package/src/index.js": "not ours",
}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> assets.Package:
    """A package like OHIF's, and an npm that hands it out."""
    archive = tmp_path / "stock.tgz"
    with tarfile.open(archive, "w:gz") as bundle:
        for name, text in PACKED.items():
            member = tarfile.TarInfo(name)
            member.size = len(text.encode())
            bundle.addfile(member, io.BytesIO(text.encode()))
    an_npm(tmp_path / "bin", f"cp {archive} fetched.tgz", monkeypatch)
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    return replace(assets.SERVED[0], integrity=f"sha512-{digest}")


def an_npm(folder: Path, does: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folder.mkdir(exist_ok=True)
    (folder / "npm").write_text(f"#!/bin/sh\n{does}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")


def test_takes_the_part_that_is_served(package: assets.Package, tmp_path: Path) -> None:
    assets.fetch([package], tmp_path / "vendor")
    found = {path.name for path in (tmp_path / "vendor" / "ohif").rglob("*") if path.is_file()}
    assert found == {
        "made-from.txt",
        "LICENSE",
        "index.html",
        "app.bundle.0f6159c501addfe9.js",
        "app.bundle.0f6159c501addfe9.js.gz",
        "app.bundle.css",
    }


def test_every_address_leads_below_the_viewer(package: assets.Package, tmp_path: Path) -> None:
    assets.fetch([package], tmp_path)
    page = (tmp_path / "ohif" / "index.html").read_text()
    assert 'PUBLIC_URL="/viewer/"' in page
    assert 'src="/viewer/app.bundle' in page
    assert 'href="//elsewhere.example/"' in page
    assert "service-worker" not in page
    assert "manifest" not in page
    assert "url(/viewer/a34f" in (tmp_path / "ohif" / "app.bundle.css").read_text()
    script = tmp_path / "ohif" / "app.bundle.0f6159c501addfe9.js"
    assert "new Function" not in script.read_text()  # our policy lets no text become code
    assert '__webpack_require__.p = "/viewer/"' in script.read_text()
    assert gzip.decompress(script.with_name(script.name + ".gz").read_bytes()) == script.read_bytes()


def test_what_is_in_place_is_left_alone(
    package: assets.Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assets.fetch([package], tmp_path)
    an_npm(tmp_path / "bin", "exit 1", monkeypatch)
    assets.fetch([package], tmp_path)


def test_another_version_takes_its_place(package: assets.Package, tmp_path: Path) -> None:
    assets.fetch([package], tmp_path)
    (tmp_path / "ohif" / assets.STAMP).write_text("an earlier one")
    (tmp_path / "ohif" / "left-over.js").touch()
    assets.fetch([package], tmp_path)
    assert not (tmp_path / "ohif" / "left-over.js").exists()
    assert (tmp_path / "ohif" / assets.STAMP).read_text() == package.stamp


def test_another_content_is_refused_and_nothing_is_left(package: assets.Package, tmp_path: Path) -> None:
    with pytest.raises(assets.AssetsUnavailable, match="digest differs"):
        assets.fetch([replace(package, integrity="sha512-other")], tmp_path / "vendor")
    assert list((tmp_path / "vendor").iterdir()) == []


def test_without_network_it_says_so_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    an_npm(tmp_path / "bin", "exit 1", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["assets", "--into", str(tmp_path / "vendor")])
    assert assets.main() == assets.NOT_FETCHED
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert "preview" in said


def test_found_with_the_package_before_the_data_directory(
    package: assets.Package, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assets, "inside_package", lambda: tmp_path / "package")
    assert assets.find("ohif", tmp_path) is None
    assets.fetch([package], tmp_path / "assets")
    assert assets.find("ohif", tmp_path) == tmp_path / "assets" / "ohif"
    assets.fetch([package], tmp_path / "package")
    assert assets.find("ohif", tmp_path) == tmp_path / "package" / "ohif"
