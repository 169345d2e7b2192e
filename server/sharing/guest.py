"""Guest links: chosen studies for somebody without an account, for as long as the patient says.

The address carries an id that is no secret (decision 19). Whoever comes with it says the patient's birth date, then a
code that was mailed to the guest; five wrong answers in all, and the link is dead. What the browser then keeps is a
secret in a cookie. What a guest may touch is decided by access/policy.py, asked of the link's row in each statement.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import orjson

from server.access.action import Right
from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.accounts import people
from server.audit.events import Event, Outcome
from server.audit.who import Who
from server.core import clock
from server.core.errors import Conflict, Gone, NotFound, TooManyRequests, Unprocessable
from server.core.ids import digest, new_id, new_secret
from server.core.texts import N_
from server.storage.sql import load

from . import link_consent, notify
from .acts import require_patience, require_unrestricted
from .guest_link import MOST_TRIES, Link, LinkState, link_of
from .share import chosen_studies

QUERIES = load(__package__, "guest.sql")

OFFERED = (Right.IMAGES, Right.REPORTS, Right.DOWNLOAD)
LONGEST = timedelta(days=90)
MOST_CODES = 20
MOST_DUE = 500
CODE_LIVES = timedelta(minutes=15)
CODE_DIGITS = 8
VISIT_LIVES = timedelta(hours=12)
LOOK_EVERY = timedelta(minutes=1)
DEAD = N_("This link does not work any more. Ask the person who gave it to you for a new one.")


class Wrong(Exception):
    """The birth date or the code is wrong."""

    def __init__(self, tries_left: int) -> None:
        super().__init__()
        self.tries_left = tries_left


async def create(
    services: Services,
    patient_id: str,
    *,
    name: str,
    email: str,
    rights: Iterable[str],
    studies: Sequence[str] | None,
    until: datetime,
    actor: Actor,
    reach: Reach,
) -> Link:
    """Make a link and mail it to the guest. `reach` is of Consent with `c`.

    Raises NotFound (the patient is not in reach), Unprocessable (a name, address, right, study or end that cannot be;
    a profile without a birth date), TooManyRequests.
    """
    values: dict[str, Any] = {"name": _name(name), "email": people.normal_email(email)}
    values |= {"rights": _rights(rights), "until": _until(until), "id": new_id(), "patient": patient_id}
    await require_patience(services, actor)
    async with services.db.transaction():
        found = await services.db.fetch_val(
            QUERIES["lock_patient"], {"patient": patient_id}, reach=reach.patients()
        )
        if found is None:
            raise NotFound()
        await require_unrestricted(services, patient_id)
        if await _birth_date(services, patient_id) is None:
            raise Unprocessable(N_("A link asks for your birth date: write it into your profile first."))
        chosen = await chosen_studies(services, patient_id, studies, reach)
        row = await services.db.fetch_one(
            QUERIES["add_link"], values | {"studies": chosen, "now": clock.now()}
        )
        assert row is not None
        link = link_of(row)
        await link_consent.write(services, link, author=actor.author)
        await _note(services, link, Event.LINK_CREATED, actor.who())
        await notify.link_made(
            services, link.email, link.name, link.id, link.until, await _language(services, link)
        )
    return link


async def list_for_patient(services: Services, patient_id: str, *, reach: Reach) -> list[Link]:
    """Every link of a patient, the newest first. `reach` is of Consent with `r`."""
    rows = await services.db.fetch_all(
        QUERIES["links_of_patient"], {"patient": patient_id}, reach=reach.of_holder().patients()
    )
    return [link_of(row) for row in rows]


async def get(services: Services, link_id: str, *, reach: Reach) -> Link:
    """One link, for its patient. Raises NotFound."""
    row = await services.db.fetch_one(
        QUERIES["link_of_patient"], {"id": link_id}, reach=reach.of_holder().patients()
    )
    if row is None:
        raise NotFound()
    return link_of(row)


async def behind(services: Services, consent_id: str, *, reach: Reach) -> Link | None:
    """The link that a Consent stands for, kept from changing until the transaction ends; None for another Consent."""
    row = await services.db.fetch_one(
        QUERIES["lock_link_of_patient"], {"id": consent_id}, reach=reach.patients()
    )
    return link_of(row) if row is not None else None


async def revoke(services: Services, link_id: str, *, actor: Actor, reach: Reach) -> Link:
    """End a link: the guest's next request is refused. `reach` is of Consent with `u`. Raises NotFound, Conflict."""
    async with services.db.transaction():
        link = await end(services, await get(services, link_id, reach=reach), actor=actor)
        await link_consent.write(services, link, author=actor.author)
    return link


async def end(services: Services, before: Link, *, actor: Actor) -> Link:
    """The same for a link within the caller's reach, whose Consent the caller writes. Raises Conflict."""
    values = {"id": before.id, "now": clock.now(), "why": "revoked"}
    row = await services.db.fetch_one(QUERIES["end_link"], values)
    if row is None:
        raise Conflict(N_("This link is over already."))
    link = link_of(row)
    await _note(services, link, Event.LINK_ENDED, actor.who())
    return link


async def look(services: Services, link_id: str) -> Link | None:
    """The living link of this address, or None: for pages that tell a stranger what this is."""
    row = await services.db.fetch_one(QUERIES["living_link"], {"id": link_id, "now": clock.now()})
    return link_of(row) if row is not None else None


async def say_birth_date(services: Services, link_id: str, said: date, *, address: str) -> str:
    """The right birth date has a code mailed to the guest; the secret for the browser's cookie.

    Raises Gone (no such living link), Wrong (and the link dies with the fifth), TooManyRequests.
    """
    async with services.db.transaction():
        link = await _locked(services, link_id)
        right = await _birth_date(services, link.patient_id) == said
        secret = await _send_code(services, link) if right else ""
        left = link.tries_left if right else await _count_wrong(services, link, address)
    if not right:
        raise Wrong(left)
    return secret


async def say_code(
    services: Services, link_id: str, secret: str, code: str, *, address: str
) -> tuple[str, datetime]:
    """The right code opens the visit: its new secret, and when it ends.

    Raises Gone (no living link), Wrong, Conflict (the code is too old, or this browser was sent none).
    """
    async with services.db.transaction():
        link = await _locked(services, link_id)
        now = clock.now()
        values = {"link": link.id, "secret_hash": digest(secret), "now": now}
        visit = await services.db.fetch_one(QUERIES["waiting_visit"], values)
        if visit is None:
            raise Conflict(N_("This code is too old. Begin again, and a new one is sent."))
        right = hmac.compare_digest(visit["code_hash"], _code_hash(visit["id"], _digits(code)))
        if right:
            fresh, until = new_secret(), min(link.until, now + VISIT_LIVES)
            opened = {"id": visit["id"], "now": now, "new_hash": digest(fresh), "until": until}
            await services.db.fetch_val(QUERIES["open_visit"], opened)
            await _note(services, link, Event.LINK_OPENED, _who(link, address))
        else:
            left = await _count_wrong(services, link, address)
    if not right:
        raise Wrong(left)
    return fresh, until


async def leave(services: Services, link_id: str, secret: str) -> None:
    """The guest is done: the visit of this browser ends."""
    values = {"link": link_id, "secret_hash": digest(secret), "now": clock.now()}
    await services.db.execute(QUERIES["end_visit"], values)


async def note_look(services: Services, link_id: str) -> None:
    """The guest looked at something; written at most once a minute."""
    now = clock.now()
    await services.db.execute(
        QUERIES["note_visit_look"], {"id": link_id, "now": now, "stale": now - LOOK_EVERY}
    )


async def write_down(services: Services) -> None:
    """What time does to links: the end of those that ran out, in the Consent and the log; and a Consent for those
    of before there were any."""
    for due in await services.db.fetch_all(QUERIES["links_due"], {"now": clock.now(), "most": MOST_DUE}):
        async with services.db.transaction():
            row = await services.db.fetch_one(QUERIES["note_link"], {"id": due["id"], "now": clock.now()})
            if row is None:
                continue  # another process did
            link = link_of(row)
            await link_consent.write(services, link, author="server")
            if link.state is LinkState.EXPIRED:
                await _note(services, link, Event.LINK_ENDED, None)


async def forget_old(services: Services) -> None:
    """Drop visits that ended long ago; links stay in the patient's list."""
    await services.db.execute(QUERIES["forget_visits"], {"before": clock.now() - timedelta(days=1)})


async def _locked(services: Services, link_id: str) -> Link:
    row = await services.db.fetch_one(QUERIES["lock_living_link"], {"id": link_id, "now": clock.now()})
    if row is None:
        raise Gone(DEAD)
    return link_of(row)


async def _send_code(services: Services, link: Link) -> str:
    if await services.db.fetch_val(QUERIES["count_code"], {"id": link.id, "most": MOST_CODES}) is None:
        raise TooManyRequests(N_("Too many codes were sent for this link already."), retry_after=3600)
    secret, visit_id, now = new_secret(), uuid4(), clock.now()
    code = "".join(secrets.choice("0123456789") for _ in range(CODE_DIGITS))
    values = {"id": visit_id, "link": link.id, "patient": link.patient_id, "now": now}
    values |= {
        "secret_hash": digest(secret),
        "code_hash": _code_hash(visit_id, code),
        "until": now + CODE_LIVES,
    }
    await services.db.execute(QUERIES["add_visit"], values)
    await notify.link_code(services, link.email, link.name, code, await _language(services, link))
    return secret


async def _count_wrong(services: Services, link: Link, address: str) -> int:
    """One of the five tries is used up; with the last one the link ends, and the patient is told."""
    tries = int(await services.db.fetch_val(QUERIES["count_try"], {"id": link.id}))
    left = max(0, MOST_TRIES - tries)
    await _note(services, link, Event.LINK_REFUSED, _who(link, address), Outcome.REFUSED)
    if left == 0:
        values = {"id": link.id, "now": clock.now(), "why": "tries"}
        if (row := await services.db.fetch_one(QUERIES["end_link"], values)) is not None:
            await link_consent.write(services, link_of(row), author="server")
        await _note(services, link, Event.LINK_ENDED, None)
        await notify.link_spent(services, link.patient_id, link.name)
    return left


async def _note(
    services: Services, link: Link, event: Event, who: Who | None, outcome: Outcome = Outcome.SUCCESS
) -> None:
    facts = {"link": link.id, "with": link.name, "rights": sorted(link.rights)}
    await services.audit.record(event, who=who, patient_id=link.patient_id, detail=facts, outcome=outcome)


async def _birth_date(services: Services, patient_id: str) -> date | None:
    """The whole birth date of the profile as it is now; None where there is none."""
    stored = await services.db.fetch_val(QUERIES["profile"], {"patient": patient_id})
    try:
        return date.fromisoformat(orjson.loads(stored).get("birthDate", "")) if stored else None
    except ValueError:
        return None


async def _language(services: Services, link: Link) -> str:
    """Nobody knows the guest's language: the patient's is the best guess."""
    return await notify.language_of_patient(services, link.patient_id)


def _who(link: Link, address: str) -> Who:
    return Who(name=link.name, role="guest", link_id=link.id, address=address)


def _code_hash(visit_id: UUID, code: str) -> bytes:
    """Slow enough that a copy of the table does not give the code away within its minutes."""
    return hashlib.pbkdf2_hmac("sha256", code.encode(), visit_id.bytes, 50_000)


def _digits(code: str) -> str:
    return "".join(each for each in code if each.isascii() and each.isdigit())[:CODE_DIGITS]


def _name(name: str) -> str:
    flat = " ".join(name.split())
    if not flat or len(flat) > 200:
        raise Unprocessable(N_("A guest needs a name."))
    return flat


def _rights(rights: Iterable[str]) -> list[str]:
    chosen = set(rights)
    if not chosen <= {str(each) for each in OFFERED} or Right.IMAGES not in chosen:
        raise Unprocessable(N_("A link shows images, and reports and downloads where you choose so."))
    return [str(each) for each in OFFERED if each in chosen]


def _until(until: datetime) -> datetime:
    now = clock.now()
    if not now < until <= now + LONGEST + timedelta(days=1):
        raise Unprocessable(f"A link ends within {LONGEST.days} days.")
    return until
