"""The addresses of the authorization server."""

from __future__ import annotations

from starlette.routing import Route

from . import (
    authorize,
    brands,
    decision,
    developers,
    discovery,
    introspect,
    launch,
    launch_api,
    manage,
    pages,
    register,
    revoke,
    token,
    userinfo,
)

routes = [
    Route("/authorize", authorize.authorize, methods=["GET", "POST"]),
    Route("/authorize/decision", decision.decide, methods=["POST"]),
    Route("/par", authorize.push, methods=["POST"]),
    Route("/token", token.exchange, methods=["POST"]),
    Route("/introspect", introspect.introspect, methods=["POST"]),
    Route("/userinfo", userinfo.userinfo, methods=["GET", "POST"]),
    Route("/revoke", revoke.revoke, methods=["POST"]),
    Route("/register", register.register, methods=["POST"]),
    Route("/register/{client_id}", register.read_registration, methods=["GET"]),
    Route("/register/{client_id}", register.replace_registration, methods=["PUT"]),
    Route("/register/{client_id}", register.delete_registration, methods=["DELETE"]),
    Route("/manage", manage.show, methods=["GET"]),
    Route("/manage", manage.end, methods=["POST"]),
    Route("/launch", launch.show, methods=["GET"]),
    Route("/launch", launch.start, methods=["POST"]),
    Route("/ehr-launch", launch_api.create, methods=["POST"]),
    Route("/developers", developers.show, methods=["GET"]),
    Route("/developers", developers.add, methods=["POST"]),
    Route("/jwks", discovery.jwks, methods=["GET"]),
    Route("/smart-style.json", discovery.smart_style, methods=["GET"]),
    Route("/style.css", pages.style, methods=["GET"]),
]

# Mounted at the root, for the specifications fix where they are looked for.
well_known_routes = [
    Route(brands.PATH, brands.bundle, methods=["GET"]),
    Route("/fhir/.well-known/smart-configuration", discovery.smart_configuration, methods=["GET"]),
    Route("/.well-known/openid-configuration", discovery.openid_configuration, methods=["GET"]),
    Route("/.well-known/oauth-authorization-server", discovery.openid_configuration, methods=["GET"]),
]
