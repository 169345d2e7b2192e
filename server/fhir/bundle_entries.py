"""The entries of a transaction or batch, parsed, and each run as the interaction that it is.

FHIR R4, Bundle.entry.request and 3.1.0.11.1.
"""

from __future__ import annotations

from base64 import b64decode
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import unquote

from server.core.errors import InvalidInput, NotAllowed, NotFound
from server.imaging.to_fhir.manifest import KEY_OBJECTS_ID
from server.records.document import FORBIDDEN_TEXT, Json, dump

from . import everything, history, manifest
from .call import Call
from .capability import statement
from .create import create
from .delete import delete, delete_matching
from .format import Answer, etag_version, json_answer, not_modified, resource_answer, version_number
from .patch import patch, patch_matching
from .read import read, vread
from .search import search
from .search_params import pairs_of
from .search_system import several
from .summary import shape_of
from .update import update, update_matching
from .writing import Prefer

MOST_ENTRIES = 1000
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE")


@dataclass(frozen=True)
class Entry:
    """One entry."""

    place: int
    method: str
    path: tuple[str, ...]  # ('Patient', '1')
    query: str
    full_url: str = ""
    resource: Json | None = None
    if_match: str | None = None
    if_none_match: str | None = None
    if_none_exist: str | None = None

    @property
    def type(self) -> str:
        return self.path[0] if self.path else ""

    @property
    def id(self) -> str:
        return self.path[1] if len(self.path) > 1 and not self.path[1].startswith(("_", "$")) else ""

    @property
    def target(self) -> str:
        return f"{self.type}/{self.id}"


def entries_of(body: Json, base: str) -> list[Entry]:
    """Parse the entries; raises InvalidInput."""
    found = body.get("entry", [])
    if not isinstance(found, list) or len(found) > MOST_ENTRIES:
        raise InvalidInput(f"A Bundle has at most {MOST_ENTRIES} entries.", expression="Bundle.entry")
    return [_entry(place, one, base) for place, one in enumerate(found)]


def _entry(place: int, one: Any, base: str) -> Entry:
    at = f"Bundle.entry[{place}]"
    request = one.get("request") if isinstance(one, dict) else None
    if not isinstance(request, dict):
        raise InvalidInput("The entry has no request.", expression=f"{at}.request")
    method, url = request.get("method"), request.get("url")
    if method not in METHODS or not isinstance(url, str) or not url:
        raise InvalidInput("The request of the entry has no method or url.", expression=f"{at}.request")
    path, _, query = url.removeprefix(base).partition("?")
    if FORBIDDEN_TEXT.search(unquote(path)):
        raise InvalidInput("The url of the entry has a control character.", expression=f"{at}.request.url")
    resource = one.get("resource")
    if resource is not None and not isinstance(resource, dict):
        raise InvalidInput("The resource of the entry is no JSON object.", expression=f"{at}.resource")
    texts = {name: request.get(name) for name in ("ifMatch", "ifNoneMatch", "ifNoneExist")}
    if any(text is not None and not isinstance(text, str) for text in texts.values()):
        raise InvalidInput("A condition of the entry is no text.", expression=f"{at}.request")
    full_url = one.get("fullUrl", "")
    return Entry(
        place,
        method,
        tuple(unquote(part) for part in path.strip("/").split("/") if part),
        query,
        full_url if isinstance(full_url, str) else "",
        resource,
        texts["ifMatch"],
        texts["ifNoneMatch"],
        texts["ifNoneExist"],
    )


async def run(call: Call, one: Entry, prefer: Prefer, *, id: str | None = None) -> Answer:
    """Do what the entry says; `id` is what a transaction chose for a resource that it creates."""
    match one.method, one.path:
        case "GET" | "HEAD", _:
            return await _get(call, one)
        case "POST", (type,):
            resource = _resource(one)
            return await create(call, type, resource, if_none_exist=one.if_none_exist, prefer=prefer, id=id)
        case "POST", (type, "_search"):
            return await search(call, type, pairs_of(one.query))
        case "PUT", (type, resource_id):
            resource, if_match = _resource(one), etag_version(one.if_match)
            return await update(
                call,
                type,
                resource_id,
                resource,
                if_match=if_match,
                if_none_match=one.if_none_match,
                prefer=prefer,
            )
        case "PUT", (type,):
            resource, if_match = _resource(one), etag_version(one.if_match)
            return await update_matching(
                call,
                type,
                one.query,
                resource,
                if_match=if_match,
                if_none_match=one.if_none_match,
                prefer=prefer,
                id=id,
            )
        case "PATCH", (type, resource_id):
            if_match = etag_version(one.if_match)
            return await patch(call, type, resource_id, _patch(one), if_match=if_match, prefer=prefer)
        case "PATCH", (type,):
            if_match = etag_version(one.if_match)
            return await patch_matching(call, type, one.query, _patch(one), if_match=if_match, prefer=prefer)
        case "DELETE", (type, resource_id):
            return await delete(call, type, resource_id, if_match=etag_version(one.if_match))
        case "DELETE", (type,):
            return await delete_matching(call, type, one.query, if_match=etag_version(one.if_match))
    raise NotAllowed("This interaction is not possible in a Bundle.")


async def _get(call: Call, one: Entry) -> Answer:
    match one.path:
        case ("metadata",):
            return json_answer(statement(call.services.settings.base_url))
        case ("Bundle", id) if not id.startswith("_"):
            return await manifest.document_of(call, id)
        case ("Binary", id) if id.startswith(KEY_OBJECTS_ID):
            return await manifest.key_objects_of(call, id.removeprefix(KEY_OBJECTS_ID))
        case (type, id) if not id.startswith("_"):
            stored = await read(call, type, id)
            if not_modified(stored, one.if_none_match, None):
                return replace(resource_answer(stored, 304), json=b"")
            return resource_answer(stored, json=shape_of(pairs_of(one.query)).apply(type, stored.json))
        case (type, id, "_history", version):
            return resource_answer(await vread(call, type, id, version_number(version)))
    if "_history" in one.path:
        return await _history(call, one)
    return await _searched(call, one)


async def _history(call: Call, one: Entry) -> Answer:
    pairs = pairs_of(one.query)
    match one.path:
        case ("_history",):
            return await history.of_all(call, pairs)
        case (type, "_history"):
            return await history.of_type(call, type, pairs)
        case (type, id, "_history"):
            return await history.of_instance(call, type, id, pairs)
    raise NotFound("This address cannot be read in a Bundle.")


async def _searched(call: Call, one: Entry) -> Answer:
    pairs = pairs_of(one.query)
    match one.path:
        case ():
            return await several(call, "", None, pairs)
        case (type,):
            return await search(call, type, pairs)
        case ("Patient", id, "$everything"):
            return await everything.of_patient(call, id, pairs)
        case ("Patient", id, "*"):
            return await several(call, f"Patient/{id}/*", id, pairs)
        case ("Patient", id, type):
            return await search(call, type, pairs, compartment=id)
    raise NotFound("This address cannot be read in a Bundle.")


def _resource(one: Entry) -> Json:
    if one.resource is None or not isinstance(one.resource.get("resourceType"), str):
        raise InvalidInput("The entry has no resource.", expression=f"Bundle.entry[{one.place}].resource")
    return one.resource


def _patch(one: Entry) -> bytes:
    """FHIR R4, 3.1.0.6: a JSON Patch in a Bundle is the data of a Binary; a FHIRPath Patch is itself."""
    resource = _resource(one)
    if resource.get("resourceType") == "Parameters":
        return dump(resource)
    if resource.get("resourceType") != "Binary" or not isinstance(resource.get("data"), str):
        raise InvalidInput("A patch in a Bundle is a Binary with the JSON Patch as its data.")
    try:
        return b64decode(resource["data"], validate=True)
    except ValueError as error:
        raise InvalidInput("The data of the Binary is not base64.") from error
