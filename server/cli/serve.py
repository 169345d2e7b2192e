"""`lightbox serve` and `lightbox settings`."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from server.core.settings import Settings, read_settings
from server.portal import assets
from server.sharing import demo as demo_people

from .context import (
    DataOption,
    JsonOption,
    has_public_address,
    note_address,
    prepared,
    services_of,
    show,
)

SECRET = ("smtp_url", "database_url", "database_owner_url", "keys_database_url")  # they may carry a password


def serve(
    host: Annotated[str, typer.Option(help="Address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on")] = 8080,
    workers: Annotated[int, typer.Option(min=1, help="Worker processes")] = 1,
    data: DataOption = None,
    demo: Annotated[bool, typer.Option("--demo", help="Add the demo people and sample images once")] = False,
) -> None:
    """Start the server; the schema is brought up to date first."""
    settings = read_settings(data=data, demo=demo or None)
    if not has_public_address(settings):
        settings = settings.model_copy(update={"base_url": _listening_address(settings, host, port)})
    first_start = not settings.key_file.exists()
    with prepared(settings) as ready:
        note_address(ready)
        if ready.demo:
            asyncio.run(_add_demo(ready))
        _greet(ready, first_start=first_start)
        _listen(ready, host, port, workers)


def _listening_address(settings: Settings, host: str, port: int) -> str:
    """The public address where none is set: where we listen."""
    scheme = "https" if settings.tls_cert_file else "http"
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


async def _add_demo(settings: Settings) -> None:
    async with services_of(settings) as services:
        await demo_people.seed(services)


def _greet(settings: Settings, *, first_start: bool) -> None:
    lines = [f"Lightbox answers on {settings.base_url}"]
    if first_start:
        lines += [
            f"The master key lies in {settings.key_file.resolve()}.",
            "Keep a copy of it elsewhere: without it every image and record here is lost.",
        ]
    if assets.find(assets.VIEWER, settings.data) is None:
        lines += ["The built-in preview is the viewer; python -m server.portal.assets fetches OHIF."]
    if settings.demo:
        lines += ["Sign in as:"]
        lines += [f"  {person.role:<9} {person.email:<20} {person.password}" for person in demo_people.PEOPLE]
    print("\n".join(lines), file=sys.stderr, flush=True)


def _listen(settings: Settings, host: str, port: int, workers: int) -> None:
    """Hand over to uvicorn; its workers read the settings from the environment."""
    os.environ.update(_as_environment(settings))
    metrics = settings.data.resolve() / "metrics"
    shutil.rmtree(metrics, ignore_errors=True)
    if workers > 1:
        metrics.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics)
    # uvicorn raises the signal again after an orderly end: it must not kill us before the database is stopped.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    uvicorn.run(
        "server.app:create_from_environment",
        factory=True,
        host=host,
        port=port,
        workers=workers,
        loop="uvloop",
        http="httptools",
        access_log=False,
        log_config=None,  # core/logs.py
        log_level="warning",
        server_header=False,
        proxy_headers=bool(settings.trusted_proxies),
        forwarded_allow_ips=list(settings.trusted_proxies),
        ssl_certfile=settings.tls_cert_file,
        ssl_keyfile=settings.tls_key_file,
        timeout_graceful_shutdown=10,
        h11_max_incomplete_event_size=65536,
    )


def _as_environment(settings: Settings) -> dict[str, str]:
    """The settings as environment variables that read back the same."""
    found = {}
    for name, value in settings:
        if value is None:
            continue
        if name in ("retention", "watch"):
            value = ",".join(f"{rule}={number}" for rule, number in value)
        elif name == "regions":
            value = ",".join(f"{each.name}={each.address}" for each in value)
        elif isinstance(value, tuple):
            value = ",".join(value)
        elif isinstance(value, Path):
            value = value.resolve()
        found[f"LIGHTBOX_{name.upper()}"] = str(value)
    return found


def settings(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every setting, its value, and where it came from."""
    rows = _described(read_settings(data=data), {"data"} if data else set())
    width = max(len(row["name"]) for row in rows)
    text = "\n".join(f"{row['name']:<{width}}  {row['value']}  ({row['source']})" for row in rows)
    show(rows, as_json=as_json, text=text)


def _described(current: Settings, from_arguments: set[str]) -> list[dict[str, Any]]:
    rows = []
    for name, field in Settings.model_fields.items():
        value = getattr(current, name)
        variable = f"LIGHTBOX_{name.upper()}"
        if name in from_arguments:
            source = "argument"
        elif variable in os.environ:
            source = "environment"
        else:
            source = "default" if value == field.get_default() else "file"
        shown = "(set)" if value and name in SECRET else value
        rows.append({"name": variable, "value": shown, "source": source, "description": field.description})
    return rows
