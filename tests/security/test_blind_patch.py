"""A token that may change and not read: its patches are no way to guess what is there (SMART App Launch 2.2)."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.factories import People, bearer

SECRET = "Unlikely Words"
JSON_PATCH, FHIR = "application/json-patch+json", "application/fhir+json"


def fhirpath(kind: str, path: str, **value: Any) -> dict[str, Any]:
    parts: list[dict[str, Any]] = [{"name": "type", "valueCode": kind}, {"name": "path", "valueString": path}]
    parts += [{"name": "value", name: each} for name, each in value.items()]
    return {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": parts}]}


ASKING: list[Any] = [
    [{"op": "test", "path": "/valueString", "value": "GUESS"}],
    [{"op": "copy", "from": "/valueString", "path": "/code/text"}],
    [{"op": "move", "from": "/valueString", "path": "/code/text"}],
    fhirpath("delete", "Observation.note.where(text = 'GUESS')"),
    fhirpath("replace", "Observation.where(valueString = 'GUESS').status", valueCode="amended"),
    {"resourceType": "Parameters", "parameter": [{"name": "operation", "part": "no list"}]},
    [1],
]


@pytest.mark.parametrize(
    "scope", ["patient/Observation.u", "patient/Observation.cu patient/Observation.rs?category=x|y"]
)
async def test_no_guessing(client: httpx.AsyncClient, people: People, scope: str) -> None:
    """Right and wrong guesses are answered alike, by status, body, headers, and what is seen of versions after."""
    ada = await people.patient()
    full = bearer(await people.token(ada))
    blind = bearer(await people.token(ada, scope))
    seen = {"resourceType": "Observation", "status": "final", "code": {"text": "x"}, "valueString": SECRET,
            "note": [{"text": SECRET}], "subject": {"reference": f"Patient/{ada.fhir_id}"}}  # fmt: skip
    made = (await client.post("/fhir/Observation", json=seen, headers=full | {"content-type": FHIR})).json()
    address = f"/fhir/Observation/{made['id']}"

    async def patched(patch: Any) -> httpx.Response:
        kind = {"content-type": FHIR if isinstance(patch, dict) else JSON_PATCH}
        return await client.patch(address, json=patch, headers=blind | kind)

    for patch in ASKING:
        answers = []
        for guess in (SECRET, "Wrong"):
            answer = await patched(_with(patch, guess))
            answers.append((answer.status_code, answer.content, answer.headers.get("etag")))
        assert answers[0] == answers[1]
        assert answers[0][0] == 403, patch
    for value, version in ((SECRET, 2), (SECRET, 3), ("Wrong", 4)):  # a version each time, whatever was there
        answer = await patched([{"op": "replace", "path": "/valueString", "value": value}])
        assert (answer.status_code, answer.headers["etag"], answer.content) == (200, f'W/"{version}"', b"")
    changed = await patched(fhirpath("replace", "Observation.status", valueCode="amended"))
    assert (changed.status_code, changed.content) == (200, b"")
    entry = {"resource": fhirpath("delete", f"Observation.note.where(text = '{SECRET}')"),
             "request": {"method": "PATCH", "url": f"Observation/{made['id']}"}}  # fmt: skip
    body = {"resourceType": "Bundle", "type": "batch", "entry": [entry]}
    batch = (await client.post("/fhir", json=body, headers=blind | {"content-type": FHIR})).json()
    assert batch["entry"][0]["response"]["status"] == "403"
    # Who may read goes on asking.
    test = [{"op": "test", "path": "/status", "value": "amended"}]
    assert (
        await client.patch(address, json=test, headers=full | {"content-type": JSON_PATCH})
    ).status_code == 200


def _with(patch: Any, guess: str) -> Any:
    if isinstance(patch, dict):
        return {name: _with(value, guess) for name, value in patch.items()}
    if isinstance(patch, list):
        return [_with(each, guess) for each in patch]
    return patch.replace("GUESS", guess) if isinstance(patch, str) else patch
