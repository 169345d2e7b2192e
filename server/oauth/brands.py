"""User-access brands: what an app's list of "where is my record" shows for this server.

SMART App Launch 2.2, "User-access Brands and Endpoints".
"""

from __future__ import annotations

from typing import Any
from uuid import NAMESPACE_URL, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from server.core import clock
from server.core.settings import Settings

PATH = "/.well-known/user-access-brands.json"
_SITE = "http://hl7.org/fhir/smart-app-launch/StructureDefinition"


def identifier(settings: Settings) -> dict[str, str]:
    """The business identifier of this deployment's brand: its address."""
    return {"system": "urn:ietf:rfc:3986", "value": settings.base_url}


async def bundle(request: Request) -> Response:
    """GET /.well-known/user-access-brands.json"""
    settings: Settings = request.app.state.services.settings
    brand, endpoint = _uuid(settings, "brand"), _uuid(settings, "endpoint")
    entries = [(brand, _brand(settings, brand, endpoint)), (endpoint, _endpoint(settings, endpoint))]
    made = {
        "resourceType": "Bundle",
        "type": "collection",
        "timestamp": clock.now().isoformat(timespec="seconds"),
        "entry": [{"fullUrl": f"urn:uuid:{id}", "resource": resource} for id, resource in entries],
    }
    headers = {"Cache-Control": "public, max-age=3600"}
    return JSONResponse(made, media_type="application/fhir+json", headers=headers)


def _brand(settings: Settings, id: str, endpoint: str) -> dict[str, Any]:
    portal = [
        {"url": "portalName", "valueString": "Lightbox"},
        {"url": "portalUrl", "valueUrl": settings.base_url},
        {"url": "portalEndpoint", "valueReference": {"reference": f"urn:uuid:{endpoint}"}},
    ]
    return {
        "resourceType": "Organization",
        "id": id,
        "extension": [{"url": f"{_SITE}/organization-portal", "extension": portal}],
        "identifier": [identifier(settings)],
        "active": True,
        "name": f"Lightbox ({settings.region})",
        "telecom": [{"system": "url", "value": settings.base_url}],
        "endpoint": [{"reference": f"urn:uuid:{endpoint}"}],
    }


def _endpoint(settings: Settings, id: str) -> dict[str, Any]:
    none = {"system": "http://terminology.hl7.org/CodeSystem/endpoint-payload-type", "code": "none"}
    return {
        "resourceType": "Endpoint",
        "id": id,
        "extension": [
            {
                "url": "http://hl7.org/fhir/StructureDefinition/endpoint-fhir-version",
                "valueCode": "4.0.1",
            }
        ],
        "status": "active",
        "connectionType": {
            "system": "http://terminology.hl7.org/CodeSystem/endpoint-connection-type",
            "code": "hl7-fhir-rest",
        },
        "name": "Lightbox FHIR R4",
        "contact": [{"system": "url", "value": settings.base_url}],
        "payloadType": [{"coding": [none]}],
        "address": settings.fhir_base,
    }


def _uuid(settings: Settings, what: str) -> str:
    return str(uuid5(NAMESPACE_URL, f"{settings.base_url}#{what}"))
