"""Account > Sign-in and devices: second steps of a patient, sessions, e-mail change, history; told and asked again."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import httpx
import pytest

from server.accounts import people as accounts
from server.accounts import sessions
from server.core import clock
from server.core.ids import digest
from server.storage.sql import Statement
from tests.factories import bearer
from tests.second_steps import (
    code_of,
    field_of,
    later,
    make_passkey,
    secret_of,
    send,
    told,
    type_code,
    type_password,
)
from tests.sharing_steps import mails_to, text_of

PAGE = "/account/security"


async def post(client: httpx.AsyncClient, path: str, **form: str) -> httpx.Response:
    token = field_of(await client.get(PAGE), "csrf")
    return await client.post(path, data={"csrf": token, **form})


@pytest.fixture
async def other(server):
    async with httpx.AsyncClient(base_url=server.url, timeout=30) as made:
        yield made


async def add_app(client: httpx.AsyncClient) -> str:
    page = await client.get(f"{PAGE}/app")
    secret = secret_of(page)
    form = {name: field_of(page, name) for name in ("csrf", "offer")}
    wrong = await client.post(f"{PAGE}/app", data=form | {"code": "000000"})
    assert wrong.status_code == 422
    assert secret_of(wrong) == secret  # the picture taken already stays good
    done = await client.post(f"{PAGE}/app", data=form | {"code": code_of(secret)})
    assert done.headers["location"] == f"{PAGE}/codes?done=factor-added"
    return secret


async def test_a_patient_turns_the_second_step_on_and_off(server, people, client, other):
    """Patients may have one: then the password alone opens nothing, also towards an app's consent page."""
    pat = await people.patient()
    await people.session(client, pat)
    secret = await add_app(client)
    await told(server.services, pat.email, "second step was added")
    answer = await type_password(other, pat, "/sharing")
    assert answer.headers["location"] == "/sign-in/second?next=/sharing"
    assert (await other.get("/sharing")).status_code == 303
    later()
    done = await type_code(other, code_of(secret), "/sharing")
    assert done.headers["location"] == "/sharing"
    page = await other.get(PAGE)
    assert "Password and app" in page.text
    assert "Second step added" in page.text
    again = await client.get(f"{PAGE}/app")
    form = {name: field_of(again, name) for name in ("csrf", "offer")}
    second = await client.post(f"{PAGE}/app", data=form | {"code": code_of(secret_of(again))})
    assert second.status_code == 422  # one app
    assert (await post(client, f"{PAGE}/app/remove")).status_code == 303
    other.cookies.clear()
    assert (await type_password(other, pat)).headers["location"] == "/"
    assert (await post(client, f"{PAGE}/codes")).status_code == 403  # they stand in for nothing


async def test_passkeys_are_listed_named_and_removed(server, people, client, other):
    pat = await people.patient()
    await people.session(client, pat)
    origin = server.url.replace("127.0.0.1", "localhost")
    key = await make_passkey(client, origin, name="the blue <key>\u0007")
    page = await client.get(PAGE)
    assert "the blue &lt;key&gt;" in page.text
    options = (await send(other, "/sign-in/passkey")).json()
    done = await send(other, "/sign-in/passkey/answer", body={"credential": key.get(options)})
    assert done.json() == {"go": "/"}
    passkey = field_of(page, "passkey")
    stranger = await people.patient()
    other.cookies.clear()
    await people.session(other, stranger)
    assert (await post(other, f"{PAGE}/passkeys/remove", passkey=passkey)).status_code == 303
    assert "the blue" in (await client.get(PAGE)).text  # not theirs
    assert (await post(client, f"{PAGE}/passkeys/remove", passkey=passkey)).status_code == 303
    assert "the blue" not in (await client.get(PAGE)).text
    other.cookies.clear()
    options = (await send(other, "/sign-in/passkey")).json()
    gone = await send(other, "/sign-in/passkey/answer", body={"credential": key.get(options)})
    assert gone.status_code == 401


async def test_every_change_asks_again_after_a_while(server, people, client):
    """Step-up cannot be gone around: each way of changing the sign-in, after a quarter of an hour."""
    pat = await people.patient()
    await people.session(client, pat)
    origin = server.url.replace("127.0.0.1", "localhost")
    key = await make_passkey(client, origin)
    clock.travel(timedelta(minutes=16))
    token = field_of(await client.get(PAGE), "csrf")
    passkey = field_of(await client.get(PAGE), "passkey")
    forms = {
        f"{PAGE}/passkeys/remove": {"passkey": passkey},
        f"{PAGE}/app": {"code": "1", "offer": "x"},
        f"{PAGE}/app/remove": {},
        f"{PAGE}/codes": {},
        f"{PAGE}/address": {"email": "new@example.org"},
    }
    for path, form in forms.items():
        asked = await client.post(path, data={"csrf": token, **form})
        assert asked.status_code == 403, path
        assert "confirm_password" in asked.text, path
        assert (await client.post(path, data=form)).status_code == 403
    assert (await client.get(f"{PAGE}/app")).status_code == 403
    for path in (f"{PAGE}/passkeys/options", f"{PAGE}/passkeys"):
        asked = await send(client, path, token)
        assert (asked.status_code, asked.json()["confirm"]) == (403, "/confirm"), path
    assert not any(
        "new@example.org" in mail["To"] for mail in await mails_to(server.services, "new@example.org")
    )
    # one of the own passkeys confirms as the password does; a stranger's does not
    options = await send(client, "/confirm/passkey", token)
    answer = {"credential": key.get(options.json())}
    assert (await send(client, "/confirm/passkey/answer", token, answer)).status_code == 200
    assert (await send(client, "/confirm/passkey/answer", token, answer)).status_code == 401
    assert (await client.get(f"{PAGE}/app")).status_code == 200


async def test_devices_are_ended_one_by_one_or_all(server, people, client, other):
    """Ended sessions and apps are refused on their next request."""
    pat = await people.patient()
    await people.session(client, pat)
    await people.session(other, pat)
    token = await people.token(pat)
    page = await client.get(PAGE)
    session = field_of(page, "session")
    assert (await post(client, f"{PAGE}/end", session=session)).status_code == 303
    assert (await other.get(PAGE)).status_code == 303
    await people.session(other, pat)
    assert (await other.get("/fhir/Patient", headers=bearer(token))).status_code == 200
    assert (await post(client, f"{PAGE}/end-others")).status_code == 303
    assert (await other.get(PAGE)).status_code == 303
    assert (await other.get("/fhir/Patient", headers=bearer(token))).status_code == 401
    assert (await client.get(PAGE)).status_code == 200
    stranger = await people.patient()
    await people.session(other, stranger)
    mine = await sessions.sessions_of(server.services.db, pat.account_id)
    await post(other, f"{PAGE}/end", session=str(mine[0].id))
    await post(other, f"{PAGE}/end", session="nonsense")
    assert (await client.get(PAGE)).status_code == 200


async def test_another_address_tells_both_and_can_be_taken_back(server, people, client, other):
    """The new mailbox confirms by a POST; the old one takes it back within a week, with everything signed out."""
    pat = await people.patient()
    await people.session(client, pat)
    new = f"new-{pat.email}"
    assert (await post(client, f"{PAGE}/address", email=new)).status_code == 303
    mail = await told(server.services, new, "/address/confirm/")
    confirm = mail[mail.index("/address/confirm/") :].split()[0]
    mail = await told(server.services, pat.email, "/address/keep/")
    early = mail[mail.index("/address/keep/") :].split()[0]
    assert pat.name not in mail
    assert new not in mail  # neither mailbox learns of the other
    assert (await other.get(confirm)).status_code == 200
    account = await accounts.get(server.services.db, pat.account_id)
    assert account.email == pat.email  # a GET changes nothing
    assert (await other.post(confirm)).status_code == 303
    assert (await other.post(confirm)).status_code == 410
    account = await accounts.get(server.services.db, pat.account_id)
    assert account.email == new
    assert (await type_password(other, pat)).status_code == 422
    mail = await told(server.services, pat.email, "Take it back")
    undo = mail[mail.index("/address/keep/") :].split()[0]
    assert undo != early
    # the thief changes it again, and the old mailbox still wins
    await post(client, f"{PAGE}/address", email=f"other-{pat.email}")
    mail = await told(server.services, f"other-{pat.email}", "/address/confirm/")
    await other.post(mail[mail.index("/address/confirm/") :].split()[0])
    clock.travel(timedelta(days=6))
    assert (await other.get(undo)).status_code == 200
    assert (await other.post(undo)).status_code == 303
    assert (await other.post(undo)).status_code == 410
    account = await accounts.get(server.services.db, pat.account_id)
    assert account.email == pat.email
    assert (await client.get(PAGE)).status_code == 303


async def test_what_a_thief_asked_for_goes_with_the_password(server, people, client, other):
    """A change of address that waits, a link to a new password and a viewer's key outlive neither a new password nor
    an address that was taken back."""
    pat, db = await people.patient(), server.services.db
    thiefs = f"thief-{pat.email}"
    await people.session(client, pat)
    await post(client, f"{PAGE}/address", email=thiefs)
    mail = await told(server.services, thiefs, "/address/confirm/")
    confirm = mail[mail.index("/address/confirm/") :].split()[0]
    await other.post("/reset", data={"email": pat.email})
    mail = await told(server.services, pat.email, "/reset/")
    before = mail[mail.index("/reset/") :].split()[0]
    key = {"patient": pat.fhir_id, "account": pat.account_id, "hash": digest("lbp_key"), "now": clock.now()}
    made = (
        "INSERT INTO viewer_pass (id, patient_id, account_id, study_uid, viewer, secret_hash, created_at, until)"
        " VALUES (gen_random_uuid(), :patient, :account, '1.2', 'Weasis', :hash, :now, :until)"
    )
    await db.execute(Statement("pass", made), key | {"until": clock.now() + timedelta(hours=1)})
    root = f"/patients/{pat.fhir_id}/dicomweb/studies"
    assert (await other.get(root, headers=bearer("lbp_key"))).status_code == 200
    asked = await other.post("/oauth/introspect", data={"token": "x"}, headers=bearer("lbp_key"))
    assert asked.status_code == 401  # it reads one study, and is no token
    await accounts.change_password(db, pat.account_id, "quite another long pass phrase")
    assert (await other.get(root, headers=bearer("lbp_key"))).status_code == 401
    assert (await other.post(confirm)).status_code == 410
    assert (await other.post(before, data={"password": "the thief chose this one"})).status_code == 410

    await type_password(client, replace(pat, password="quite another long pass phrase"))
    thiefs = f"again-{thiefs}"
    await post(client, f"{PAGE}/address", email=thiefs)
    mail = await told(server.services, thiefs, "/address/confirm/")
    await other.post(mail[mail.index("/address/confirm/") :].split()[0])
    await other.post("/reset", data={"email": thiefs})
    mail = await told(server.services, thiefs, "/reset/")
    theirs = mail[mail.index("/reset/") :].split()[0]
    mail = await told(server.services, pat.email, "Take it back")
    assert (await other.post(mail[mail.index("/address/keep/") :].split()[0])).status_code == 303
    assert (await other.post(theirs, data={"password": "the thief chose this one"})).status_code == 410


async def test_a_known_address_answers_like_an_unknown_one(server, people, client):
    """Nobody learns who has an account; its owner gets a mail, and nothing changes."""
    pat, known = await people.patient(), await people.patient()
    await people.session(client, pat)
    one = await post(client, f"{PAGE}/address", email=known.email)
    two = await post(client, f"{PAGE}/address", email=f"un{known.email}")
    assert (one.status_code, one.headers["location"]) == (two.status_code, two.headers["location"])
    await told(server.services, known.email, "has an account already")
    mails = await mails_to(server.services, known.email)
    assert not any("/address/" in text_of(mail) for mail in mails)
    same = await post(client, f"{PAGE}/address", email=pat.email)
    assert same.status_code == 422


async def test_a_late_undo_is_gone(server, people, client):
    pat = await people.patient()
    await people.session(client, pat)
    await post(client, f"{PAGE}/address", email=f"late-{pat.email}")
    mail = await told(server.services, pat.email, "/address/keep/")
    undo = mail[mail.index("/address/keep/") :].split()[0]
    clock.travel(timedelta(days=8))
    assert (await client.post(undo)).status_code == 410
    for path in ("/address/confirm/x", "/second-step/stop/x"):
        assert (await client.post(path)).status_code == 410
