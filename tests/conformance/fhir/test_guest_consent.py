"""A guest link is a Consent too: FHIR R4 Consent shows what the portal gave and until when, and ends it."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import httpx
import pytest

from server.access.action import Action, Verb
from server.core import clock
from server.sharing import expiry, guest
from tests.conftest import RunningServer
from tests.factories import People, Person, bearer
from tests.flows.portal_studies import keep
from tests.sharing_steps import actor_of

Json = dict[str, Any]


async def link_of(server: RunningServer, patient: Person, studies: list[str] | None = None) -> str:
    reach = await server.services.gate.reach_for_actor(actor_of(patient), Action("Consent", Verb.CREATE))
    made = await guest.create(
        server.services,
        patient.fhir_id,
        name="Aunt Gerda",
        email="gerda@example.org",
        rights=["images", "download"],
        studies=studies,
        until=clock.now() + timedelta(days=3),
        actor=actor_of(patient),
        reach=reach,
    )
    return made.id


def state_of(consent: Json) -> str:
    [state] = [each["valueCode"] for each in consent["extension"] if each["url"].endswith("share-state")]
    return str(state)


@pytest.fixture
async def patient(people: People) -> Person:
    return await people.patient("Lina Verleih")


async def test_a_link_is_shown_with_whom_what_and_until_when(
    server: RunningServer, people: People, client: httpx.AsyncClient, patient: Person
) -> None:
    """R4 Consent.provision: one permit, its period, its actor, its data; the guest is a contained RelatedPerson."""
    study = await keep(client, people, patient)
    link, doctor = await link_of(server, patient, [study.uid]), await people.doctor()
    await people.share(patient, doctor)
    headers = bearer(await people.token(patient))
    consent = (await client.get(f"/fhir/Consent/{link}", headers=headers)).json()
    provision = consent["provision"]
    assert (consent["status"], state_of(consent)) == ("active", "active")
    assert provision["period"]["end"][:10] == (clock.now() + timedelta(days=3)).date().isoformat()
    assert {each["valueCode"] for each in provision["extension"]} == {"images", "download"}
    [contained] = consent["contained"]
    assert contained["telecom"] == [{"system": "email", "value": "gerda@example.org"}]
    assert provision["actor"][0]["reference"] == {"reference": "#guest", "display": "Aunt Gerda"}
    named = provision["data"][0]["reference"]["reference"]
    assert (await client.get(f"/fhir/{named}", headers=headers)).json()["resourceType"] == "ImagingStudy"
    found = (await client.get("/fhir/Consent?status=active", headers=headers)).json()
    assert link in [each["resource"]["id"] for each in found["entry"]]
    checked = await client.post("/fhir/Consent/$validate", json=consent, headers=headers)
    assert [each["severity"] for each in checked.json()["issue"]] in ([], ["information"])
    # Whom else a patient shows something is no doctor's business.
    for token in (await people.token(doctor, "user/*.rs"), await people.token(await people.patient())):
        assert (await client.get(f"/fhir/Consent/{link}", headers=bearer(token))).status_code == 404


@pytest.mark.parametrize("how", ["PUT", "DELETE", "portal", "time"])
async def test_its_end_is_the_same_wherever_it_came_from(
    server: RunningServer, people: People, client: httpx.AsyncClient, patient: Person, how: str
) -> None:
    """Decision 5: inactive is over. What ends in FHIR ends at the link's door, and the other way round."""
    link, headers = await link_of(server, patient), bearer(await people.token(patient))
    assert (await client.get(f"/link/{link}")).status_code == 200
    consent = (await client.get(f"/fhir/Consent/{link}", headers=headers)).json()
    if how == "PUT":
        more = {**consent, "provision": {**consent["provision"], "period": {"end": "2099-01-01"}}}
        assert (await client.put(f"/fhir/Consent/{link}", json=more, headers=headers)).status_code == 422
        assert (await client.put(f"/fhir/Consent/{link}", json=consent, headers=headers)).status_code == 200
        done = await client.put(
            f"/fhir/Consent/{link}", json={**consent, "status": "inactive"}, headers=headers
        )
        assert done.status_code == 200, done.text
        back = await client.put(f"/fhir/Consent/{link}", json=consent, headers=headers)
        assert back.status_code == 422, "a link that is over does not come back"
    elif how == "DELETE":
        assert (await client.delete(f"/fhir/Consent/{link}", headers=headers)).status_code == 204
    elif how == "portal":
        reach = await server.services.gate.reach_for_actor(actor_of(patient), Action("Consent", Verb.UPDATE))
        await guest.revoke(server.services, link, actor=actor_of(patient), reach=reach)
    else:
        clock.travel(timedelta(days=4))
        await expiry.run(server.services)
        headers = bearer(await people.token(patient))
    assert (await client.get(f"/link/{link}")).status_code == 410
    after = await client.get(f"/fhir/Consent/{link}", headers=headers)
    if how == "DELETE":
        assert after.status_code == 410
        return
    assert (after.json()["status"], state_of(after.json())) == ("inactive", "ended")
    assert after.json()["provision"]["period"]["end"] <= clock.now().isoformat()
    events = await client.get(f"/fhir/AuditEvent?patient={patient.fhir_id}", headers=headers)
    assert events.text.count("share:link:ended") >= 1


async def test_no_link_is_made_through_fhir(
    server: RunningServer, people: People, client: httpx.AsyncClient, patient: Person
) -> None:
    """Its codes are mailed from the portal: a Consent that looks like one is more than can be enforced (422)."""
    link, headers = await link_of(server, patient), bearer(await people.token(patient))
    consent = (await client.get(f"/fhir/Consent/{link}", headers=headers)).json()
    copied = {name: consent[name] for name in consent if name not in ("id", "meta")}
    assert (await client.post("/fhir/Consent", json=copied, headers=headers)).status_code == 422
    # A stranger who knows the id ends nothing by it.
    other = bearer(await people.token(await people.patient("Ona Fremd")))
    refused = await client.put(f"/fhir/Consent/{link}", json={**consent, "status": "inactive"}, headers=other)
    assert refused.status_code in (404, 405, 422)
    assert (await client.delete(f"/fhir/Consent/{link}", headers=other)).status_code == 204
    assert (await client.get(f"/link/{link}")).status_code == 200
