"""transaction and batch: several interactions in one request.

FHIR R4, 3.1.0.11. A transaction is all or nothing, in the order DELETE, POST, PUT and PATCH, GET whatever order the
entries have; its entries refer to each other by fullUrl. In a batch each entry stands on its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import Response

from server.core.errors import InvalidInput, ServerError, TooLarge
from server.core.surface import as_server_error
from server.records.document import Json, instant, load
from server.records.serial import serializable
from server.records.validate import Invalid, Issue

from . import binary
from .bundle import bundle, entry
from .bundle_entries import Entry, entries_of, run
from .bundle_references import identities, linked
from .call import Call
from .format import MOST_IN_BUNDLE, Answer, resource_of, respond
from .problem import outcome_of
from .writing import Prefer

_ORDER = ("DELETE", "POST", "PUT", "PATCH", "GET", "HEAD")


async def process_bundle(request: Request) -> Response:
    """POST [base]"""
    call = await Call.of(request)
    await call.confirm()
    limit = call.services.settings.max_resource_bytes * MOST_IN_BUNDLE
    body = await resource_of(request, limit=limit)
    if body["resourceType"] != "Bundle":
        raise InvalidInput("A Bundle is expected at the base address.", expression="resourceType")
    prefer = Prefer.read(request.headers.get("prefer"))
    entries = entries_of(body, call.base)
    async with binary.intake(call) as call:
        entries = [await _taken(call, one) for one in entries]
        match body.get("type"):
            case "batch":
                return await respond(request, await batch(call, entries, prefer))
            case "transaction":
                return await respond(request, await transaction(call, entries, prefer))
    raise InvalidInput("The Bundle's type must be transaction or batch.", expression="Bundle.type")


async def _taken(call: Call, one: Entry) -> Entry:
    """An entry whose large content is kept already, before the transaction: but of a patch, which is a Binary too."""
    if one.resource is None or one.method == "PATCH":
        return one
    return replace(one, resource=await binary.taken(call, one.resource))


async def batch(call: Call, entries: Sequence[Entry], prefer: Prefer) -> Answer:
    """Each entry on its own: a refusal of one is its own answer."""
    answers: list[bytes] = []
    for one in entries:
        try:
            _require_room(call, one, answers)
            answers.append(_shown(await binary.shown(call, await run(call, one, prefer))))
        except Exception as error:
            answers.append(_refused(as_server_error(error)))
    return Answer(200, bundle("batch-response", answers))


def _require_room(call: Call, entry: Entry, answers: Iterable[bytes]) -> None:
    """Raise TooLarge for one more read where the answer is as large as a Bundle that would be taken."""
    most = call.services.settings.max_resource_bytes * MOST_IN_BUNDLE
    if entry.method in ("GET", "HEAD") and sum(map(len, answers)) > most:
        raise TooLarge("The answer is full: ask for this entry by itself.")


async def transaction(call: Call, entries: Sequence[Entry], prefer: Prefer) -> Answer:
    """All of the entries, or none. Raises the error of the entry that failed."""
    _require_apart(entries)
    answers = await serializable(call.services.db, lambda: _in_order(call, entries, prefer))
    return Answer(200, bundle("transaction-response", [answers[one.place] for one in entries]))


async def _in_order(call: Call, entries: Sequence[Entry], prefer: Prefer) -> dict[int, bytes]:
    """The answers by place; the interactions run in the order of R4."""
    known = await identities(call, entries)
    answers: dict[int, bytes] = {}
    for one in sorted(entries, key=lambda each: _ORDER.index(each.method)):
        if one.place in known.existing:
            answers[one.place] = _shown(await binary.shown(call, known.existing[one.place]))
            continue
        ready = await linked(call, one, known)
        try:
            _require_room(call, one, answers.values())
            answer = await run(call, ready, prefer, id=known.ids.get(one.place))
        except Invalid as error:
            raise Invalid([_within(issue, one) for issue in error.issues]) from error
        except ServerError as error:
            error.expression = error.expression or f"Bundle.entry[{one.place}]"
            raise
        answers[one.place] = _shown(await binary.shown(call, answer))
    return answers


def _within(issue: Issue, one: Entry) -> Issue:
    """An issue of an entry's resource, with the element's place in the Bundle."""
    element = issue.expression.removeprefix(one.type)
    return replace(issue, expression=f"Bundle.entry[{one.place}].resource{element}")


def _require_apart(entries: Sequence[Entry]) -> None:
    """Two entries that change the same resource: R4 has the transaction fail."""
    changed = [one.target for one in entries if one.method in ("PUT", "PATCH", "DELETE") and one.id]
    if len(set(changed)) != len(changed):
        raise InvalidInput(
            "Two entries of the transaction change the same resource.", expression="Bundle.entry"
        )
    named = [one.full_url for one in entries if one.full_url and one.method != "GET"]
    if len(set(named)) != len(named):
        raise InvalidInput("Two entries of the transaction have the same fullUrl.", expression="Bundle.entry")


_REASONS = {200: "OK", 201: "Created", 204: "No Content", 304: "Not Modified"}


def _shown(answer: Answer) -> bytes:
    """An answer as an entry of the response."""
    response: Json = {"status": f"{answer.status} {_REASONS.get(answer.status, '')}".strip()}
    if location := answer.headers.get("Location"):
        response["location"] = location
    if etag := answer.headers.get("ETag"):
        response["etag"] = etag
    if answer.last_modified is not None:
        response["lastModified"] = instant(answer.last_modified)
    json = answer.json
    if json and load(json).get("resourceType") == "OperationOutcome":
        response["outcome"] = load(json)
        json = b""
    return entry("", json, {"response": response})


def _refused(error: ServerError) -> bytes:
    return entry("", b"", {"response": {"status": str(error.status), "outcome": outcome_of(error)}})
