"""The table of resources in docs/dicomweb.md, made of the routes (python -m tests.conformance.dicomweb.resources)."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

from starlette.routing import Route

from server.dicomweb.routes import routes

PAGE = Path(__file__).parents[3] / "docs" / "dicomweb.md"
BEGIN, END = "<!-- resources -->\n", "<!-- /resources -->"


def table() -> str:
    """A line a resource, in the order of the table."""
    known = [each for each in routes if isinstance(each, Route) and each.name != "elsewhere"]
    order = {route.path: place for place, route in reversed(list(enumerate(known)))}
    lines = ["| Resource | Methods |", "|---|---|"]
    for path, group in groupby(sorted(known, key=lambda each: order[each.path]), key=lambda each: each.path):
        methods = sorted({method for route in group for method in route.methods or ()} - {"HEAD"})
        lines.append(f"| `{path}` | {', '.join(methods)} |")
    return "\n".join(lines) + "\n"


def with_table(page: str) -> str:
    before, _, rest = page.partition(BEGIN)
    return before + BEGIN + table() + END + rest.partition(END)[2]


if __name__ == "__main__":
    PAGE.write_text(with_table(PAGE.read_text()))
