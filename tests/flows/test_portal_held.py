"""What the uploader asks before it sends: `POST /upload/held`."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from pydicom import data as pydicom_data
from pydicom import dcmread

from tests.factories import People, bearer

SAMPLE = Path(pydicom_data.__file__).parent / "test_files" / "CT_small.dcm"


async def token_of(client: httpx.AsyncClient) -> str:
    return (await client.get("/account/security")).text.partition('name="csrf" value="')[2].partition('"')[0]


async def test_only_the_own_record_answers(client: httpx.AsyncClient, people: People) -> None:
    """Two patients, one disc: neither learns that the other has it."""
    ada, other = await people.patient(), await people.patient("Other Person")
    sop = str(dcmread(SAMPLE, stop_before_pixels=True).SOPInstanceUID)
    headers = {**bearer(await people.token(other)), "Content-Type": "application/dicom"}
    await client.post("/dicomweb/studies?mine=true", content=SAMPLE.read_bytes(), headers=headers)
    for person, held in ((ada, []), (other, [sop])):
        client.cookies.clear()
        await people.session(client, person)
        answer = await client.post(
            "/upload/held", json={"uids": [sop, "1.2.3"]}, headers={"X-CSRF-Token": await token_of(client)}
        )
        assert answer.json() == {"held": held}


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"nonsense", 400),
        (b"[]", 400),
        (b'{"uids": "1.2"}', 400),
        (b'{"uids": [1]}', 400),
        (b'{"uids": ["1.2.x"]}', 400),
        (b'{"uids": ["' + b"1" * 65 + b'"]}', 400),
        (b'{"uids": [' + b",".join(b'"1.2"' for _ in range(1001)) + b"]}", 413),
        (b'{"uids": [' + b" " * 200_000 + b"]}", 413),
        (b'{"uids": []}', 200),
    ],
)
async def test_bad_questions_get_a_sentence(
    client: httpx.AsyncClient, people: People, body: bytes, status: int
) -> None:
    await people.session(client, await people.patient())
    headers = {"Content-Type": "application/json", "X-CSRF-Token": await token_of(client)}
    answer = await client.post("/upload/held", content=body, headers=headers)
    assert answer.status_code == status
    assert set(answer.json()) == ({"held"} if status == 200 else {"error"})


async def test_it_wants_the_sessions_token_and_a_patient(client: httpx.AsyncClient, people: People) -> None:
    await people.session(client, await people.patient())
    assert (await client.post("/upload/held", json={"uids": []})).status_code == 403
    crossed = {"X-CSRF-Token": await token_of(client), "Sec-Fetch-Site": "cross-site"}
    assert (await client.post("/upload/held", json={"uids": []}, headers=crossed)).status_code == 403
    client.cookies.clear()
    stranger = await client.post("/upload/held", json={"uids": []})
    assert stranger.status_code == 401
    await people.session(client, await people.doctor())
    answer = await client.post(
        "/upload/held", json={"uids": []}, headers={"X-CSRF-Token": await token_of(client)}
    )
    assert answer.status_code == 404
