"""What ran out is dropped, what lives stays."""

from __future__ import annotations

from datetime import timedelta
from uuid import uuid4

from server.access.scopes import Scopes
from server.access.services import Services
from server.core import clock
from server.oauth import clients, housekeeping, issue
from server.storage.sql import Statement

COUNTS = Statement(
    "counts", "SELECT (SELECT count(*) FROM used_jti) AS jtis, (SELECT count(*) FROM app_grant) AS grants"
)


async def test_what_ran_out_is_dropped(services: Services) -> None:
    client = (await clients.add(services.db, name="PACS", type="backend", scope="system/*.rs")).client
    await issue.token_for_client(services, client, Scopes.parse("system/*.rs"), lifetime=timedelta(minutes=5))
    jti = {"client": client.id, "jti": str(uuid4()), "expires_at": clock.now() + timedelta(minutes=5)}
    await services.db.fetch_val(clients.QUERIES["take_jti"], jti)
    await housekeeping.forget_old(services)
    assert dict(await services.db.fetch_one(COUNTS) or {}) == {"jtis": 1, "grants": 1}
    clock.travel(timedelta(days=2))
    await housekeeping.forget_old(services)
    assert dict(await services.db.fetch_one(COUNTS) or {}) == {"jtis": 0, "grants": 0}
