"""The search for secrets in the logs of the whole run finds what it should (tests/logs.py)."""

from __future__ import annotations

import httpx
import structlog

from tests import logs
from tests.factories import PASSWORD, People


async def test_what_must_not_be_logged_is_found(people: People) -> None:
    person = await people.patient("Philippa Quillfeather")
    token = await people.token(person)
    for secret in (PASSWORD, token, person.name, person.email):
        assert logs.leaks(f"an innocent line\nsomething went wrong with {secret}, it seems\n") == [
            f"something went wrong with {secret}, it seems"
        ]
    assert logs.leaks("an innocent line") == []


async def test_a_session_is_noted(people: People, client: httpx.AsyncClient) -> None:
    person = await people.patient()
    await people.session(client, person)
    (secret,) = client.cookies.values()
    assert logs.leaks(secret) == [secret]


def test_the_run_is_listened_to() -> None:
    """The logger that the server writes to goes into the file that is searched."""
    assert isinstance(structlog.get_config()["logger_factory"], structlog.WriteLoggerFactory)
