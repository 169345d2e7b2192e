"""The resources of the service, as a table. Mounted at `/dicomweb` and at `/patients/{patient}/dicomweb`.

DICOM PS3.18, Table 10.3-1 (Studies Service resources).
"""

from __future__ import annotations

from starlette.routing import BaseRoute, Route

from . import stow
from .capabilities import Elsewhere

STUDY = "/studies/{study}"
SERIES = STUDY + "/series/{series}"
INSTANCE = SERIES + "/instances/{instance}"

_table = [
    Route("/studies", stow.store, methods=["POST"], name="store"),
    Route(STUDY, stow.store, methods=["POST"], name="store_to_study"),
]
_elsewhere = Elsewhere(_table)

routes: list[BaseRoute] = [
    *_table,
    Route(
        "/{path:path}",
        _elsewhere.answer,
        methods=["OPTIONS", "GET", "POST", "PUT", "PATCH", "DELETE"],
        name="elsewhere",
    ),
]
