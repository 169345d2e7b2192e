"""Large content of Binaries: beside the row, sealed, streamed; the resource is whole all the same.

FHIR R4, Binary; RFC 9110, 14 (ranges).
"""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import AsyncIterator

import httpx
import pytest

from server.access.services import Services
from server.imaging import upkeep, verify
from server.storage import packs
from server.storage.sql import Statement
from tests.conftest import RunningServer
from tests.factories import People

from .conftest import Api, Json

FILM = hashlib.shake_256(b"film").digest(2_500_000)
OTHER = hashlib.shake_256(b"other").digest(70_000)


def of(api: Api, content: bytes, **more: object) -> Json:
    """A Binary of the caller's patient."""
    whose = {"reference": f"Patient/{api.patient}"}
    data = b64encode(content).decode()
    return {
        "resourceType": "Binary",
        "contentType": "video/mp4",
        "securityContext": whose,
        "data": data,
        **more,
    }


async def sent(api: Api, content: bytes | AsyncIterator[bytes]) -> httpx.Response:
    """Content sent as such."""
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "video/mp4",
        "prefer": "return=minimal",
        "x-security-context": f"Patient/{api.patient}",
    }
    return await api.client.post("/fhir/Binary", content=content, headers=headers)


def id_of(answer: httpx.Response) -> str:
    assert answer.status_code in (200, 201), answer.text
    return answer.headers["location"].split("/")[-3]


async def row_of(services: Services, id: str) -> bytes:
    text = "SELECT json FROM resource WHERE type = 'Binary' AND id = :id"
    return bytes(await services.db.fetch_val(Statement("row", text), {"id": id}))


async def test_content_is_streamed_sealed_and_whole(api: Api, server: RunningServer) -> None:
    """What is sent as such arrives in parts, lies in a pack and not in the row, and comes back as it was."""

    async def parts() -> AsyncIterator[bytes]:
        for at in range(0, len(FILM), 65_536):
            yield FILM[at : at + 65_536]

    services = server.services
    id = id_of(await sent(api, parts()))
    assert len(await row_of(services, id)) < 2_000
    raw = await api.get(f"Binary/{id}", accept="*/*")
    assert (raw.content, raw.headers["content-type"]) == (FILM, "video/mp4")
    assert raw.headers["content-length"] == str(len(FILM))
    part = await api.get(f"Binary/{id}", accept="video/*", range="bytes=1048570-1048580")
    assert (part.status_code, part.content) == (206, FILM[1048570:1048581])
    assert part.headers["content-range"] == f"bytes 1048570-1048580/{len(FILM)}"
    assert (await api.get(f"Binary/{id}", accept="*/*", range="bytes=9999999-")).status_code == 416
    assert (await api.get(f"Binary/{id}", accept="*/*", if_none_match=raw.headers["etag"])).status_code == 304
    resource = (await api.get(f"Binary/{id}", accept="application/fhir+json")).json()
    assert {k: v for k, v in resource.items() if k not in ("id", "meta")} == of(api, FILM)
    xml = await api.get(f"Binary/{id}", accept="application/fhir+xml")
    assert b64encode(FILM) in xml.content
    assert b"urn:lightbox" not in xml.content
    assert (await api.get(f"Binary/{id}/_history/1", accept="video/mp4")).content == FILM


async def test_every_bundle_has_it(api: Api) -> None:
    """Create with a body, search, history, batch, transaction, $export's shape: the same resource everywhere."""
    made = (await api.post("Binary", of(api, OTHER))).json()
    assert made["data"] == b64encode(OTHER).decode()
    assert "_data" not in made
    again = (await api.put(f"Binary/{made['id']}", made)).json()
    assert again == made  # nothing changed: no version
    found = (await api.get(f"Binary?_id={made['id']}")).json()["entry"][0]["resource"]
    assert found == made
    assert (await api.get(f"Binary/{made['id']}/_history")).json()["entry"][0]["resource"] == made
    entries = [
        {"resource": of(api, OTHER), "request": {"method": "POST", "url": "Binary"}},
        {"resource": of(api, FILM[:90_000]), "request": {"method": "POST", "url": "Binary"}},
        {"request": {"method": "GET", "url": f"Binary/{made['id']}"}},
    ]
    for kind in ("transaction", "batch"):
        answer = await api.post("", {"resourceType": "Bundle", "type": kind, "entry": entries})
        assert answer.status_code == 200, answer.text
        got = [each["resource"]["data"] for each in answer.json()["entry"]]
        assert got == [b64encode(each).decode() for each in (OTHER, FILM[:90_000], OTHER)]
    patched = await api.patch(
        f"Binary/{made['id']}", [{"op": "replace", "path": "/contentType", "value": "a/b"}]
    )
    assert (patched.status_code, patched.json()["contentType"]) == (200, "a/b")
    assert patched.json()["data"] == made["data"]  # a version of its own, and the same content
    user = {
        "authorization": f"Bearer {api.token}",
        "content-type": "video/mp4",
        "accept": "application/fhir+json",
    }
    next_one = await api.client.put(f"/fhir/Binary/{made['id']}", content=FILM, headers=user)
    assert next_one.status_code == 200, next_one.text
    assert next_one.json()["securityContext"] == made["securityContext"]  # not said: left as it was
    versions = [(await api.get(f"Binary/{made['id']}/_history/{n}", accept="*/*")).content for n in (1, 2, 3)]
    assert versions == [OTHER, OTHER, FILM]


async def test_a_mark_from_outside_is_not_believed(
    api: Api, people: People, client: httpx.AsyncClient
) -> None:
    """Nobody reaches content by naming it: not on a create, not on the resource of another."""
    theirs = await people.patient()
    other = Api(client, await people.token(theirs), theirs.fhir_id)
    made = (await api.post("Binary", of(api, OTHER))).json()
    size = {"url": "size", "valueDecimal": len(OTHER)}
    digest = {"url": "sha256", "valueString": hashlib.sha256(OTHER).hexdigest()}
    mark = {"extension": [{"url": "urn:lightbox:content", "extension": [size, digest]}]}
    forged = {**of(other, b""), "_data": mark}
    del forged["data"]
    for each in (
        await other.post("Binary", forged),
        await other.put(f"Binary/{(await other.post('Binary', of(other, b'x'))).json()['id']}", forged),
    ):
        if each.status_code < 300:
            assert "data" not in each.json()
            assert "_data" not in each.json()
            shown = await other.get(f"Binary/{each.json()['id']}", accept="*/*")
            assert shown.content == b""
    assert (await other.get(f"Binary/{made['id']}", accept="*/*")).status_code == 404
    # The owner may send back what a Bundle showed without its content: it is kept.
    bare = {name: value for name, value in made.items() if name != "data"}
    kept = await api.put(f"Binary/{made['id']}", {**bare, "_data": mark, "contentType": "c/d"})
    assert kept.json()["data"] == made["data"]


async def test_upkeep_counts_it(api: Api, server: RunningServer) -> None:
    """What is used stays and can be moved; `verify` reads it; what no version names goes."""
    services = server.services
    made = (await api.post("Binary", of(api, OTHER))).json()
    refused = await api.post("Binary", of(api, FILM, securityContext={"reference": "Patient/nobody"}))
    assert refused.status_code == 422
    wrong = of(api, FILM[:50_000]) | {"contentType": 1}
    assert (await api.post("Binary", wrong)).status_code == 422
    place = Statement("pack", "SELECT pack_id FROM content WHERE id = :id")
    before = await services.db.fetch_val(place, {"id": made["id"]})
    await upkeep.release(services)
    await upkeep.compact_pack(services, before)
    after = await services.db.fetch_val(place, {"id": made["id"]})
    assert before != after
    await packs.sweep(services.db, services.objects)
    assert (await api.get(f"Binary/{made['id']}", accept="*/*")).content == OTHER
    report = await verify.verify(services.db, services.objects, services.keyring)
    assert not [each for each in report.findings if each.what == "content"]
    assert report.objects >= 1
    orphans = "SELECT id FROM pack WHERE state = 'ready' AND id NOT IN (SELECT pack_id FROM held_object)"
    assert await services.db.fetch_all(Statement("orphans", orphans)) == []


async def test_a_body_that_breaks_off_leaves_nothing(api: Api, server: RunningServer) -> None:
    """Neither row nor file: the way back of packs."""
    count = Statement("count", "SELECT (SELECT count(*) FROM pack), (SELECT count(*) FROM resource)")
    services = server.services
    before = await services.db.fetch_one(count)

    async def parts() -> AsyncIterator[bytes]:
        yield FILM
        raise ConnectionError

    with pytest.raises((ConnectionError, httpx.HTTPError)):
        await sent(api, parts())
    assert await services.db.fetch_one(count) == before


async def test_a_system_that_chooses_the_id(client: httpx.AsyncClient, people: People) -> None:
    """Create by PUT (R4, 3.1.0.4.1), alone and in a transaction: nothing of what was sent is missing."""
    token = await people.system_token(await people.backend())
    system = Api(client, token, "")
    system = Api(client, token, (await system.made({"resourceType": "Patient"}))["id"])
    for number in range(2):
        resource = of(system, OTHER, id=f"film-{system.patient}-{number}"[:64])
        path = f"Binary/{resource['id']}"
        if number == 0:
            answer = await system.put(path, resource)
        else:
            request = {"method": "PUT", "url": path}
            answer = await system.post("", {"resourceType": "Bundle", "type": "transaction",
                                            "entry": [{"resource": resource, "request": request}]})  # fmt: skip
        assert answer.status_code in (200, 201), answer.text
        whole = await system.get(path, accept="application/fhir+json")
        assert whole.json()["data"] == resource["data"]
