"""`lightbox retention`: what is due to be removed because of its age, and its removal."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from server.access.services import Services
from server.rights import retention as rules

from .common import DataOption, JsonOption, show
from .context import run
from .people import OPERATOR


def retention(
    purge: Annotated[bool, typer.Option("--purge", help="Remove what is due; without it, look only")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what the rules of the region find due; nothing is removed without --purge. A hold beats every rule."""

    async def work(services: Services) -> dict[str, Any]:
        found = await rules.run(services, purge=purge, who=OPERATOR)
        return {
            "region": services.settings.region,
            "purged": purge,
            "daily": "removes" if services.settings.retention_purge else "looks only",
            "rules": {rule: asdict(each) for rule, each in found.items()},
        }

    result = run(data, work)
    lines = [
        f"{rule:<10} after {each['days']} days: {each['due']} due, {each['held']} kept by a hold"
        + (f", {each['removed']} removed" if purge else "")
        for rule, each in result["rules"].items()
    ]
    lines.append(f"Region {result['region']}; the daily job {result['daily']} (LIGHTBOX_RETENTION_PURGE).")
    if not purge:
        lines.append("Nothing was removed: --purge does.")
    show(result, as_json=as_json, text="\n".join(lines))
