"""FHIR R4, Binary: content in its own type, or as a resource; never something that runs."""

from __future__ import annotations

from base64 import b64decode

import httpx

from tests.factories import People, Person

from .conftest import Api, Json

HTML = b"<script>alert(1)</script>"


async def binary(api: Api) -> Json:
    headers = {
        "authorization": f"Bearer {api.token}",
        "content-type": "text/html",
        "accept": "application/fhir+json",
        "x-security-context": f"Patient/{api.patient}",
    }
    answer = await api.client.post("/fhir/Binary", content=HTML, headers=headers)
    assert answer.status_code == 201, answer.text
    made: Json = answer.json()
    return made


async def test_raw_content_in_and_out(api: Api) -> None:
    made = await binary(api)
    assert (made["contentType"], b64decode(made["data"])) == ("text/html", HTML)
    assert made["securityContext"] == {"reference": f"Patient/{api.patient}"}
    raw = await api.get(f"Binary/{made['id']}", accept="text/html")
    assert (raw.content, raw.headers["content-type"].partition(";")[0]) == (HTML, "text/html")
    assert raw.headers["content-disposition"] == "attachment"
    assert "sandbox" in raw.headers["content-security-policy"]
    wrapped = await api.get(f"Binary/{made['id']}", accept="application/fhir+json")
    assert wrapped.json() == made
    assert (await api.get(f"Binary/{made['id']}", accept="image/png")).status_code == 406


async def test_a_report_with_its_file_reaches_the_doctor(
    client: httpx.AsyncClient, people: People, ada: Person, api: Api, stranger: Api
) -> None:
    """DiagnosticReport and DocumentReference with a Binary: seen by whom the record was shared with, by no other."""
    made = await binary(api)
    attachment = {"contentType": "text/html", "url": f"Binary/{made['id']}"}
    report = await api.made(
        {
            "resourceType": "DiagnosticReport",
            "status": "final",
            "code": {"text": "Report"},
            "subject": {"reference": f"Patient/{api.patient}"},
            "presentedForm": [attachment],
        }
    )
    document = await api.made(
        {
            "resourceType": "DocumentReference",
            "status": "current",
            "subject": {"reference": f"Patient/{api.patient}"},
            "content": [{"attachment": attachment}],
        }
    )
    doctor = await people.doctor()
    theirs = Api(client, await people.token(doctor, "user/*.rs"), api.patient)
    await people.share(ada, doctor, rights=("images", "reports"))
    for path in (
        f"DiagnosticReport/{report['id']}",
        f"DocumentReference/{document['id']}",
        f"Binary/{made['id']}",
    ):
        assert (await theirs.get(path)).status_code == 200, path
        assert (await stranger.get(path)).status_code == 404, path
    only_images = await people.doctor()
    other = Api(client, await people.token(only_images, "user/*.rs"), api.patient)
    await people.share(ada, only_images, rights=("images",))
    assert (await other.get(f"Patient/{api.patient}")).status_code == 200
    assert (await other.get(f"DiagnosticReport/{report['id']}")).status_code == 404
    assert (await other.get(f"Binary/{made['id']}")).status_code == 404
