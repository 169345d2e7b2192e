"""FHIR R4, 3.1.0.7 (delete), 3.1.0.7.1 (conditional delete)."""

from __future__ import annotations

from .conftest import Api


async def test_delete(api: Api) -> None:
    """3.1.0.7: 204, once more 204; searches find it no more."""
    made = await api.made(api.observation())
    path = f"Observation/{made['id']}"
    assert (await api.delete(path)).status_code == 204
    assert (await api.delete(path)).status_code == 204
    assert await api.found(f"Observation?_id={made['id']}") == []
    history = (await api.get(f"{path}/_history")).json()
    assert [each["request"]["method"] for each in history["entry"]] == ["DELETE", "POST"]
    assert "resource" not in history["entry"][0]


async def test_delete_of_what_never_was_is_204(api: Api) -> None:
    """3.1.0.7, and decision 1: the hidden answers the same."""
    assert (await api.delete("Observation/never")).status_code == 204
    assert (await api.delete("Nonsense/never")).status_code == 404


async def test_delete_with_if_match(api: Api) -> None:
    made = await api.made(api.observation())
    assert (await api.delete(f"Observation/{made['id']}", if_match='W/"4"')).status_code == 412
    assert (await api.delete(f"Observation/{made['id']}", if_match='W/"1"')).status_code == 204


async def test_conditional_delete(api: Api) -> None:
    """3.1.0.7.1: one match is deleted, several are 412, unknown parameters an error."""
    resource = api.observation(identifier=[{"system": "urn:cd", "value": api.patient}])
    criteria = f"Observation?identifier=urn:cd|{api.patient}"
    first, second = await api.made(resource), await api.made(resource)
    assert (await api.delete(criteria)).status_code == 412
    await api.delete(f"Observation/{first['id']}")
    assert (await api.delete(criteria)).status_code == 204
    assert (await api.get(f"Observation/{second['id']}")).status_code == 410
    assert (await api.delete(criteria)).status_code == 204
    assert (await api.delete("Observation?nonsense=1")).status_code == 400
    assert (await api.delete("Observation")).status_code in (400, 412)


async def test_a_profile_is_not_deleted_here(api: Api) -> None:
    """Erasure is the holder's, in the account's pages."""
    assert (await api.delete(f"Patient/{api.patient}")).status_code == 405
