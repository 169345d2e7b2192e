"""Put together: services are built, surfaces are mounted. The only place where surfaces meet."""

from __future__ import annotations

import asyncio
import gc
import multiprocessing
import os
import signal
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest, multiprocess
from prometheus_client import REGISTRY as OWN_METRICS
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Mount, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from server.access.origins import Origins
from server.access.running import running_services
from server.access.services import Services
from server.core import logs
from server.core.errors import ServerError
from server.core.settings import Settings, read_settings
from server.core.surface import Surface
from server.core.web import Cors, Headed, Observed
from server.dicomweb.problem import problem as dicomweb_problem
from server.dicomweb.routes import routes as dicomweb_routes
from server.fhir import background as fhir_background
from server.fhir.problem import problem as fhir_problem
from server.fhir.routes import base_routes as fhir_base_routes
from server.fhir.routes import routes as fhir_routes
from server.imaging import rebuild
from server.jobs.queue import Kit, Periodic
from server.oauth import app_state, housekeeping
from server.oauth.problem import problem as oauth_problem
from server.oauth.routes import routes as oauth_routes
from server.oauth.routes import well_known_routes
from server.portal import uploads
from server.portal.problem import problem as portal_problem
from server.portal.routes import routes as portal_routes
from server.portal.viewer import routes as viewer_routes
from server.rights.background import KITS as RIGHTS
from server.sharing import access_notice, guest
from server.sharing.background import Background

# Until the youngest objects are looked through for cycles: a request makes a thousand or two.
ALLOCATIONS = 10_000
HOUSEKEEPING = Kit(
    periodic=(
        Periodic("oauth: forget the old", timedelta(hours=1), housekeeping.forget_old),
        Periodic("sharing: forget visits of guests", timedelta(hours=6), guest.forget_old),
        *access_notice.KIT.periodic,
        Periodic("portal: forget uploads", timedelta(hours=24), uploads.forget_old),
    )
)


def create_app(settings: Settings) -> Starlette:
    """The whole server as one ASGI application; the schema and the master key are there already (cli/serve)."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with (
            running_services(settings) as services,
            Background(services, HOUSEKEEPING, *fhir_background.KITS, *RIGHTS),
        ):
            app.state.services = services
            app.state.origins = Origins(services.db)
            await rebuild.readdress(services)
            yield

    app = Starlette(routes=routes(), lifespan=lifespan)
    app.user_middleware = [
        Middleware(Observed),
        Middleware(Headed, https=settings.is_https),
        Middleware(_CorsOfApp, app_of=app),
    ]
    return app


def create_from_environment() -> Starlette:
    """What uvicorn's worker processes call: the command line has put every setting into the environment."""
    logs.configure()
    _end_with_parent()
    gc.freeze()  # code and tables stay: no later collection need look at them
    gc.set_threshold(ALLOCATIONS)
    return create_app(read_settings())


def _end_with_parent() -> None:
    """A worker whose first process was killed ends too: it would go on holding the port."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        parent.join()
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, name="parent", daemon=True).start()


def routes() -> list[BaseRoute]:
    """Every address of the server."""
    dicomweb_surface = Surface(dicomweb_routes, dicomweb_problem)
    return [
        # They are tried one after the other: what is asked most comes first.
        Mount("/patients/{patient}/dicomweb", app=dicomweb_surface, name="patient-dicomweb"),
        Mount("/dicomweb", app=dicomweb_surface, name="dicomweb"),
        *(
            # A Mount would want a slash at the end; a Route takes an application too, and leaves the path whole.
            Route(route.path, Surface([route], oauth_problem), name=route.name)
            for route in well_known_routes
        ),
        Mount("/fhir", app=Surface(fhir_routes, fhir_problem), name="fhir"),
        Route("/fhir", Surface(fhir_base_routes, fhir_problem), name="fhir-base"),
        Mount("/link/{guest}/dicomweb", app=dicomweb_surface, name="link-dicomweb"),
        Route("/health/live", live),
        Route("/health/ready", ready),
        Route("/metrics", metrics),
        # App State of SMART is a small FHIR API of the authorization server, and says what is wrong in FHIR's words.
        Mount(app_state.PATH, app=Surface(app_state.routes, fhir_problem), name="app-state"),
        Mount("/oauth", app=Surface(oauth_routes, oauth_problem), name="oauth"),
        Mount("/viewer", app=Surface(viewer_routes, portal_problem), name="viewer"),
        Mount("/", app=Surface(portal_routes, portal_problem), name="portal"),
    ]


async def live(request: Request) -> Response:
    """The process answers."""
    return JSONResponse({"status": "live"})


async def ready(request: Request) -> Response:
    """The database answers, and that of the keys, and so a request can be served; 503 else."""
    services: Services = request.app.state.services
    try:
        async with asyncio.timeout(2):
            await services.db.answers()
            if services.keyring.store is not None:
                await services.keyring.store.answers()
            await services.keys.jwks()
    except (ServerError, TimeoutError):
        return JSONResponse({"status": "not ready"}, status_code=503, headers={"Retry-After": "5"})
    return JSONResponse({"status": "ready"})


async def metrics(request: Request) -> Response:
    """Prometheus text, of all worker processes when there are several."""
    return Response(generate_latest(_registry()), headers={"content-type": CONTENT_TYPE_LATEST})


def _registry() -> CollectorRegistry:
    try:
        registry = CollectorRegistry()
        multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
        return registry
    except ValueError:  # one process only
        return OWN_METRICS


class _CorsOfApp:
    """Cors with the origins that the running application knows."""

    def __init__(self, app: ASGIApp, app_of: Starlette) -> None:
        self._app_of = app_of
        self._cors = Cors(app, may_read=self._may_read)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._cors(scope, receive, send)

    async def _may_read(self, origin: str, path: str) -> bool:
        origins: Origins = self._app_of.state.origins
        return await origins.may_read(origin, path)
