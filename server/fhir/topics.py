"""Topics that can be subscribed to, and a Subscription read into a frozen value.

FHIR R4 Subscription in the shape of the Subscriptions R5 Backport IG 1.1: `criteria` names the topic, extensions say
what narrows it and how much a notification tells.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from urllib.parse import urlsplit

from server.core.errors import ServerError, Unprocessable
from server.records.conditions import Condition, Criterion
from server.records.document import Json
from server.records.moments import span
from server.records.registry import resource_type
from server.records.search import Query

from .search_params import pairs_of, parse

IG = "http://hl7.org/fhir/uv/subscriptions-backport/StructureDefinition"
FILTER = f"{IG}/backport-filter-criteria"
CONTENT = f"{IG}/backport-payload-content"
HEARTBEAT = f"{IG}/backport-heartbeat-period"
TIMEOUT = f"{IG}/backport-timeout"

# The last part of a topic's address -> the type whose new and changed resources it tells of.
TOPICS = {
    "imaging-study-changed": "ImagingStudy",
    "diagnostic-report-changed": "DiagnosticReport",
    "consent-changed": "Consent",
}
CONTENTS = ("empty", "id-only", "full-resource")
LEAST_HEARTBEAT = 30  # seconds
LONGEST_TIMEOUT = 30
MOST_HEADERS = 20
HIDDEN = "***"  # what is shown of a header's value
_NOT_SENT = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "content-type", "te", "upgrade"}
)


@dataclass(frozen=True)
class Wish:
    """What a Subscription asks for."""

    topic: str
    type: str
    filters: tuple[str, ...]
    endpoint: str
    content: str
    headers: Mapping[str, str] = field(repr=False)
    heartbeat: int | None = None
    timeout: int = 10
    ends_at: datetime | None = None

    def query(self, *more: Condition) -> Query:
        """The search that a changed resource must be found by."""
        conditions = list(more)
        for each in self.filters:
            conditions += parse(self.type, pairs_of(each), strict=True).query.conditions
        return Query(resource_type(self.type), tuple(conditions))


def topic_addresses(base: str) -> dict[str, str]:
    """Canonical address of each topic -> its type."""
    return {f"{base}/SubscriptionTopic/{name}": type for name, type in TOPICS.items()}


def read(resource: Json, base: str, private_hosts: Sequence[str] = ()) -> Wish:
    """Raises Unprocessable for what cannot be done, naming the element."""
    topic = str(resource.get("criteria", "")).partition("|")[0]
    type = topic_addresses(base).get(topic)
    if type is None:
        known = ", ".join(topic_addresses(base))
        raise _wrong("criteria", f"criteria must be the address of a topic; there are: {known}.")
    channel = resource.get("channel", {})
    if channel.get("type") != "rest-hook":
        raise _wrong("channel.type", "Only rest-hook channels are supported.")
    if str(channel.get("payload", "application/fhir+json")).partition(";")[0] != "application/fhir+json":
        raise _wrong("channel.payload", "Notifications are application/fhir+json.")
    content = _extension(channel.get("_payload", {}), CONTENT, "valueCode") or "empty"
    if content not in CONTENTS:
        raise _wrong("channel.payload", f"The payload content must be one of {', '.join(CONTENTS)}.")
    wish = Wish(
        topic=topic,
        type=type,
        filters=tuple(_filters(resource, type)),
        endpoint=_endpoint(channel.get("endpoint"), private_hosts),
        content=content,
        headers=_headers(channel.get("header", [])),
        heartbeat=_seconds(channel, HEARTBEAT, LEAST_HEARTBEAT, 7 * 86_400),
        timeout=_seconds(channel, TIMEOUT, 1, LONGEST_TIMEOUT) or 10,
        ends_at=_end(resource.get("end")),
    )
    _require_plain(wish)
    return wish


def is_private(endpoint: str, private_hosts: Sequence[str]) -> bool:
    """Whether the operator allowed this host though it is not on the internet."""
    return (urlsplit(endpoint).hostname or "") in private_hosts


def masked(resource: Json) -> Json:
    """The Subscription as it is kept and shown: header values are nobody's to read."""
    channel = resource.get("channel", {})
    if not channel.get("header"):
        return resource
    shown = [f"{str(each).partition(':')[0]}: {HIDDEN}" for each in channel["header"]]
    return {**resource, "channel": {**channel, "header": shown}}


def _filters(resource: Json, type: str) -> list[str]:
    found = []
    for each in _all(resource.get("_criteria", {}), FILTER, "valueString"):
        head, mark, query = str(each).partition("?")
        if not mark or head != type:
            raise _wrong("criteria", f"A filter of this topic begins with {type}?.")
        found.append(query)
    return found


def _require_plain(wish: Wish) -> None:
    """Filters that look at the resource itself; a chain would tell of others."""
    try:
        conditions = wish.query().conditions
    except ServerError as error:
        raise _wrong("criteria", str(error)) from error
    if not all(isinstance(each, Criterion) for each in conditions):
        raise _wrong("criteria", "A filter names parameters of the resource itself, without chains.")


def _endpoint(text: Any, private_hosts: Sequence[str]) -> str:
    parts = urlsplit(text) if isinstance(text, str) else urlsplit("")
    schemes = ("https", "http") if is_private(str(text), private_hosts) else ("https",)
    if parts.scheme not in schemes or not parts.hostname or parts.username or parts.password:
        raise _wrong("channel.endpoint", "The endpoint must be an https address.")
    return str(text)


def _headers(lines: Any) -> dict[str, str]:
    found: dict[str, str] = {}
    for line in lines if isinstance(lines, list) else ():
        name, colon, value = str(line).partition(":")
        name, value = name.strip(), value.strip()
        if not colon or not name.replace("-", "").isalnum() or not value.isascii() or not value.isprintable():
            raise _wrong("channel.header", "A header is written Name: value.")
        if name.lower() in _NOT_SENT:
            raise _wrong("channel.header", "A header that belongs to the request itself cannot be set.")
        found[name] = value
    if len(found) > MOST_HEADERS:
        raise _wrong("channel.header", f"There may be at most {MOST_HEADERS} headers.")
    return found


def _seconds(channel: Json, url: str, least: int, most: int) -> int | None:
    values = [_extension(channel, url, name) for name in ("valueUnsignedInt", "valuePositiveInt")]
    value = next((each for each in values if each is not None), None)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int):
        raise _wrong("channel", "A number of seconds is expected.")
    return min(max(value, least), most)


def _end(text: Any) -> datetime | None:
    return span(text).low if isinstance(text, str) else None


def _extension(element: Any, url: str, name: str) -> Any:
    return next(iter(_all(element, url, name)), None)


def _all(element: Any, url: str, name: str) -> list[Any]:
    extensions = element.get("extension", []) if isinstance(element, dict) else []
    return [each[name] for each in extensions if each.get("url") == url and name in each]


def _wrong(element: str, sentence: str) -> Unprocessable:
    return Unprocessable(sentence, expression=f"Subscription.{element}")
