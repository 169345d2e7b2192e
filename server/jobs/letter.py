"""Letters: one plain text, from which the text and the HTML part of a mail are both made.

A template is a file of paragraphs with empty lines between them; the first line is the subject, and a paragraph
that begins with `=>` is a link. So both parts always say the same, and a translator has one file to translate.
"""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from .mailer import Mail

_LINK = "=>"
_PAGE = """<!doctype html>
<html lang="{language}"><head><meta charset="utf-8"><title>{title}</title></head>
<body style="margin:0;padding:24px;background:#faf8f5;color:#23211e;font:16px/1.5 system-ui,sans-serif">
<div style="max-width:560px;margin:0 auto">
{body}
</div></body></html>
"""
_BUTTON = (
    '<p><a href="{link}" style="display:inline-block;padding:10px 18px;border-radius:6px;'
    'background:#0b5d63;color:#ffffff;text-decoration:none">{words}</a></p>'
    '<p style="font-size:13px;color:#5d5850;word-break:break-all">{link}</p>'
)


def templates(package: str) -> Environment:
    """The letters in the folder `letters` of a room. Plain text: escaping is for the HTML made of it."""
    loader = PackageLoader(package, "letters")
    return Environment(loader=loader, undefined=StrictUndefined, autoescape=False)  # noqa: S701


def write(letters: Environment, name: str, to: str, values: Mapping[str, Any], language: str = "en") -> Mail:
    """The mail that this letter makes with these values, in English where a language has no letter of its own.

    A value stays within its line: what somebody typed cannot add a paragraph or a link.
    """
    flat = {
        key: " ".join(value.split()) if isinstance(value, str) else value for key, value in values.items()
    }
    text = letters.select_template([f"{language}/{name}.txt", f"{name}.txt"]).render(flat)
    subject, _, body = text.strip().partition("\n")
    paragraphs = [part.strip() for part in body.split("\n\n") if part.strip()]
    plain = "\n\n".join(_plain(each) for each in paragraphs) + "\n"
    page = "\n".join(_html(each) for each in paragraphs)
    html = _PAGE.format(language=language, title=escape(subject), body=page)
    return Mail(to=to, subject=subject, text=plain, html=html)


def _plain(paragraph: str) -> str:
    if not paragraph.startswith(_LINK):
        return " ".join(paragraph.split())
    link, _, words = paragraph.removeprefix(_LINK).strip().partition(" ")
    return f"{words}:\n{link}"


def _html(paragraph: str) -> str:
    if not paragraph.startswith(_LINK):
        return f"<p>{escape(' '.join(paragraph.split()))}</p>"
    link, _, words = paragraph.removeprefix(_LINK).strip().partition(" ")
    return _BUTTON.format(link=escape(link), words=escape(words))
