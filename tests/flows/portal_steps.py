"""Steps that people take on the portal's pages, over HTTP as a browser without JavaScript would."""

from __future__ import annotations

import asyncio
import re
import time
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx

from tests import mails

PASSWORD = "correct horse battery staple"


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.forms: list[dict[str, Any]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            self.forms.append({"action": given.get("action"), "method": given.get("method"), "fields": {}})
        elif tag == "input" and self.forms and given.get("name"):
            ticked = given.get("type") not in ("checkbox", "radio") or "checked" in given
            if ticked:
                self.forms[-1]["fields"].setdefault(given["name"], []).append(given.get("value") or "")


def forms_of(page: httpx.Response) -> list[dict[str, Any]]:
    """The forms of a page, with what they would send as they stand."""
    parser = _Page()
    parser.feed(page.text)
    return parser.forms


async def submit(
    browser: httpx.AsyncClient, path: str, action: str | None = None, **fields: Any
) -> httpx.Response:
    """Open a page, fill in the form with this action (of this path when not given), send it."""
    page = await browser.get(path)
    assert page.status_code == 200, (path, page.status_code)
    wanted = action or path.partition("?")[0]
    form = next(each for each in forms_of(page) if each["action"] == wanted and each["method"] == "post")
    return await browser.post(wanted, data={**form["fields"], **fields})


async def mail_to(outbox: Path, address: str, subject: str = "", *, number: int = 1) -> str:
    """The text of the newest mail to this address; waits until the worker has sent `number` of them."""
    until = time.monotonic() + 60
    while True:
        found = [mail for mail in mails.to(outbox, address) if subject in str(mail["Subject"])]
        if len(found) >= number:
            return mails.text_of(found[-1])
        assert time.monotonic() < until, f"no mail to {address}"
        await asyncio.sleep(0.02)


def link_in(text: str, path: str) -> str:
    """The path of the link in a mail that begins with `path`."""
    found = re.search(rf"https?://[^/\s]+({re.escape(path)}[^\s]+)", text)
    assert found, text
    return found[1]
