"""FHIR R4, 3.1.0.2 (read), 3.1.0.3 (vread), 3.1.0.1.3 and 4 (versions, conditional read)."""

from __future__ import annotations

from .conftest import Api


async def test_read_gives_the_resource_with_its_version(api: Api) -> None:
    """3.1.0.2: the response SHALL contain the id; ETag is the versionId, Last-Modified the lastUpdated."""
    made = await api.made(api.observation())
    answer = await api.get(f"Observation/{made['id']}")
    assert answer.status_code == 200
    assert answer.json() == made
    assert answer.headers["etag"] == 'W/"1"'
    assert "last-modified" in answer.headers
    assert answer.headers["content-type"] == "application/fhir+json; charset=utf-8"


async def test_read_of_an_unknown_id_or_type_is_404(api: Api) -> None:
    """3.1.0.2 and 3.1.0.1.5."""
    for path in ("Observation/nothing", "Nonsense/1", "Nonsense", "Observation/a%20b", "Medication/1"):
        answer = await api.get(path)
        assert answer.status_code == 404, path
        assert answer.json()["resourceType"] == "OperationOutcome"


async def test_read_of_a_deleted_resource_is_410(api: Api) -> None:
    """3.1.0.2: a deleted resource is 410; 3.1.0.3: so is the version that is the deletion."""
    made = await api.made(api.observation())
    await api.delete(f"Observation/{made['id']}")
    assert (await api.get(f"Observation/{made['id']}")).status_code == 410
    assert (await api.get(f"Observation/{made['id']}/_history/2")).status_code == 410
    assert (await api.get(f"Observation/{made['id']}/_history/1")).status_code == 200


async def test_vread_gives_that_version(api: Api) -> None:
    """3.1.0.3."""
    made = await api.made(api.observation())
    await api.put(f"Observation/{made['id']}", made | {"status": "amended"})
    first = await api.get(f"Observation/{made['id']}/_history/1")
    second = await api.get(f"Observation/{made['id']}/_history/2")
    assert first.json() == made
    assert (second.json()["status"], second.headers["etag"]) == ("amended", 'W/"2"')
    for version in ("3", "0", "abc", "99999999999999999999"):
        assert (await api.get(f"Observation/{made['id']}/_history/{version}")).status_code == 404


async def test_conditional_read(api: Api) -> None:
    """3.1.0.1.4: If-None-Match and If-Modified-Since give 304 when nothing changed."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    first = await api.get(path)
    same = await api.get(path, if_none_match=first.headers["etag"])
    assert (same.status_code, same.content) == (304, b"")
    assert same.headers["etag"] == 'W/"1"'
    assert (await api.get(path, if_modified_since=first.headers["last-modified"])).status_code == 304
    assert (await api.get(path, if_none_match='W/"7"')).status_code == 200
    assert (await api.get(path, if_modified_since="Mon, 01 Jan 2001 00:00:00 GMT")).status_code == 200
    assert (await api.get(path, if_modified_since="nonsense")).status_code == 200


async def test_head_is_a_read_without_its_body(api: Api) -> None:
    """RFC 9110, 9.3.2."""
    made = await api.made(api.observation())
    headers = {"authorization": f"Bearer {api.token}"}
    answer = await api.client.head(f"/fhir/Observation/{made['id']}", headers=headers)
    assert (answer.status_code, answer.content, answer.headers["etag"]) == (200, b"", 'W/"1"')


async def test_what_was_sent_is_what_is_served(api: Api) -> None:
    """2.6.2: decimals keep their precision, dates their form, elements their order."""
    text = (
        '{"resourceType":"Observation","status":"final","code":{"text":"x"},'
        f'"subject":{{"reference":"Patient/{api.patient}"}},'
        '"effectiveDateTime":"2020-01-01T10:00:00.7170+00:00",'
        '"valueQuantity":{"value":1.10,"unit":"mg"},'
        '"component":[{"code":{"text":"é\\u00e9/"},"valueQuantity":{"value":1e-3}},'
        '{"code":{"text":"y"},"valueQuantity":{"value":12345678901234567890.123456789}}]}'
    )
    made = await api.post("Observation", text)
    assert made.status_code == 201, made.text
    served = (await api.get(f"Observation/{made.json()['id']}")).text
    for part in ('"value":1.10,', "1e-3", "12345678901234567890.123456789", "10:00:00.7170+00:00"):
        assert part in served
