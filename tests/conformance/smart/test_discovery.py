"""SMART App Launch 2.2, "Conformance"; RFC 8414; OpenID Connect Discovery 1.0, 3."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from joserfc.jwk import KeySet

from server.oauth.discovery import CAPABILITIES
from server.oauth.routes import routes, well_known_routes
from tests.conftest import RunningServer

SMART = "/fhir/.well-known/smart-configuration"
OPENID = ("/.well-known/openid-configuration", "/.well-known/oauth-authorization-server")
OPEN = ("/oauth/jwks", "/oauth/smart-style.json", "/fhir/metadata", "/app-state/metadata")


@pytest.mark.parametrize("accept", ["application/json", "text/html", "application/fhir+xml", "*/*"])
async def test_smart_configuration_is_json_whatever_accept_says(
    client: httpx.AsyncClient, accept: str
) -> None:
    answer = await client.get(SMART, headers={"Accept": accept})
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/json")


async def test_smart_configuration_has_its_fields(client: httpx.AsyncClient, server: RunningServer) -> None:
    body = (await client.get(SMART)).json()
    for name in ("token_endpoint", "authorization_endpoint", "jwks_uri", "management_endpoint",
                 "introspection_endpoint", "revocation_endpoint", "registration_endpoint"):  # fmt: skip
        assert body[name].startswith(server.url + "/"), name
    assert body["issuer"] == server.url
    for name in ("grant_types_supported", "capabilities", "scopes_supported", "response_types_supported",
                 "code_challenge_methods_supported", "token_endpoint_auth_methods_supported"):  # fmt: skip
        assert isinstance(body[name], list)
        assert all(isinstance(each, str) for each in body[name])
    assert body["code_challenge_methods_supported"] == ["S256"]
    assert set(body["token_endpoint_auth_signing_alg_values_supported"]) == {"RS384", "ES384"}
    assert {"authorization_code", "client_credentials"} <= set(body["grant_types_supported"])


async def test_open_documents_are_for_any_origin_and_others_for_none(client: httpx.AsyncClient) -> None:
    """smart.md, CORS: preflights and answers of each; what a person decides on, and what is not known, for nobody."""
    anywhere = {"Origin": "https://anywhere.example"}
    brands = (await client.get(SMART)).json()["user_access_brand_bundle"]
    asked = {"Access-Control-Request-Method": "GET", "Access-Control-Request-Headers": "authorization"}
    for path in (SMART, *OPENID, brands, *OPEN):
        for answer in (
            await client.get(path, headers=anywhere),
            await client.options(path, headers=anywhere | asked),
        ):
            assert answer.is_success, path
            assert answer.headers["access-control-allow-origin"] == anywhere["Origin"], path
    for path in (
        "/oauth/token",
        "/oauth/authorize",
        "/oauth/manage",
        "/fhir/Patient",
        "/dicomweb/studies",
        "/",
    ):
        answer = await client.options(path, headers=anywhere | asked)
        assert "access-control-allow-origin" not in answer.headers, path


async def test_both_documents_say_the_same(client: httpx.AsyncClient) -> None:
    """RFC 8414, 3; OpenID Connect Discovery 1.0, 3; SMART App Launch 2.2: facts that several name are one."""
    smart, openid = [(await client.get(path)).json() for path in (SMART, OPENID[0])]
    both = smart.keys() & openid.keys()
    assert len(both) > 15
    assert {name: smart[name] for name in both} == {name: openid[name] for name in both}


async def test_a_method_that_is_not_possible_names_those_that_are(client: httpx.AsyncClient) -> None:
    """RFC 9110, 15.5.6."""
    for method, path, allowed in (
        ("GET", "/oauth/token", "POST"),
        ("PATCH", "/oauth/register/abc", "DELETE, GET, HEAD, PUT"),
        ("DELETE", SMART, "GET, HEAD"),
        ("PUT", "/sign-in", "GET, HEAD, POST"),
    ):
        answer = await client.request(method, path)
        assert (answer.status_code, answer.headers["allow"]) == (405, allowed), path


async def test_openid_configuration(client: httpx.AsyncClient, server: RunningServer) -> None:
    """Seven fields are required, and RS256."""
    body = (await client.get("/.well-known/openid-configuration")).json()
    for name in ("issuer", "authorization_endpoint", "token_endpoint", "jwks_uri", "response_types_supported",
                 "subject_types_supported", "id_token_signing_alg_values_supported"):  # fmt: skip
        assert body[name], name
    assert body["issuer"] == server.url
    assert "RS256" in body["id_token_signing_alg_values_supported"]


async def test_authorization_server_metadata_is_the_same(client: httpx.AsyncClient) -> None:
    one = (await client.get("/.well-known/openid-configuration")).json()
    other = (await client.get("/.well-known/oauth-authorization-server")).json()
    assert one == other
    assert one["authorization_response_iss_parameter_supported"] is True


async def test_jwks_can_be_imported(client: httpx.AsyncClient) -> None:
    answer = await client.get("/oauth/jwks", headers={"Origin": "https://anywhere.example"})
    assert answer.headers["access-control-allow-origin"] in ("*", "https://anywhere.example")
    keys = KeySet.import_key_set(answer.json())
    assert all(key.kid and not key.is_private for key in keys.keys)


async def test_the_brand_of_this_server(client: httpx.AsyncClient, server: RunningServer) -> None:
    """SMART "User-access Brands and Endpoints": open to every origin; leads to this FHIR base."""
    told = (await client.get(SMART)).json()
    answer = await client.get(
        told["user_access_brand_bundle"], headers={"Origin": "https://anywhere.example"}
    )
    assert answer.headers["access-control-allow-origin"] in ("*", "https://anywhere.example")
    bundle = answer.json()
    assert (bundle["resourceType"], bundle["type"]) == ("Bundle", "collection")
    brand, endpoint = (entry["resource"] for entry in bundle["entry"])
    assert told["user_access_brand_identifier"] in brand["identifier"]
    assert brand["endpoint"] == [{"reference": bundle["entry"][1]["fullUrl"]}]
    assert endpoint["address"] == f"{server.url}/fhir"


def test_the_documentation_names_what_is_advertised() -> None:
    text = (Path(__file__).parents[3] / "docs" / "smart.md").read_text()
    assert not [capability for capability in CAPABILITIES if f"`{capability}`" not in text]
    assert not [
        route.path for route in [*routes, *well_known_routes] if route.path.split("/{")[0] not in text
    ]
