"""The CapabilityStatement, made from the registry, and the versions operation.

FHIR R4, 3.1.0.14 (capabilities); SMART App Launch 2.2 (oauth-uris extension, SMART-on-FHIR security service).
Open to everybody.
"""

from __future__ import annotations

from functools import lru_cache

from starlette.requests import Request
from starlette.responses import Response

from server import __version__
from server.access.services import Services
from server.core import clock
from server.records import us_core
from server.records.document import Json, instant
from server.records.registry import COMMON, Kind, ResourceType, types

from . import docref
from .call import REGISTER
from .delete import NOT_DELETED
from .format import json_answer, respond
from .topics import topic_addresses
from .writing import NOT_WRITTEN

FHIR_VERSION = "4.0.1"
_READING = ("read", "vread", "history-instance", "history-type", "search-type")
BULK = "http://hl7.org/fhir/uv/bulkdata/OperationDefinition"
VALIDATE = "http://hl7.org/fhir/OperationDefinition/Resource-validate"
VERSIONS = "http://hl7.org/fhir/OperationDefinition/CapabilityStatement-versions"
_BACKPORT = "http://hl7.org/fhir/uv/subscriptions-backport"
_TOPIC = f"{_BACKPORT}/StructureDefinition/capabilitystatement-subscriptiontopic-canonical"
_OPERATIONS = {
    "Patient": {
        "everything": "http://hl7.org/fhir/OperationDefinition/Patient-everything",
        "match": "http://hl7.org/fhir/OperationDefinition/Patient-match",
        "export": f"{BULK}/patient-export",
    },
    "DocumentReference": {"docref": docref.DEFINITION},
    "Group": {"export": f"{BULK}/group-export"},
    "Subscription": {
        "status": f"{_BACKPORT}/OperationDefinition/backport-subscription-status",
        "events": f"{_BACKPORT}/OperationDefinition/backport-subscription-events",
    },
}
# Search parameters of all types (FHIR R4, 3.1.1.1); those of `meta` come with each type.
EVERY_TYPE = {
    "_id": "token",
    "_lastUpdated": "date",
    "_text": "string",
    "_content": "string",
    "_filter": "special",
    "_list": "string",
}
_NOT_OF_EVENTS = frozenset({"_text", "_content", "_list"})
_OF_META = dict(line.split()[:2] for line in COMMON.strip().splitlines())
_STARTED = instant(clock.now())


async def capabilities(request: Request) -> Response:
    """GET [base]/metadata"""
    services: Services = request.app.state.services
    answer = json_answer(statement(services.settings.base_url))
    response = await respond(request, answer)
    response.headers["Cache-Control"] = "public, max-age=300"
    return response


async def versions(request: Request) -> Response:
    """GET [base]/$versions"""
    parameter = [{"name": "version", "valueString": "4.0"}, {"name": "default", "valueString": "4.0"}]
    return await respond(request, json_answer({"resourceType": "Parameters", "parameter": parameter}))


@lru_cache(maxsize=4)
def statement(base_url: str) -> Json:
    """What this server can do."""
    return {
        "resourceType": "CapabilityStatement",
        "status": "active",
        "date": _STARTED,
        "publisher": "Lightbox",
        "kind": "instance",
        "software": {"name": "Lightbox", "version": __version__},
        "implementation": {"description": "A patient-owned imaging record", "url": f"{base_url}/fhir"},
        "fhirVersion": FHIR_VERSION,
        "format": ["application/fhir+json", "application/fhir+xml", "json", "xml"],
        "patchFormat": ["application/json-patch+json", "application/fhir+json"],
        "instantiates": [
            "http://fhir.org/argonaut/smart-imaging/CapabilityStatement/smart-imaging-access",
            "http://hl7.org/fhir/uv/bulkdata/CapabilityStatement/bulk-data",
        ],
        "rest": [
            {
                "mode": "server",
                "security": _security(base_url),
                "resource": [_resource(type, base_url) for type in types().values()],
                "interaction": [
                    {"code": code} for code in ("transaction", "batch", "history-system", "search-system")
                ],
                "searchParam": [
                    {"name": name, "type": kind}
                    for name, kind in {**EVERY_TYPE, "_type": "special", **_OF_META}.items()
                ],
                "operation": [
                    {"name": "export", "definition": f"{BULK}/export"},
                    {"name": "versions", "definition": VERSIONS},
                ],
                "compartment": ["http://hl7.org/fhir/CompartmentDefinition/patient"],
            }
        ],
    }


def _security(base_url: str) -> Json:
    uris = ("authorize", "token", "register", "introspect", "revoke", "manage")
    return {
        "cors": True,
        "extension": [
            {
                "url": "http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris",
                "extension": [{"url": name, "valueUri": f"{base_url}/oauth/{name}"} for name in uris],
            }
        ],
        "service": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/restful-security-service",
                        "code": "SMART-on-FHIR",
                    }
                ],
                "text": "OAuth 2.0 with SMART scopes, see .well-known/smart-configuration",
            }
        ],
    }


def _resource(type: ResourceType, base_url: str) -> Json:
    codes = interactions(type)
    params = [{"name": name, "type": kind} for name, kind in searched(type).items()]
    references = [name for name, param in type.params.items() if param.kind is Kind.REFERENCE]
    found: Json = {
        "type": type.name,
        "profile": f"http://hl7.org/fhir/StructureDefinition/{type.name}",
        "interaction": [{"code": code} for code in codes],
        "versioning": "versioned-update" if "vread" in codes else "no-version",
        "readHistory": "vread" in codes,
        "updateCreate": False,
        "conditionalCreate": "create" in codes,
        "conditionalRead": "full-support",
        "conditionalUpdate": "update" in codes,
        "conditionalDelete": "single" if "delete" in codes else "not-supported",
        "referencePolicy": ["literal", "local"],
        "searchParam": params,
    }
    if type.name in us_core.SUPPORTED:
        found["supportedProfile"] = us_core.SUPPORTED[type.name]
    if references:
        found["searchInclude"] = [f"{type.name}:{name}" for name in references]
    if type.name != "AuditEvent" and (back := _referring_to(type.name)):
        found["searchRevInclude"] = back
    offered = {"validate": VALIDATE, **_OPERATIONS.get(type.name, {})}
    found["operation"] = [{"name": name, "definition": definition} for name, definition in offered.items()]
    if type.name == "Subscription":
        topics = topic_addresses(f"{base_url}/fhir")
        found["extension"] = [{"url": _TOPIC, "valueCanonical": topic} for topic in topics]
    return found


def interactions(type: ResourceType) -> list[str]:
    """What can be done with a type, in the words of the CapabilityStatement."""
    written = type.name not in NOT_WRITTEN
    changed = ["create", "update", "patch"] if written else []
    ended = ["delete"] if changed and type.name not in NOT_DELETED else []
    reading: tuple[str, ...] = _READING
    if type.name == "AuditEvent":
        reading = ("read", "search-type")
    elif type.name in REGISTER:
        reading = tuple(code for code in _READING if code != "history-type")
    return [*reading, *changed, *ended]


def searched(type: ResourceType) -> dict[str, str]:
    """The search parameters of a type, with their kinds."""
    own = {name: str(param.kind) for name, param in type.params.items()}
    if type.name in REGISTER:
        return {"_id": "token", "_lastUpdated": "date", "identifier": "token"}
    if type.name == "AuditEvent":
        return {name: kind for name, kind in {**EVERY_TYPE, **own}.items() if name not in _NOT_OF_EVENTS}
    return {**EVERY_TYPE, **own}


def _referring_to(name: str) -> list[str]:
    return [
        f"{other.name}:{param.name}"
        for other in types().values()
        for param in other.params.values()
        if param.kind is Kind.REFERENCE and {name, "*"} & set(param.targets)
    ]
