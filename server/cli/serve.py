"""`lightbox serve` and `lightbox settings`."""

from __future__ import annotations

import os
import shutil
import signal
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import uvicorn

from server.core.settings import Settings, read_settings

from . import workers as processes
from .common import DEBUG, DataOption, JsonOption, has_public_address, in_a_sentence, show, with_database

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
    with with_database(settings) as reachable:
        _hand_on(reachable, metrics=workers > 1)
        if workers > 1:
            processes.in_child(processes.context(), _prepare_and_say, reachable)
        else:
            _prepare(reachable)
        _listen(reachable, host, port, workers)


def _prepare(settings: Settings) -> None:
    from .start import prepare  # all of the server: not for the process that watches the workers

    prepare(settings)


def _prepare_and_say(settings: Settings) -> None:
    in_a_sentence(lambda: _prepare(settings), debug=bool(os.environ.get(DEBUG)))


def _hand_on(settings: Settings, *, metrics: bool) -> None:
    """The settings into the environment, where worker processes read them; a folder for what they count together."""
    os.environ.update(_as_environment(settings))
    folder = settings.data.resolve() / "metrics"
    shutil.rmtree(folder, ignore_errors=True)
    if metrics:
        folder.mkdir()
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)


def _listening_address(settings: Settings, host: str, port: int) -> str:
    """The public address where none is set: where we listen."""
    scheme = "https" if settings.tls_cert_file else "http"
    name = "127.0.0.1" if host in ("0.0.0.0", "::") else host  # noqa: S104 - compared, not bound
    return f"{scheme}://{f'[{name}]' if ':' in name else name}:{port}"


def _listen(settings: Settings, host: str, port: int, workers: int) -> None:
    """Hand over to uvicorn."""
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
