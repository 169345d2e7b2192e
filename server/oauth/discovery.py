"""What this authorization server can do, told to programs.

SMART App Launch 2.2, "Conformance"; RFC 8414; OpenID Connect Discovery 1.0; RFC 7517. Only what works stands here.
"""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.access.keys import FOR_IDENTITY
from server.access.scopes import SPECIAL
from server.access.services import Services
from server.core.settings import Settings
from server.core.texts import languages

from . import app_state, brands
from .client_auth import ALGORITHMS

Json = dict[str, Any]

APP_STATE = "smart-app-state"
CAPABILITIES = (
    "launch-standalone",
    "launch-ehr",
    "authorize-post",
    "client-public",
    "client-confidential-symmetric",
    "client-confidential-asymmetric",
    "sso-openid-connect",
    "context-banner",
    "context-style",
    "context-ehr-patient",
    "context-ehr-encounter",
    "context-standalone-patient",
    "permission-offline",
    "permission-online",
    "permission-patient",
    "permission-user",
    "permission-v1",
    "permission-v2",
    APP_STATE,
    "smart-imaging-access",
    "http://fhir.org/argonaut/smart-imaging/capabilities/app-launch",
    "http://fhir.org/argonaut/smart-imaging/capabilities/backend-services",
)
_SCOPES = (
    "patient/*.cruds",
    "patient/*.rs",
    "patient/*.read",
    "patient/ImagingStudy.rs",
    "user/*.cruds",
    "user/*.rs",
    "user/*.read",
    "system/*.cruds",
    "system/*.rs",
    "system/ImagingStudy.rs",
)
_METHODS = ["client_secret_basic", "client_secret_post", "private_key_jwt"]
_KEPT = {"Cache-Control": "public, max-age=300"}


async def smart_configuration(request: Request) -> Response:
    """GET /fhir/.well-known/smart-configuration"""
    settings: Settings = _services(request).settings
    state = f"{settings.base_url}{app_state.PATH}"
    associated = [
        {"url": settings.fhir_base, "capabilities": [each for each in CAPABILITIES if each != APP_STATE]},
        {"url": state, "capabilities": [APP_STATE]},
    ]
    return JSONResponse(
        {
            **_facts(settings),
            "capabilities": list(CAPABILITIES),
            "management_endpoint": f"{settings.base_url}/oauth/manage",
            "associated_endpoints": associated,
            "smart_app_state_endpoint": state,
            "user_access_brand_bundle": f"{settings.base_url}{brands.PATH}",
            "user_access_brand_identifier": brands.identifier(settings),
        },
        headers=_KEPT,
    )


async def openid_configuration(request: Request) -> Response:
    """GET /.well-known/openid-configuration and /.well-known/oauth-authorization-server"""
    settings = _services(request).settings
    identity = {
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [FOR_IDENTITY],
        "claims_supported": [
            "iss",
            "sub",
            "aud",
            "iat",
            "exp",
            "auth_time",
            "nonce",
            "name",
            "fhirUser",
            "profile",
        ],
        "prompt_values_supported": ["none", "login", "consent", "select_account"],
        "userinfo_endpoint": f"{settings.base_url}/oauth/userinfo",
        "ui_locales_supported": list(languages()),
        "request_parameter_supported": False,
        "request_uri_parameter_supported": False,
        "capabilities": list(CAPABILITIES),
    }
    return JSONResponse(_facts(settings) | identity, headers=_KEPT)


async def jwks(request: Request) -> Response:
    """GET /oauth/jwks"""
    keys = await _services(request).keys.jwks()
    return JSONResponse(keys, headers=_KEPT, media_type="application/json")


async def smart_style(request: Request) -> Response:
    """GET /oauth/smart-style.json: how an app may look when it is opened from here (SMART, "smart_style_url")."""
    style = {
        "color_background": "#f7f3ec",
        "color_error": "#9c2219",
        "color_highlight": "#0b5a5b",
        "color_modal_backdrop": "",
        "color_success": "#24633a",
        "color_text": "#26221d",
        "dim_border_radius": "10px",
        "dim_font_size": "16px",
        "dim_spacing_size": "16px",
        "font_family_body": "system-ui, sans-serif",
        "font_family_heading": "system-ui, sans-serif",
    }
    return JSONResponse(style, headers=_KEPT)


def _facts(settings: Settings) -> Json:
    base = settings.base_url
    return {
        "issuer": base,
        "jwks_uri": f"{base}/oauth/jwks",
        "authorization_endpoint": f"{base}/oauth/authorize",
        "token_endpoint": f"{base}/oauth/token",
        "introspection_endpoint": f"{base}/oauth/introspect",
        "revocation_endpoint": f"{base}/oauth/revoke",
        "registration_endpoint": f"{base}/oauth/register",
        "pushed_authorization_request_endpoint": f"{base}/oauth/par",
        "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
        "response_types_supported": ["code"],
        "response_modes_supported": ["query"],
        "scopes_supported": [*SPECIAL, *_SCOPES],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [*_METHODS, "none"],
        "token_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "introspection_endpoint_auth_methods_supported": _METHODS,
        "introspection_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "revocation_endpoint_auth_methods_supported": [*_METHODS, "none"],
        "revocation_endpoint_auth_signing_alg_values_supported": ALGORITHMS,
        "authorization_response_iss_parameter_supported": True,
    }


def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    return services
