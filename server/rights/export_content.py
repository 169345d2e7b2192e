"""What a copy of everything holds beside the images: reports, the FHIR Bundle, the account, a README for people."""

from __future__ import annotations

import re
from base64 import b64decode
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from mimetypes import guess_extension
from typing import Any
from uuid import UUID

import orjson

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.audit.reading import Happened, events_of
from server.core.errors import NotFound
from server.core.texts import N_
from server.imaging import contents
from server.storage.sql import load

from . import disclosures
from .holds import holds_of

QUERIES = load(__package__, "export.sql")
_PAGE = 100
_EVENTS = 500

Json = dict[str, Any]


@dataclass(frozen=True)
class Subject:
    """Whose copy, and what they may have."""

    patient_id: str
    account_id: UUID
    actor: Actor
    reach: Reach
    at: datetime


async def resources(services: Services, of: Subject) -> AsyncIterator[tuple[str, str, bytes]]:
    """Every current resource of the patient: type, id, JSON."""
    after = 0
    while True:
        values = {"patient": of.patient_id, "after": after, "limit": _PAGE}
        page = await services.db.fetch_all(QUERIES["resources"], values, reach=of.reach.resources())
        for row in page:
            yield row["type"], row["id"], bytes(row["json"])
        if len(page) < _PAGE:
            return
        after = page[-1]["key"]


async def documents(services: Services, of: Subject) -> AsyncIterator[tuple[str, AsyncIterator[bytes]]]:
    """The files of reports and documents: name in the ZIP, and the content in parts."""
    titles: dict[str, str] = {}
    count = 0
    async for type, _, json in resources(services, of):
        if type in ("DiagnosticReport", "DocumentReference"):
            for attachment in _attachments(orjson.loads(json)):
                title = str(attachment.get("title") or type)
                if address := str(attachment.get("url") or ""):
                    titles[address.rpartition("/")[2]] = title
                if data := attachment.get("data"):
                    count += 1
                    kind = str(attachment.get("contentType") or "")
                    yield _name(count, title, kind), _once(b64decode(data))
    async for type, id, json in resources(services, of):
        if type == "Binary":
            resource = orjson.loads(json)
            count += 1
            kind = str(resource.get("contentType") or "")
            try:
                content = await contents.content_of(services, resource, reach=of.reach)
            except NotFound:  # gone with the image it lay in
                continue
            yield _name(count, titles.get(id, "file"), kind), content.chunks()


async def _once(content: bytes) -> AsyncIterator[bytes]:
    yield content


def _attachments(resource: Json) -> Iterator[Json]:
    yield from resource.get("presentedForm") or ()
    for content in resource.get("content") or ():
        if attachment := content.get("attachment"):
            yield attachment


def _name(number: int, title: str, kind: str) -> str:
    plain = re.sub(r"[^A-Za-z0-9]+", "-", title.rpartition(".")[0] or title).strip("-").lower()[:40] or "file"
    return f"REPORTS/{number:04d}-{plain}{guess_extension(kind.partition(';')[0].strip()) or '.bin'}"


async def bundle(services: Services, of: Subject) -> AsyncIterator[bytes]:
    """A Bundle of type collection: every resource as it is stored, then the log as AuditEvents (FHIR R4, Bundle)."""
    base = services.settings.fhir_base
    head = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": of.at.isoformat(timespec="milliseconds"),
    }
    yield orjson.dumps(head)[:-1] + b',"entry":['
    comma = b"\n"
    async for type, id, json in resources(services, of):
        address = orjson.dumps(f"{base}/{type}/{id}")
        whole = await contents.filled(services, json, reach=of.reach)  # larger content lies in REPORTS only
        yield comma + b'{"fullUrl":' + address + b',"resource":' + whole + b"}"
        comma = b",\n"
    async for happened in _log(services, of):
        address = orjson.dumps(f"{base}/AuditEvent/{happened.id}")
        yield (
            comma
            + b'{"fullUrl":'
            + address
            + b',"resource":'
            + orjson.dumps(_audit_event(happened, base))
            + b"}"
        )
        comma = b",\n"
    yield b"\n]}\n"


async def _log(services: Services, of: Subject) -> AsyncIterator[Happened]:
    """The log of the record up to the moment of the copy, the newest first."""
    offset = 0
    while True:
        page = await events_of(
            services.db, services.keyring, reach=of.reach.patients(), limit=_EVENTS, offset=offset
        )
        for each in page:
            if each.at <= of.at:
                yield each
        if len(page) < _EVENTS:
            return
        offset += len(page)


_OUTCOMES = {"success": "0", "refused": "4", "failed": "8"}


def _audit_event(happened: Happened, base: str) -> Json:
    """The event with all that its patient may read of it (FHIR R4, AuditEvent)."""
    who, type = happened.who, "http://terminology.hl7.org/CodeSystem/audit-event-type"
    agent: Json = {"who": {"display": who.name or who.client_name or "Lightbox"}, "requestor": True}
    if who.client_name:
        agent["altId"] = who.client_name
    if who.address:
        agent["network"] = {"address": who.address, "type": "2"}
    detail = [
        {"type": str(name), "valueString": str(value)}
        for name, value in happened.detail.items()
        if value not in (None, "", [])
    ]
    entity: Json = {"what": {"reference": f"Patient/{happened.patient_id}"}}
    return {
        "resourceType": "AuditEvent",
        "id": str(happened.id),
        "type": {"system": type, "code": "rest"},
        "subtype": [{"system": "urn:lightbox:audit-event", "code": happened.event}],
        "recorded": happened.at.isoformat(timespec="milliseconds"),
        "outcome": _OUTCOMES.get(happened.outcome, "8"),
        "agent": [agent],
        "source": {"site": base, "observer": {"display": "Lightbox"}},
        "entity": [entity | ({"detail": detail} if detail else {})],
    }


async def account(services: Services, of: Subject) -> AsyncIterator[bytes]:
    """What there is about the account and is no FHIR resource."""
    mine = {"account": of.account_id}

    async def rows(name: str) -> list[Json]:
        return [dict(row) for row in await services.db.fetch_all(QUERIES[name], mine)]

    [person] = await rows("account")
    shares = await services.db.fetch_all(
        QUERIES["shares"], {"patient": of.patient_id}, reach=of.reach.patients()
    )
    told = await disclosures.of_patient(services, reach=of.reach)
    content = {
        "account": person,
        "region": services.settings.region,
        "permissions": await rows("permissions"),
        "research": await rows("research"),
        "sign_ins": await rows("sessions"),
        "apps": await rows("apps"),
        "shares": [dict(row) for row in shares],
        "holds": [vars(each) for each in await holds_of(services, of.patient_id)],
        "disclosures": [vars(each) for each in told],
    }
    yield orjson.dumps(content, option=orjson.OPT_INDENT_2, default=str) + b"\n"


README = N_(
    """This is a copy of everything that Lightbox held of you on %(date)s.

DICOM and DICOMDIR
  Your images, exactly as they were stored. Any DICOM viewer opens them: let it open the
  file DICOMDIR, or import the folder DICOM. A hospital can read this like a CD.

REPORTS
  Reports and documents, as they were uploaded.

FHIR/bundle.json
  All of your record in the format FHIR R4, for other systems: profile, studies, reports,
  consents, and the log of who looked at what.

ACCOUNT/account.json
  Your account: permissions you gave, sign-ins, apps, shares, disclosures to authorities.

manifest.sha256
  A fingerprint of every file. "sha256sum --check manifest.sha256" says whether all of
  them are whole.

The copy holds health data and is not encrypted: keep it where nobody else finds it.
It came from %(server)s.
"""
)


def readme(services: Services, of: Subject, gettext: Callable[[str], str]) -> bytes:
    """For people, in their language."""
    facts = {"date": of.at.date().isoformat(), "server": services.settings.base_url}
    return (gettext(README) % facts).encode()
