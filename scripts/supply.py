"""What the server is made of: licences that are allowed, known faults, and a bill of materials.

    python scripts/supply.py licences             fails when a package of the server has a licence not allowed below
    python scripts/supply.py faults               fails when a version in use has a known fault (PyPI's advisories)
    python scripts/supply.py sbom [FILE]          writes a CycloneDX 1.5 bill of materials
    python scripts/supply.py list                 writes docs/licences.md

Looks at the packages installed beside this interpreter, from `lightbox-server` down, without those of tests.
"""

from __future__ import annotations

import json
import re
import sys
import urllib.error
import urllib.request
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path
from uuid import uuid4

from packaging.requirements import Requirement

ROOT = "lightbox-server"
# Permissive (OFL: of fonts), or file-level copyleft of a library used as it stands (MPL-2.0: certifi, orjson).
ALLOWED = re.compile(
    r"(apache|mit\b|mit-0|mit-cmu|0?bsd|isc|psf|python software foundation|unlicense|zlib|cc0|ofl)"
    r"|(mpl-2\.0|mozilla public)",
    re.IGNORECASE,
)
REFUSED = re.compile(r"\b(a?gpl|lgpl|gnu|sspl|busl|commons clause|non-?commercial)", re.IGNORECASE)
LATER = "not asked: the registry does not answer"


def installed() -> list[Distribution]:
    """The server's packages, its own first left out, by name."""
    found: dict[str, Distribution] = {}
    _walk(ROOT, (), found)
    return [each for name, each in sorted(found.items()) if name != ROOT]


def _walk(name: str, extras: tuple[str, ...], found: dict[str, Distribution]) -> None:
    key = re.sub(r"[-_.]+", "-", name).lower()
    try:
        one = distribution(name)
    except PackageNotFoundError:  # of another platform
        return
    if key in found and not extras:
        return
    found[key] = one
    for line in one.requires or ():
        wanted = Requirement(line)
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": each}) for each in (*extras, "")):
            _walk(wanted.name, tuple(wanted.extras), found)


def licence(of: Distribution) -> str:
    """As the package says it itself: the expression, the classifiers, or the field's first line."""
    said = of.metadata.get("License-Expression")
    if said:
        return said
    kinds = [each.rpartition("::")[2].strip() for each in of.metadata.get_all("Classifier") or ()
             if each.startswith("License ::")]  # fmt: skip
    named = [each for each in kinds if each != "OSI Approved"]
    return " OR ".join(named) or (of.metadata.get("License") or "unknown").strip().splitlines()[0]


def is_allowed(text: str) -> bool:
    """Every part that is joined by AND must be; of those joined by OR, one."""
    return all(
        any(ALLOWED.search(choice) and not REFUSED.search(choice) for choice in re.split(r"\bOR\b", part))
        for part in re.split(r"\bAND\b", text.replace("(", "").replace(")", ""))
        if part.strip()
    )


def check_licences() -> int:
    packages = installed()
    if not packages:
        print("No packages found: the check would prove nothing.")
        return 1
    bad = [
        f"{each.name} {each.version}: {licence(each)}" for each in packages if not is_allowed(licence(each))
    ]
    print("\n".join(bad) or f"{len(packages)} packages, all under licences that are allowed")
    return int(bool(bad))


def check_faults() -> int:
    """PyPI's JSON interface carries the advisories of each version."""
    faults, asked = [], 0
    for each in installed():
        try:
            known = _advisories(each)
        except (urllib.error.URLError, TimeoutError, ValueError):
            break
        asked += 1
        faults += [f"{each.name} {each.version}: {', '.join(ids)}" for ids in known]
    print("\n".join(faults) or (f"{asked} packages without known faults" if asked else LATER))
    return int(bool(faults))


def _advisories(of: Distribution) -> list[list[str]]:
    url = f"https://pypi.org/pypi/{of.name}/{of.version}/json"
    with urllib.request.urlopen(url, timeout=5) as answer:
        said = json.load(answer).get("vulnerabilities", [])
    return [[each["id"], *each.get("aliases", ())] for each in said if not each.get("withdrawn")]


def bill_of_materials() -> dict[str, object]:
    components = [
        {
            "type": "library",
            "name": each.name,
            "version": each.version,
            "purl": f"pkg:pypi/{each.name.lower()}@{each.version}",
            "licenses": [{"license": {"name": licence(each)}}],
        }
        for each in installed()
    ]
    own = distribution(ROOT)
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid4()}",
        "version": 1,
        "metadata": {"component": {"type": "application", "name": ROOT, "version": own.version}},
        "components": components,
    }


def write_list() -> int:
    rows = [f"| {each.name} | {licence(each)} |" for each in installed()]
    text = "\n".join(
        [
            "# Licences of what the server is made of",
            "",
            "Made by `python scripts/supply.py list`; `scripts/check` refuses what is not allowed. The viewer,",
            "OHIF (MIT), comes from npm. `python scripts/supply.py sbom FILE` writes a bill of materials (CycloneDX).",
            "",
            "| package | licence, as it says itself |",
            "|---|---|",
            *rows,
            "",
        ]
    )
    Path("docs/licences.md").write_text(text, encoding="utf-8")
    return 0


def write_bill(file: str | None) -> int:
    text = json.dumps(bill_of_materials(), indent=1)
    if file is None:
        print(text)
    else:
        Path(file).write_text(text, encoding="utf-8")
    return 0


def main(arguments: list[str]) -> int:
    match arguments:
        case ["licences"]:
            return check_licences()
        case ["faults"]:
            return check_faults()
        case ["sbom", *rest] if len(rest) < 2:
            return write_bill(rest[0] if rest else None)
        case ["list"]:
            return write_list()
    print(__doc__)
    return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
