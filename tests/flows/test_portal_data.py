"""The pages "Your data", "Everything you allowed", "Delete everything", as a browser without JavaScript uses them."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx

from server.access.actor import Actor, ActorKind
from server.core import clock
from server.rights import holds
from tests.conformance.dicomweb.samples import instance, store
from tests.conftest import RunningServer
from tests.factories import PASSWORD, People, bearer
from tests.flows.portal_steps import submit
from tests.waiting import tries


async def test_restriction_and_withdrawal_from_the_pages(server: RunningServer, people: People) -> None:
    """Rows 55 and 57: each a press, as easy to undo as to do; permissions are taken back with the rest."""
    ada, bo = await people.patient("Ada Moor"), await people.doctor()
    await people.share(ada, bo)
    doctor = bearer(await people.token(bo, "user/*.rs"))
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as browser:
        await people.session(browser, ada)
        assert (await submit(browser, "/account/data", "/account/data/restrict")).status_code == 303
        page = await browser.get("/account/data")
        assert "Nobody but you can open this record" in page.text
        found = await browser.get(f"/fhir/Patient/{ada.fhir_id}", headers=doctor)
        assert found.status_code == 404
        refused = await submit(
            browser, "/sharing/new", name="Cy", email="cy@example.org", right="images", what="all"
        )
        assert refused.status_code in (409, 422)
        assert (await submit(browser, "/account/data", "/account/data/unrestrict")).status_code == 303
        assert (await browser.get(f"/fhir/Patient/{ada.fhir_id}", headers=doctor)).status_code == 200
        await submit(browser, "/account/permission", permission=["marketing", "education"])
        listed = await browser.get("/account/consents")
        assert "Bo Reader" in listed.text
        assert "News by e-mail" in listed.text
        await submit(browser, "/account/consents", "/account/consents/withdraw")
        assert "You allow nobody anything" in (await browser.get("/account/consents")).text
        assert (await browser.get(f"/fhir/Patient/{ada.fhir_id}", headers=doctor)).status_code == 404


async def test_deleting_the_account_from_the_page(server: RunningServer, people: People) -> None:
    """Row 54: effects listed, password again, at once or in 14 days, and a proof that anybody may see."""
    ada, bo = await people.patient("Ada Moor"), await people.doctor()
    await people.share(ada, bo)
    token = bearer(await people.token(ada))
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as browser:
        assert (await store(browser, instance(), **token)).status_code == 200
        await people.session(browser, ada)
        page = await browser.get("/account/delete")
        assert "1 study, 1 image" in page.text
        assert "1 share ends" in page.text
        typed = {"what": "account", "when": "now"}
        unsure = await submit(browser, "/account/delete", password=PASSWORD, **typed)
        assert unsure.status_code == 422
        wrong = await submit(browser, "/account/delete", password="not the password", sure="yes", **typed)
        assert wrong.status_code == 422
        later = await submit(
            browser, "/account/delete", password=PASSWORD, sure="yes", what="account", when="later"
        )
        assert later.headers["location"].startswith("/account/data")
        page = await browser.get("/account/data")
        back = re.search(r'action="(/account/delete/[^"]+/take-back)"', page.text)
        assert back
        assert (await submit(browser, "/account/data", back[1])).status_code == 303
        done = await submit(browser, "/account/delete", password=PASSWORD, sure="yes", **typed)
        assert done.status_code == 303
        proof = done.headers["location"]
        assert re.fullmatch(r"/erased/[0-9a-f-]{36}", proof)
        assert (await browser.get("/account")).status_code == 303  # signed out
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as anybody:
        async for _ in tries():
            page = await anybody.get(proof)
            if "Everything was deleted" in page.text:
                break
        assert "Moor" not in page.text
        signed = await anybody.get(f"{proof}/proof.json")
        assert signed.status_code == 200, page.text
        assert set(signed.json()) == {"proof", "signature", "key", "algorithm"}
        form = {"email": ada.email, "password": PASSWORD}
        assert (await anybody.post("/sign-in", data=form)).status_code != 303
        assert (await anybody.get("/erased/not-a-number")).status_code == 404


async def test_a_hold_is_shown_with_its_reason(server: RunningServer, people: People) -> None:
    """Rows 49 and 54: which part, who and why; there is no form to delete with."""
    ada, ops = await people.patient(), await people.operator()
    actor = Actor(ActorKind.OPERATOR, account_id=ops.account_id, name=ops.name)
    await holds.place(
        server.services, ada.fhir_id, authority="District Court", scope="All images", reason="Case 12",
        review_at=clock.now() + timedelta(days=90), actor=actor,
    )  # fmt: skip
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as browser:
        await people.session(browser, ada)
        for path in ("/account/data", "/account/delete"):
            page = await browser.get(path)
            assert "District Court" in page.text
            assert "Case 12" in page.text
        assert "Delete for good" not in page.text


async def test_everybody_may_ask_for_these_pages(server: RunningServer, people: People) -> None:
    """A doctor has an account and rights too; the policy is public and says its version (rows 36, 59)."""
    bo = await people.doctor()
    async with httpx.AsyncClient(base_url=server.url, timeout=60) as browser:
        page = await browser.get("/data")
        assert "No decision about you is made by a machine alone" in page.text
        assert re.search(r"Version \d+, of", page.text)
        await people.session(browser, bo)
        for path in ("/account/data", "/account/consents", "/account/delete", "/account/policy"):
            assert (await browser.get(path)).status_code == 200, path
