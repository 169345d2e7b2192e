"""Conditional requests, HEAD and ranges, resource by resource (PS3.18, 8.3 and 8.4 leave them to HTTP: RFC 9110)."""

from __future__ import annotations

import httpx
import pytest
from starlette.routing import Route

from server.dicomweb.routes import routes
from tests.conformance.dicomweb.samples import Sample, instance, store
from tests.conformance.dicomweb.test_reach import filled

PATHS = [
    route.path
    for route in routes
    if isinstance(route, Route) and "GET" in (route.methods or ()) and route.name != "elsewhere"
]


@pytest.fixture
async def shown(web: httpx.AsyncClient) -> Sample:
    """An image with a value large enough to be bulk data."""
    sample = instance(EncapsulatedDocument=b"x" * 2000)
    assert (await store(web, sample)).status_code == 200
    return sample


async def test_every_route(web: httpx.AsyncClient, shown: Sample):
    """RFC 9110, 8.8.3, 9.3.2, 13.1.2, 14: each GET has a tag, a HEAD without a body, a 304, and ranges it announces."""
    wrong = []
    for path in PATHS:
        address = f"/dicomweb{filled(path, shown)}"
        whole = await web.get(address)
        if whole.status_code == 204:
            continue
        assert whole.status_code == 200, (path, whole.text)
        for check in (_head, _unchanged, _ranges):
            wrong += [(path, *each) for each in await check(web, address, whole)]
    assert not wrong


async def _head(web: httpx.AsyncClient, address: str, whole: httpx.Response) -> list[tuple[str, ...]]:
    head = await web.head(address)
    fields = ("etag", "content-type", "content-length", "accept-ranges", "last-modified")
    said = [
        (name, *(each.headers.get(name, "").split("boundary=")[0] for each in (head, whole)))
        for name in fields
    ]
    wrong = [each for each in said if each[1] != each[2]]
    return (
        wrong if head.status_code == 200 and not head.content else [*wrong, ("HEAD", str(head.status_code))]
    )


async def _unchanged(web: httpx.AsyncClient, address: str, whole: httpx.Response) -> list[tuple[str, ...]]:
    tag = whole.headers.get("etag", "")
    wrong = [] if tag.startswith('"') else [("no ETag",)]
    for held in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        again = await web.get(address, headers={"If-None-Match": held})
        if (again.status_code, again.content, again.headers.get("etag")) != (304, b"", tag):
            wrong.append(("If-None-Match", held))
    if (dated := whole.headers.get("last-modified")) is not None:
        again = await web.get(address, headers={"If-Modified-Since": dated})
        wrong += [("If-Modified-Since",)] if again.status_code != 304 else []
    other = await web.get(address, headers={"If-None-Match": '"other"', "If-Modified-Since": dated or ""})
    return wrong if other.status_code == 200 else [*wrong, ("If-None-Match of another",)]


async def _ranges(web: httpx.AsyncClient, address: str, whole: httpx.Response) -> list[tuple[str, ...]]:
    part = await web.get(address, headers={"Range": "bytes=1-4"})
    if whole.headers.get("accept-ranges") != "bytes":
        return [] if part.status_code == 200 else [("a range that was not announced",)]
    size = len(whole.content)
    wrong = [] if (part.status_code, part.content) == (206, whole.content[1:5]) else [("Range",)]
    if part.headers.get("content-range") != f"bytes 1-4/{size}":
        wrong.append(("Content-Range",))
    beyond = await web.get(address, headers={"Range": f"bytes={size}-"})
    if (beyond.status_code, beyond.headers.get("content-range")) != (416, f"bytes */{size}"):
        wrong.append(("beyond",))
    other = await web.get(address, headers={"Range": "bytes=1-4", "If-Range": '"other"'})
    return wrong if other.status_code == 200 else [*wrong, ("If-Range",)]


async def test_head_is_of_what_get_would_send(web: httpx.AsyncClient, shown: Sample):
    """RFC 9110, 9.3.2: the fields of a HEAD are those of the GET, compressed where that is; so its tag is of use."""
    for path in (f"{shown.path}/metadata", f"/studies?StudyInstanceUID={shown.study}"):
        headers = {"Accept-Encoding": "gzip"}
        head, whole = [
            await web.request(verb, f"/dicomweb{path}", headers=headers) for verb in ("HEAD", "GET")
        ]
        assert head.headers["etag"] == whole.headers["etag"]
        assert head.headers.get("content-encoding") == whole.headers.get("content-encoding")
        plain = await web.get(f"/dicomweb{path}")
        assert (plain.headers["etag"] != whole.headers["etag"]) == ("content-encoding" in whole.headers)
        unchanged = await web.head(
            f"/dicomweb{path}", headers={**headers, "If-None-Match": whole.headers["etag"]}
        )
        assert unchanged.status_code == 304
