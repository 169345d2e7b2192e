"""A grave act asks for the password again when the sign-in is some time ago; what was typed stays."""

from __future__ import annotations

import re
from datetime import timedelta

import httpx

from server.core import clock


def token_of(page: httpx.Response) -> str:
    found = re.search(r'name="csrf" value="([^"]+)"', page.text)
    assert found, page.text
    return found[1]


async def test_the_confirm_page_leads_on(server, client, people):
    """Asked by GET: password, then on to where one was going; a wrong one asks again, and nowhere else."""
    pat = await people.patient()
    await people.session(client, pat)
    fresh = await client.get("/confirm?next=/account")
    assert (fresh.status_code, fresh.headers["location"]) == (303, "/account")
    clock.travel(timedelta(minutes=20))
    page = await client.get("/confirm?next=/account")
    assert page.status_code == 403
    assert 'value="/account"' in page.text
    form = {"csrf": token_of(page), "next": "/account", "confirm_password": "not this one at all"}
    wrong = await client.post("/confirm", data=form)
    assert wrong.status_code == 403
    assert "not right" in wrong.text
    assert "not this one" not in wrong.text
    done = await client.post("/confirm", data=form | {"confirm_password": pat.password})
    assert (done.status_code, done.headers["location"]) == (303, "/account")
    assert (await client.get("/confirm")).status_code == 303
    away = await client.post(
        "/confirm", data=form | {"confirm_password": pat.password, "next": "//evil.example"}
    )
    assert away.headers["location"] == "/"
