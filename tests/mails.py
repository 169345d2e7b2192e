"""What a server under test has mailed: each file of its outbox is read and parsed once.

The session's own server has thousands by the end, and steps ask again and again until theirs is there.
"""

from __future__ import annotations

from email import message_from_bytes
from email.message import EmailMessage
from email.policy import default
from pathlib import Path

_READ: dict[Path, dict[str, tuple[int, EmailMessage]]] = {}  # of each outbox: file, when it came, the mail


def delivered(outbox: Path) -> list[EmailMessage]:
    """The mails in it, the oldest first."""
    if not outbox.exists():
        return []
    known = _READ.setdefault(outbox, {})
    names = [file.name for file in outbox.glob("*.eml")]
    for name in set(names) - known.keys():
        file = outbox / name
        known[name] = (file.stat().st_mtime_ns, message_from_bytes(file.read_bytes(), policy=default))
    return [known[name][1] for name in sorted(names, key=lambda name: known[name][0])]


def to(outbox: Path, address: str) -> list[EmailMessage]:
    """Those to this address."""
    return [mail for mail in delivered(outbox) if address_of(mail) == address.casefold()]


def address_of(mail: EmailMessage) -> str:
    """Whom it is sent to; kept with it, as a header is parsed anew each time it is asked for."""
    found: str | None = getattr(mail, "sent_to", None)
    if found is None:
        found = mail.sent_to = mail["To"].casefold()  # type: ignore[attr-defined]
    return found


def text_of(mail: EmailMessage) -> str:
    """Its plain text, with the line ends of Python."""
    body = mail.get_body(("plain",))
    assert body is not None
    return "\n".join(body.get_content().splitlines())
