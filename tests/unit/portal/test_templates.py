"""Templates keep to the strict policy: nothing inline, no other host; every one of them can be read."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from server.core.texts import translations
from server.portal import pages

FOLDER = Path(pages.__file__).parent / "templates"
TEMPLATES = sorted(path.name for path in FOLDER.iterdir())


@pytest.mark.parametrize("name", TEMPLATES)
def test_it_can_be_read_and_holds_nothing_inline(name: str) -> None:
    pages._environment("en").get_template(name)
    source = (FOLDER / name).read_text()
    assert not re.search(r"\sstyle=|\son[a-z]+=|javascript:", source)
    assert not re.search(r"<style|<script(?![^>]*(src=|application/json))", source)
    assert not re.search(r"(src|href|action)=\"(https?:)?//", source)


@pytest.mark.parametrize("name", [name for name in TEMPLATES if name.endswith(".html")])
def test_forms_that_post_carry_the_token(name: str) -> None:
    for form in re.findall(r"<form[^>]*method=\"post\".*?</form>", (FOLDER / name).read_text(), re.DOTALL):
        assert "csrf_field()" in form


def test_the_policy_has_no_unsafe_word() -> None:
    policy = pages.headers()["content-security-policy"]
    assert "unsafe" not in policy
    assert "default-src 'none'" in policy
    assert "frame-ancestors 'none'" in policy
    assert "form-action" not in pages.headers(onward=True)["content-security-policy"]


def test_assets_have_addresses_that_change_with_their_content() -> None:
    assert re.fullmatch(r"/static/lightbox\.css\?v=[0-9a-f]{12}", pages.asset("lightbox.css"))


def test_static_files_name_no_other_host() -> None:
    for path in pages.STATIC.rglob("*"):
        if path.suffix in (".css", ".js"):
            hosts = set(re.findall(r"https?://[^\s\"')]+", path.read_text()))
            assert hosts <= {"http://www.w3.org/2000/svg"}, path


def test_the_whole_look_is_small() -> None:
    """Pages stay under 150 kB, viewer aside."""
    assert sum(path.stat().st_size for path in pages.STATIC.rglob("*") if path.is_file()) < 120_000


def test_english_is_the_source() -> None:
    assert translations("en").gettext("Sharing") == "Sharing"
    assert translations("xx").gettext("Sharing") == "Sharing"
