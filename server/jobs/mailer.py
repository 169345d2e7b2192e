"""Mail: put into the queue with the thing it tells of, sent by the worker.

To an SMTP server, or into the data directory's `outbox/` where none is set. A mail waits sealed: its links are
secrets, and a copy of the table must not be enough to use them.
"""

from __future__ import annotations

import asyncio
import os
from base64 import b64decode, b64encode
from dataclasses import asdict, dataclass
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import format_datetime
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit
from uuid import UUID

import aiosmtplib
import orjson

from server.core import clock
from server.core.settings import Settings
from server.storage.db import Database

from . import queue
from .queue import Job, Kit

SMTP_SECONDS = 60
_CONTEXT = b"mail"
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True)
class Mail:
    """What somebody gets to read. No patient's name and no health data, in none of its parts."""

    to: str
    subject: str
    text: str
    html: str


class Seal(Protocol):
    """The part of storage.keyring.KeyRing that is needed here; None is the system's own key."""

    def seal(self, wrapped_patient_key: bytes | None, plain: bytes, context: bytes) -> bytes: ...

    def open(self, wrapped_patient_key: bytes | None, sealed: bytes, context: bytes) -> bytes: ...


class Needs(Protocol):
    """What delivering wants of the services."""

    @property
    def settings(self) -> Settings: ...

    @property
    def keyring(self) -> Seal: ...


class Mailer(Protocol):
    """Takes a mail out of the house."""

    async def send(self, mail: Mail, mail_id: UUID) -> None: ...


async def post(db: Database, mail: Mail, *, keyring: Seal) -> None:
    """Have the mail sent, if the open transaction commits."""
    sealed = keyring.seal(None, orjson.dumps(asdict(mail)), _CONTEXT)
    await queue.enqueue(db, "mail", {"sealed": b64encode(sealed).decode()})


async def deliver(services: Needs, job: Job) -> None:
    """Send one mail of the queue. May happen twice (a crash between sending and noting it): same Message-ID."""
    sealed = b64decode(job.payload["sealed"])
    mail = Mail(**orjson.loads(services.keyring.open(None, sealed, _CONTEXT)))
    await mailer(services.settings).send(mail, job.id)


def mailer(settings: Settings) -> Mailer:
    """The way out that the settings name."""
    if settings.smtp_url:
        return SmtpMailer(settings.smtp_url, settings.mail_from)
    return OutboxMailer(settings.data / "outbox", settings.mail_from)


class SmtpMailer:
    """Sends through a server: `smtps://` is TLS from the start, `smtp://` upgrades, with a password always."""

    def __init__(self, url: str, sender: str) -> None:
        parts = urlsplit(url)
        self._sender = sender
        self._host = parts.hostname or "localhost"
        self._tls = parts.scheme == "smtps"
        self._port = parts.port or (465 if self._tls else 587 if parts.username else 25)
        self._username = unquote(parts.username) if parts.username else None
        self._password = unquote(parts.password) if parts.password else None

    async def send(self, mail: Mail, mail_id: UUID) -> None:
        """Raises aiosmtplib's errors; the queue tries again."""
        demand_tls = not self._tls and self._username is not None and self._host not in _LOOPBACK
        await aiosmtplib.send(
            message(mail, mail_id, self._sender, transfer="quoted-printable"),
            hostname=self._host,
            port=self._port,
            username=self._username,
            password=self._password,
            use_tls=self._tls,
            start_tls=True if demand_tls else None if not self._tls else False,
            timeout=SMTP_SECONDS,
        )


class OutboxMailer:
    """Keeps mails as .eml files, for a laptop, a demo, a test; a file is there whole or not at all."""

    def __init__(self, directory: Path, sender: str) -> None:
        self._directory = directory
        self._sender = sender

    async def send(self, mail: Mail, mail_id: UUID) -> None:
        content = message(mail, mail_id, self._sender, transfer="8bit").as_bytes()
        await asyncio.to_thread(self._write, f"{clock.now():%Y%m%dT%H%M%SZ}-{mail_id}.eml", content)

    def _write(self, name: str, content: bytes) -> None:
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = self._directory / f".{name}.part"
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.rename(self._directory / name)


def message(mail: Mail, mail_id: UUID, sender: str, *, transfer: str) -> EmailMessage:
    """The mail as RFC 5322 has it; raises ValueError for a line break in a header."""
    result = EmailMessage(policy=SMTP)
    result["From"] = sender
    result["To"] = mail.to
    result["Subject"] = mail.subject
    result["Date"] = format_datetime(clock.now())
    result["Message-ID"] = f"<{mail_id}@{sender.rpartition('@')[2].strip('> ')}>"
    result["Auto-Submitted"] = "auto-generated"  # RFC 3834: no out-of-office answers, please
    result.set_content(mail.text, cte=transfer)
    result.add_alternative(mail.html, subtype="html", cte=transfer)
    return result


KIT = Kit(handlers={"mail": deliver})
