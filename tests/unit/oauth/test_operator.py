"""What an operator does with clients."""

import pytest

from server.access.actor import Credential
from server.access.services import Services
from server.core.errors import NotFound
from server.oauth import clients
from server.oauth.operator import issue_for_operator, list_clients, set_enabled


async def test_a_client_is_shut_out_and_let_in_again(services: Services) -> None:
    added = await clients.add(services.db, name="PACS", type="backend", scope="system/*.rs")
    id = added.client.id
    token = await issue_for_operator(services, scope="system/*.rs", client=id)
    (listed,) = [each for each in await list_clients(services) if each["client_id"] == id]
    assert (listed["name"], listed["grants"], listed["disabled"]) == ("PACS", 1, None)
    credential = (await services.tokens.read(token)).bearer.grant_id
    assert await services.gate.lives(Credential(grant_id=credential))
    await set_enabled(services, id, enabled=False)
    assert not await services.gate.lives(Credential(grant_id=credential))
    assert await clients.find(services.db, id) is None
    (listed,) = [each for each in await list_clients(services) if each["client_id"] == id]
    assert listed["disabled"]
    with pytest.raises(NotFound):
        await set_enabled(services, id, enabled=False)
    with pytest.raises(NotFound):
        await issue_for_operator(services, scope="system/*.rs", client=id)
    await set_enabled(services, id, enabled=True)
    assert await services.gate.lives(Credential(grant_id=credential))
    with pytest.raises(NotFound):
        await set_enabled(services, "made up", enabled=True)
