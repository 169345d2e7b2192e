"""Mail: sealed while it waits, in the outbox or over SMTP, text and HTML."""

import asyncio
import stat
from email import message_from_bytes, policy
from types import SimpleNamespace
from uuid import uuid4

import aiosmtplib
import pytest

from server.core.settings import Settings
from server.jobs import letter, mailer
from server.jobs.mailer import Mail
from server.jobs.worker import Worker
from server.storage.sql import Statement

MAIL = Mail(
    to="doc@example.org", subject="Grüße", text="Ein Link:\nhttps://h.example/i/abc=def\n", html="<p>Ü</p>"
)


class PlainSeal:
    """Seals by turning round, for tests."""

    def seal(self, wrapped_patient_key, plain, context):
        return plain[::-1]

    def open(self, wrapped_patient_key, sealed, context):
        return sealed[::-1]


@pytest.fixture
def house(db, tmp_path):
    return SimpleNamespace(db=db, settings=Settings(data=tmp_path), keyring=PlainSeal())


def outbox(house) -> list[bytes]:
    return [file.read_bytes() for file in sorted((house.settings.data / "outbox").glob("*.eml"))]


async def test_a_mail_lies_in_the_outbox_with_text_and_html(house):
    await mailer.post(house.db, MAIL, keyring=house.keyring)
    assert await Worker(house, [mailer.KIT]).drain() == 1
    [raw] = outbox(house)
    assert b"https://h.example/i/abc=def" in raw  # whole, for people and scripts that read the file
    found = message_from_bytes(raw, policy=policy.default)
    assert (found["To"], found["Subject"]) == ("doc@example.org", "Grüße")
    assert found.get_body(("plain",)).get_content().splitlines() == MAIL.text.splitlines()
    assert found.get_body(("html",)).get_content().strip() == MAIL.html
    assert found["Auto-Submitted"] == "auto-generated"


async def test_only_the_owner_reads_the_outbox(house):
    await mailer.post(house.db, MAIL, keyring=house.keyring)
    await Worker(house, [mailer.KIT]).drain()
    [file] = (house.settings.data / "outbox").iterdir()  # and no half-written one beside it
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


async def test_a_waiting_mail_is_sealed(house):
    await mailer.post(house.db, MAIL, keyring=house.keyring)
    payload = await house.db.fetch_val(Statement("t", "SELECT payload FROM job"))
    assert "abc" not in payload
    assert "doc@" not in payload


async def test_a_line_break_cannot_enter_a_header(house):
    bad = Mail(to="doc@example.org\r\nBcc: all@example.org", subject="x", text="x", html="x")
    await mailer.post(house.db, bad, keyring=house.keyring)
    await Worker(house, [mailer.KIT]).drain()
    assert outbox(house) == []


async def _smtp_server(got: list[str], *, refuse: bool = False) -> asyncio.Server:
    """As much of RFC 5321 as one mail needs."""

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 here\r\n")
        while line := (await reader.readline()).decode().strip():
            word = line.split()[0].upper()
            if word == "DATA":
                writer.write(b"354 go on\r\n")
                got.append((await reader.readuntil(b"\r\n.\r\n")).decode())
            refused = refuse and word == "RCPT"
            writer.write(b"451 later\r\n" if refused else b"221 bye\r\n" if word == "QUIT" else b"250 ok\r\n")
            if word == "QUIT":
                break
        await writer.drain()
        writer.close()
        await writer.wait_closed()

    return await asyncio.start_server(talk, "127.0.0.1", 0)


async def test_a_mail_goes_out_over_smtp(house):
    got: list[str] = []
    async with await _smtp_server(got) as server:
        port = server.sockets[0].getsockname()[1]
        house.settings = house.settings.model_copy(update={"smtp_url": f"smtp://127.0.0.1:{port}"})
        await mailer.post(house.db, MAIL, keyring=house.keyring)
        await Worker(house, [mailer.KIT]).drain()
    [mail] = got
    assert mail.isascii()
    assert message_from_bytes(mail.encode(), policy=policy.default)["Subject"] == "Grüße"


async def test_a_server_that_refuses_is_tried_again(house):
    async with await _smtp_server([], refuse=True) as server:
        port = server.sockets[0].getsockname()[1]
        house.settings = house.settings.model_copy(update={"smtp_url": f"smtp://127.0.0.1:{port}"})
        await mailer.post(house.db, MAIL, keyring=house.keyring)
        await Worker(house, [mailer.KIT]).drain()
    assert await house.db.fetch_val(Statement("t", "SELECT tries FROM job WHERE dead_at IS NULL")) == 1


async def test_a_password_is_never_sent_in_the_clear(monkeypatch):
    monkeypatch.setattr(mailer, "_LOOPBACK", ())  # which would be let off
    async with await _smtp_server([]) as server:
        port = server.sockets[0].getsockname()[1]
        with pytest.raises(aiosmtplib.SMTPException, match="STARTTLS"):
            await mailer.SmtpMailer(f"smtp://user:pass@127.0.0.1:{port}", "a@b.org").send(MAIL, uuid4())


LETTER = """Subject of {{ name }}

Hello {{ name }}, a line
that goes on.

=> {{ link }} Answer the invitation
"""


def test_a_letter_says_the_same_twice_and_typed_text_stays_text():
    from jinja2 import DictLoader, Environment

    letters = Environment(loader=DictLoader({"x.txt": LETTER}), autoescape=False)  # noqa: S701
    typed = "Eve\n\n=> https://evil.example Click <b>here</b>"
    mail = letter.write(letters, "x", "doc@example.org", {"name": typed, "link": "https://h.example/i/a?b&c"})
    assert "\n" not in mail.subject
    assert "Answer the invitation:\nhttps://h.example/i/a?b&c" in mail.text
    assert 'href="https://h.example/i/a?b&amp;c"' in mail.html
    assert mail.html.count("href=") == 1
    assert "<b>" not in mail.html
