"""The second factor of doctors and staff: nothing opens before it, and nothing gets around it (decision 13)."""

from __future__ import annotations

import asyncio
import html
from datetime import timedelta
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from server.accounts import people as accounts
from server.accounts import sessions
from server.core import clock
from tests.authenticator import PRESENT, Authenticator
from tests.conformance.smart.driver import register
from tests.conftest import serving
from tests.databases import create_database, drop_database
from tests.factories import People
from tests.second_steps import (
    code_of,
    field_of,
    later,
    make_passkey,
    secret_of,
    send,
    set_up_app,
    told,
    type_code,
    type_password,
)
from tests.sharing_steps import mails_to, text_of


@pytest.fixture(scope="module")
async def strict(cluster, tmp_path_factory):
    """A server that demands the second factor, as every real one does."""
    url = create_database(cluster, "t_second_factor")
    async with serving(url, tmp_path_factory.mktemp("strict"), second_factor="required") as running:
        yield running
    drop_database(cluster, "t_second_factor")


@pytest.fixture
async def crowd(strict):
    return People(strict.services)


@pytest.fixture
async def browser(strict):
    async with httpx.AsyncClient(base_url=strict.url, timeout=30) as made:
        yield made


@pytest.fixture
async def other(strict):
    async with httpx.AsyncClient(base_url=strict.url, timeout=30) as made:
        yield made


def origin_of(server) -> str:
    return server.url.replace("127.0.0.1", "localhost")


CLOSED = ("/my-patients", "/account", "/account/security", "/studies/1.2.3")
CLOSED_APIS = ("/dicomweb/studies", "/fhir/Patient", "/fhir/ImagingStudy")


async def reaches(client: httpx.AsyncClient) -> list[str]:
    """What opens of all that must not."""
    opened = []
    for path in CLOSED:
        answer = await client.get(path)
        if not (answer.status_code == 303 and answer.headers["location"].startswith("/sign-in?next=")):
            opened.append(path)
    opened += [path for path in CLOSED_APIS if (await client.get(path)).status_code != 401]
    authorize = await client.get("/oauth/manage")
    if authorize.status_code == 200:
        opened.append("/oauth/manage")
    return opened


async def test_nothing_opens_with_the_password_alone(strict, crowd, browser):
    """Row 51: doctors and operators set up the second step before anything; portal, APIs and OAuth alike."""
    for person in (await crowd.doctor(), await crowd.operator(), await crowd.provider()):
        browser.cookies.clear()
        answer = await type_password(browser, person)
        assert answer.headers["location"] == "/sign-in/set-up"
        assert strict.services.gate.sign_in.cookie_name not in browser.cookies
        assert await reaches(browser) == []
        page = await browser.get("/sign-in/set-up")
        assert "no-store" in page.headers["cache-control"]
        # The cookie of the step is no session's cookie either.
        browser.cookies.set(
            strict.services.gate.sign_in.cookie_name,
            browser.cookies[strict.services.gate.sign_in.step_cookie],
        )
        assert await reaches(browser) == []


async def test_a_session_without_a_factor_is_none(strict, crowd, browser):
    """Also one begun before the factor was demanded: the one statement behind every surface refuses it."""
    doctor = await crowd.doctor()
    _, secret = await sessions.start(strict.services.db, doctor.account_id)
    browser.cookies.set(strict.services.gate.sign_in.cookie_name, secret)
    assert await reaches(browser) == []


async def test_patients_need_none(crowd, browser):
    pat = await crowd.patient()
    answer = await type_password(browser, pat)
    assert answer.headers["location"] == "/"
    assert (await browser.get("/imaging")).status_code == 200


async def test_set_up_leads_to_codes_and_on(strict, crowd, browser, other):
    """The app is set up, ten codes are shown once, the way goes on; the next sign-in asks for the code."""
    doctor = await crowd.doctor()
    secret = await set_up_app(browser, doctor, "/my-patients")
    page = await browser.get("/account/security/codes?next=/my-patients")
    form = {name: field_of(page, name) for name in ("csrf", "next")}
    made = await browser.post("/account/security/codes", data=form)
    codes = [part.split("<")[0] for part in made.text.split("<li><code>")[1:]]
    assert len(set(codes)) == 10
    assert 'href="/my-patients"' in made.text
    assert codes[0] not in (await browser.get("/account/security/codes")).text
    assert (await browser.get("/my-patients")).status_code == 200
    assert (await browser.get("/fhir/Practitioner/" + doctor.fhir_id)).status_code == 200

    answer = await type_password(other, doctor, "/my-patients")
    assert answer.headers["location"] == "/sign-in/second?next=/my-patients"
    assert await reaches(other) == []
    later()
    before = dict(other.cookies)
    done = await type_code(other, code_of(secret))
    assert done.status_code == 303
    assert strict.services.gate.sign_in.cookie_name not in before
    assert (await other.get("/my-patients")).status_code == 200
    # the step is spent: its cookie begins nothing again
    other.cookies.clear()
    other.cookies.update(before)
    assert (await other.get("/sign-in/second")).status_code == 303

    other.cookies.clear()
    await type_password(other, doctor)
    assert (await type_code(other, codes[3].lower().replace("-", " "))).status_code == 303
    other.cookies.clear()
    await type_password(other, doctor)
    assert (await type_code(other, codes[3])).status_code == 422  # each once
    await told(strict.services, doctor.email, "and one of your recovery codes")
    mails = [text_of(mail) for mail in await mails_to(strict.services, doctor.email)]
    assert not any(code in each for each in mails for code in codes)


async def test_a_code_of_the_app_is_good_once(strict, crowd, browser, other):
    """RFC 6238, 5.2: the same code a second time is refused, also at the same moment, and an earlier one too."""
    doctor = await crowd.doctor()
    secret = await set_up_app(browser, doctor)
    used = code_of(secret)
    await type_password(other, doctor)
    assert (await type_code(other, used)).status_code == 422  # it confirmed the app
    later(61)
    earlier, now = code_of(secret), None
    later(30)
    now = code_of(secret)
    clients = [httpx.AsyncClient(base_url=strict.url, timeout=30) for _ in range(3)]
    for each in clients:
        await type_password(each, doctor)
    answers = await asyncio.gather(*(type_code(each, now) for each in clients))
    assert sorted(each.status_code for each in answers) == [303, 422, 422]
    await type_password(other, doctor)
    assert (await type_code(other, earlier)).status_code == 422
    for each in clients:
        await each.aclose()


async def test_guessing_codes_is_slow_and_told(strict, crowd, browser, other):
    """Who knows the password gets a handful of tries; the owner hears of it, and is not kept out for long."""
    doctor = await crowd.doctor()
    secret = await set_up_app(browser, doctor)
    await type_password(other, doctor)
    answers = [await type_code(other, f"{number:06d}") for number in range(8)]
    assert "Too many tries" in answers[-1].text
    right = await type_code(other, code_of(secret))
    assert right.status_code == 422  # the delay stands for right ones too
    await told(strict.services, doctor.email, "several wrong codes")
    mails = [text_of(mail) for mail in await mails_to(strict.services, doctor.email)]
    assert sum("several wrong codes" in each for each in mails) == 1
    later(16 * 60)
    await type_password(other, doctor)
    assert (await type_code(other, code_of(secret))).status_code == 303


async def test_the_offer_belongs_to_its_browser(strict, crowd, browser, other):
    """A secret that somebody else was shown cannot be confirmed elsewhere; nothing of it is kept."""
    doctor = await crowd.doctor()
    await type_password(browser, doctor)
    await type_password(other, doctor)
    theirs = await browser.get("/sign-in/set-up")
    page = await other.get("/sign-in/set-up")
    assert secret_of(theirs) != secret_of(page)
    form = {"csrf": field_of(page, "csrf"), "offer": field_of(theirs, "offer"), "next": ""}
    refused = await other.post("/sign-in/set-up", data=form | {"code": code_of(secret_of(theirs))})
    assert refused.status_code == 422
    form |= {"csrf": field_of(theirs, "csrf"), "offer": field_of(page, "offer")}
    stolen = await other.post("/sign-in/set-up", data=form | {"code": code_of(secret_of(page))})
    assert stolen.status_code == 403  # another browser's token


async def test_step_forms_refuse_other_sites(crowd, browser):
    doctor = await crowd.doctor()
    await type_password(browser, doctor)
    for path in ("/sign-in/set-up", "/sign-in/second", "/sign-in/second/lost", "/confirm"):
        answer = await browser.post(path, data={"code": "1"}, headers={"sec-fetch-site": "cross-site"})
        assert answer.status_code in (303, 403), path
        assert answer.headers.get("location", "/sign-in").startswith("/sign-in"), path
    assert (await browser.post("/sign-in/set-up", data={"code": "1", "csrf": "guess"})).status_code == 403


async def test_a_planted_session_is_not_taken_over(strict, crowd, browser, other):
    """Session fixation: what the browser brought ends, at the first step already; the new value is new."""
    cookie = strict.services.gate.sign_in.cookie_name
    pat, doctor = await crowd.patient(), await crowd.doctor()
    await type_password(other, pat)
    planted = other.cookies[cookie]
    browser.cookies.set(cookie, planted, domain="127.0.0.1")
    token = field_of(await browser.get("/account"), "csrf")
    form = {"email": doctor.email, "password": doctor.password, "csrf": token}
    assert (await browser.post("/sign-in", data=form)).headers["location"] == "/sign-in/set-up"
    assert (await other.get("/imaging")).status_code == 303
    await set_up_app(browser, doctor)
    assert [each.value for each in browser.cookies.jar if each.name == cookie][-1] != planted
    assert (await other.get("/imaging")).status_code == 303
    step = strict.services.gate.sign_in.step_cookie
    assert step not in {each.name for each in browser.cookies.jar if each.value}


async def test_passkeys_sign_in_alone_and_stand_beside_a_password(strict, crowd, browser, other):
    """WebAuthn 7.2: a passkey is two factors; its challenge is answered once, by its own account, at this place."""
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    key = await make_passkey(browser, origin_of(strict))
    options = (await send(other, "/sign-in/passkey")).json()
    assert options["userVerification"] == "required"
    assert not options.get("allowCredentials")
    answer = key.get(options)
    done = await send(other, "/sign-in/passkey/answer", body={"credential": answer, "next": "/my-patients"})
    assert (done.status_code, done.json()) == (200, {"go": "/my-patients"})
    assert (await other.get("/my-patients")).status_code == 200
    other.cookies.clear()
    replay = await send(other, "/sign-in/passkey/answer", body={"credential": answer})
    assert replay.status_code == 401
    assert await reaches(other) == []

    await type_password(other, doctor)
    page = await other.get("/sign-in/second")
    token = field_of(page, "csrf")
    assert (await send(other, "/sign-in/second/passkey", "guess")).status_code == 403
    second = (await send(other, "/sign-in/second/passkey", token)).json()
    assert len(second["allowCredentials"]) == 1
    # a challenge of the other ceremony does not count here
    wrong = key.get((await send(other, "/sign-in/passkey")).json())
    refused = await send(other, "/sign-in/second/passkey/answer", token, {"credential": wrong})
    assert refused.status_code == 401
    right = await send(other, "/sign-in/second/passkey/answer", token, {"credential": key.get(second)})
    assert right.status_code == 200, right.text
    assert (await other.get("/my-patients")).status_code == 200


async def test_passkeys_are_refused_when_anything_is_wrong(strict, crowd, browser, other):
    """Another origin, another place, no user verification, another key, a counter that ran back, another user."""
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    key = await make_passkey(browser, origin_of(strict))
    stranger = Authenticator(origin_of(strict))
    stranger.id, stranger.user = key.id, key.user
    elsewhere = Authenticator(origin_of(strict), domain="evil.example")
    elsewhere.id, elsewhere.user, elsewhere.key = key.id, key.user, key.key

    async def refused(make) -> None:
        options = (await send(other, "/sign-in/passkey")).json()
        answer = await send(other, "/sign-in/passkey/answer", body={"credential": make(options)})
        assert answer.status_code == 401, answer.text
        assert await reaches(other) == []

    await refused(lambda options: key.get(options, origin="https://evil.example"))
    await refused(lambda options: key.get(options, flags=PRESENT))
    await refused(stranger.get)
    await refused(elsewhere.get)
    await refused(lambda options: key.get(options | {"challenge": "AAAA"}))
    await refused(lambda options: {})
    await refused(lambda options: {"rawId": 7, "response": {"clientDataJSON": "%%"}})
    key.user = b"somebody else"
    await refused(key.get)
    key.user = doctor.account_id.bytes
    options = (await send(other, "/sign-in/passkey")).json()
    done = await send(other, "/sign-in/passkey/answer", body={"credential": key.get(options)})
    assert done.status_code == 200
    other.cookies.clear()
    key.count = 0
    await refused(key.get)
    late = (await send(other, "/sign-in/passkey")).json()
    clock.travel(timedelta(minutes=6))
    key.count = 50
    answer = await send(other, "/sign-in/passkey/answer", body={"credential": key.get(late)})
    assert answer.status_code == 401


async def test_nonsense_to_the_passkey_pages_is_no_500(strict, crowd, browser):
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    token = field_of(await browser.get("/account/security"), "csrf")
    options = (await send(browser, "/account/security/passkeys/options", token)).json()
    good = Authenticator(origin_of(strict)).create(options)
    broken = [
        {},
        {"credential": []},
        {"credential": {"response": None}},
        {"credential": good | {"response": good["response"] | {"attestationObject": "AAAA"}}},
        {"credential": good | {"response": good["response"] | {"attestationObject": "o2NmbXQ"}}},
        {"credential": good | {"id": "x"}},
        {"credential": good | {"type": 5}},
    ]
    for body in broken:
        answer = await send(browser, "/account/security/passkeys", token, body)
        assert answer.status_code in (400, 422), (body, answer.text)
    headers = {"accept": "application/json", "content-type": "application/json", "x-csrf-token": token}
    for content in (b"[]", b"{", b"\xff", b'"' + b"x" * 70_000 + b'"'):
        answer = await browser.post("/account/security/passkeys", content=content, headers=headers)
        assert answer.status_code in (400, 413)


async def test_the_last_factor_of_staff_stays(crowd, browser):
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    page = await browser.get("/account/security")
    refused = await browser.post("/account/security/app/remove", data={"csrf": field_of(page, "csrf")})
    assert refused.status_code == 422
    assert "need a second step" in refused.text


async def test_a_changed_password_keeps_the_session_and_its_factor(crowd, browser, other):
    """The browser that changed it goes on; half-done sign-ins elsewhere are over."""
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    await type_password(other, doctor)
    token = field_of(await browser.get("/account/security"), "csrf")
    form = {"csrf": token, "current": doctor.password, "password": "kestrel lintel orbit"}
    assert (await browser.post("/account/security", data=form)).status_code == 303
    assert (await browser.get("/my-patients")).status_code == 200
    assert (await other.get("/sign-in/second")).status_code == 303


async def test_a_reset_by_mail_does_not_go_around_it(strict, crowd, browser, other):
    """The mailbox alone is not enough: a new password still meets the second step."""
    doctor = await crowd.doctor()
    await set_up_app(browser, doctor)
    await other.post("/reset", data={"email": doctor.email})
    mail = await told(strict.services, doctor.email, "/reset/")
    path = mail[mail.index("/reset/") :].split()[0]
    new = "thimble quarry heron lamp"
    assert (await other.post(path, data={"password": new})).status_code == 303
    answer = await other.post("/sign-in", data={"email": doctor.email, "password": new})
    assert answer.headers["location"] == "/sign-in/second"
    assert await reaches(other) == []


async def test_a_lost_factor_comes_off_slowly(strict, crowd, browser, other):
    """Password, mailbox and three days together; the owner can stop it by a link, or by signing in."""
    from server.accounts import factor_loss

    doctor = await crowd.doctor()
    secret = await set_up_app(browser, doctor)

    async def ask() -> None:
        await type_password(other, doctor)
        token = field_of(await other.get("/sign-in/second"), "csrf")
        assert (await other.post("/sign-in/second/lost", data={"csrf": token})).status_code == 200

    async def path_in(marker: str) -> str:
        mail = await told(strict.services, doctor.email, marker)
        return mail[mail.index(marker) :].split()[0]

    async def nothing_yet() -> None:
        await factor_loss.mail_ripe(strict.services)
        await asyncio.sleep(0.1)
        mails = await mails_to(strict.services, doctor.email)
        assert not any("/take-off/" in text_of(each) for each in mails)

    await ask()
    stop = await path_in("/second-step/stop/")
    assert (await other.get(stop)).status_code == 200
    assert (await other.post(stop)).status_code == 303
    later(4 * 24 * 3600)
    await nothing_yet()

    await ask()
    await nothing_yet()  # not before three days
    later(3 * 24 * 3600 + 60)
    await factor_loss.mail_ripe(strict.services)
    off = await path_in("/second-step/take-off/")
    assert (await other.post(off, data={"password": "not the password at all"})).status_code == 422
    assert (await other.post(off, data={"password": doctor.password})).status_code == 303
    assert (await other.post(off, data={"password": doctor.password})).status_code == 410
    answer = await type_password(other, doctor)
    assert answer.headers["location"] == "/sign-in/set-up"  # staff set up a new one
    assert await reaches(other) == []
    assert secret


async def test_signing_in_stops_the_loss(strict, crowd, browser, other):
    from server.accounts import factor_loss

    doctor = await crowd.doctor()
    secret = await set_up_app(browser, doctor)
    await type_password(other, doctor)
    token = field_of(await other.get("/sign-in/second"), "csrf")
    await other.post("/sign-in/second/lost", data={"csrf": token})
    later()
    assert (await type_code(other, code_of(secret))).status_code == 303
    later(4 * 24 * 3600)
    await factor_loss.mail_ripe(strict.services)
    assert not any("/take-off/" in text_of(mail) for mail in await mails_to(strict.services, doctor.email))


async def test_a_disabled_account_gets_no_step(strict, crowd, browser):
    doctor = await crowd.doctor()
    await type_password(browser, doctor)
    await accounts.disable(strict.services.db, doctor.account_id, why="test")
    assert (await browser.get("/sign-in/set-up")).status_code == 303


async def test_an_app_waits_behind_it_too(strict, crowd, browser):
    """SMART: half signed in, /oauth/authorize and its decision lead to the sign-in; done, to the consent page."""
    app = await register(strict)
    asked = f"/oauth/authorize?{urlencode(app.parameters(scope='openid fhirUser user/Patient.rs'))}"
    doctor = await crowd.doctor()
    first = await browser.get(asked)
    assert first.headers["location"].startswith("/sign-in?next=")
    page = await browser.get(first.headers["location"])
    onward = html.unescape(field_of(page, "next"))
    assert onward == asked
    answer = await type_password(browser, doctor, onward)
    set_up = answer.headers["location"]
    assert set_up.startswith("/sign-in/set-up?next=/oauth/authorize")
    assert (await browser.get(asked)).headers["location"].startswith("/sign-in?next=")
    token = field_of(await browser.get(set_up), "csrf")
    decided = {"request": urlsplit(asked).query, "csrf": token, "decision": "allow", "scope": "openid"}
    assert (await browser.post("/oauth/authorize/decision", data=decided)).status_code in (303, 403)
    page = await browser.get(set_up)
    form = {name: html.unescape(field_of(page, name)) for name in ("csrf", "next", "offer")}
    done = await browser.post("/sign-in/set-up", data=form | {"code": code_of(secret_of(page))})
    codes = await browser.get(done.headers["location"])
    assert html.escape(asked) in codes.text
    consent = await browser.get(asked)
    assert consent.status_code == 200
    assert "Tulip Viewer" in consent.text
