"""Whatever is asked, the answer is one of FHIR's: a random walk over addresses, parameters, headers and bodies."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from server.records.registry import types

from .conftest import Api

ODD = [
    "",
    " ",
    "%00",
    "a" * 3000,
    "|",
    "||",
    "\\",
    ",",
    ",,",
    "$",
    "Patient/",
    "/",
    "..",
    "urn:uuid:x",
    "2020",
    "gt",
    "1e9999",
    "-",
    "é",
    "\u202e",
    "null",
    "true",
    "*",
    "%",
    "_",
    "'; DROP TABLE resource; --",
    "{reach}",
    ":param",
    "$1",
    "[order]",
    "http://x/Patient/1",
    "ge2020-01-01T00:00:00%2B14:00",
    "0001-01-01",
    "9999-12-31",
    "ap9999",
    "lt0001",
    "ap0001-01-01",
    "5|",
    "5||",
    "1e-99",
    "99999999999999999999999999999999999999999",
    "sys|code",
    "a|b|c",
    'W/"1"',
    "\ud7ff",
]
NAMES = [
    "_id",
    "_lastUpdated",
    "_sort",
    "_count",
    "_include",
    "_revinclude",
    "_include:iterate",
    "_summary",
    "_elements",
    "_total",
    "_tag",
    "_profile:below",
    "_has:Observation:patient:code",
    "_page",
    "_format",
    "_pretty",
    "_type",
    "_since",
    "_at",
    "subject:Patient.name",
    "patient",
    "x",
]
MODIFIERS = [
    "",
    "",
    "",
    ":not",
    ":missing",
    ":exact",
    ":contains",
    ":text",
    ":of-type",
    ":identifier",
    ":below",
    ":Patient",
    ":x",
]
HEADERS = [
    "if-match",
    "if-none-match",
    "if-none-exist",
    "if-modified-since",
    "prefer",
    "accept",
    "accept-encoding",
]


class Walk:
    """Random requests, the same ones for the same seed."""

    def __init__(self, seed: int, ids: list[str]) -> None:
        self.rng = random.Random(seed)
        self.ids = ids

    def one(self, pool: list[Any]) -> Any:
        return self.rng.choice(pool)

    def path(self) -> str:
        type, id = self.one([*types(), "Nonsense", "$x"]), self.one([*self.ids, "x", self.one(ODD)])
        return str(
            self.one(
                [
                    type,
                    f"{type}/{id}",
                    f"{type}/{id}/_history",
                    f"{type}/{id}/_history/{self.one(['1', '0', 'x'])}",
                    f"Patient/{id}/{type}",
                    f"Patient/{id}/$everything",
                    f"{type}/_history",
                    f"{type}/_search",
                    "_history",
                    "",
                    f"{type}/$validate",
                ]
            )
        )

    def query(self, path: str) -> list[tuple[str, str]]:
        type = types().get(path.split("/")[0])
        names = [*NAMES, *(type.params if type else ())]
        return [
            (
                self.one(names) + self.one(MODIFIERS),
                self.one(ODD) if self.rng.random() < 0.7 else "Observation:subject",
            )
            for _ in range(self.rng.randint(0, 3))
        ]

    def body(self) -> bytes:
        shape = self.one(["none", "text", "resource", "bundle", "patch"])
        match shape:
            case "none":
                return b""
            case "text":
                return str(self.one(ODD)).encode("utf-8", "replace")
            case "bundle":
                entries = [
                    {
                        "request": {"method": self.one(["GET", "POST", "PUT", "DELETE"]), "url": self.path()},
                        "resource": self.value(2),
                    }
                    for _ in range(2)
                ]
                return json.dumps(
                    {"resourceType": "Bundle", "type": self.one(["batch", "transaction"]), "entry": entries}
                ).encode()
            case "patch":
                return json.dumps(
                    [
                        {
                            "op": self.one(["add", "remove", "test", "move"]),
                            "path": self.one(["/status", "/x/0", "", "/code/coding/-"]),
                            "value": self.value(2),
                            "from": "/code",
                        }
                    ]
                ).encode()
        resource = self.value(3)
        return json.dumps(
            {**resource, "resourceType": self.one([*types()])} if isinstance(resource, dict) else resource
        ).encode()

    def value(self, depth: int) -> Any:
        if depth == 0 or self.rng.random() < 0.3:
            return self.one([None, True, 0, -1, 1.5, 2**70, *ODD[:20]])
        keys = [
            "id",
            "meta",
            "status",
            "code",
            "coding",
            "subject",
            "reference",
            "patient",
            "text",
            "div",
            "extension",
            "url",
            "value",
            "identifier",
            "contained",
            "name",
            "target",
            "tag",
            "effectiveDateTime",
            "resourceType",
        ]
        if self.rng.random() < 0.25:
            return [self.value(depth - 1) for _ in range(self.rng.randint(0, 3))]
        return {self.one(keys): self.value(depth - 1) for _ in range(self.rng.randint(0, 5))}


@pytest.mark.parametrize("seed", range(4))
async def test_every_answer_is_one_of_fhirs(api: Api, seed: int) -> None:
    made = await api.made(api.observation())
    walk = Walk(seed, [made["id"], api.patient])
    for _ in range(150):
        path, method = walk.path(), walk.one(["GET", "GET", "GET", "POST", "PUT", "PATCH", "DELETE"])
        if method == "DELETE" and api.patient in path:
            continue
        headers = {"authorization": f"Bearer {api.token}"}
        if walk.rng.random() < 0.3:
            value = walk.one([each for each in ODD if each.strip() and each.isascii() and each.isprintable()])
            headers[walk.one(HEADERS)] = value
        content = walk.body() if method in ("POST", "PUT", "PATCH") else None
        if content is not None:
            headers["content-type"] = walk.one(
                [
                    "application/fhir+json",
                    "application/json",
                    "application/json-patch+json",
                    "application/x-www-form-urlencoded",
                    "x",
                ]
            )
        asked = (method, path, walk.query(path))
        answer = await api.client.request(
            method, f"/fhir/{path}", params=asked[2], headers=headers, content=content
        )
        assert answer.status_code < 500, (asked, headers, content, answer.text)
        if answer.status_code >= 400:
            assert answer.json()["resourceType"] == "OperationOutcome", (asked, answer.text)
