"""The addresses of the service: which patient's root a request came to, and where things can be retrieved.

Retrieve URLs always lie under the patient's own root, `/patients/{id}/dicomweb` (decision 8), and are built from
the configured public address, never from Host: behind a proxy that would be another machine's name.
DICOM PS3.18, 10.1.1 (resources).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import Request

from server.access.services import Services
from server.core.errors import NotFound
from server.core.settings import Settings

_IDENTIFIER = re.compile(r"[0-9A-Za-z._-]{1,64}")
_STEPS = ("studies", "series", "instances")


@dataclass(frozen=True)
class Root:
    """Builds retrieve URLs."""

    settings: Settings
    link: str = ""  # of a guest: what is told to them lies below it, where their cookie goes

    def of_patient(self, patient_id: str, *uids: str) -> str:
        """The URL of a study, series or instance: as many UIDs as are given."""
        steps = (f"/{step}/{uid}" for step, uid in zip(_STEPS, uids, strict=False))
        return self.base(patient_id) + "".join(steps)

    def base(self, patient_id: str | None) -> str:
        """The address of the service a request came to."""
        if self.link:
            return f"{self.settings.base_url}/link/{self.link}/dicomweb"
        return (
            self.settings.dicomweb_base if patient_id is None else self.settings.patient_dicomweb(patient_id)
        )

    def bytes_of(self, patient_id: str) -> bytes:
        """What stands in the place of the zero byte of prepared DICOM JSON."""
        return self.base(patient_id).encode()


def services_of(request: Request) -> Services:
    services: Services = request.app.state.services
    return services


def root_of(request: Request) -> Root:
    return Root(services_of(request).settings, _checked(request.path_params.get("guest")) or "")


def patient_of(request: Request) -> str | None:
    """The patient whose root the request came to; None at the pooled root."""
    return _checked(request.path_params.get("patient"))


def uids_of(request: Request) -> tuple[str, str | None, str | None]:
    """Study, series and instance that the address names; an empty study where it names none."""
    of = request.path_params
    return _checked(of.get("study")) or "", _checked(of.get("series")), _checked(of.get("instance"))


def _checked(identifier: str | None) -> str | None:
    """Raise NotFound for what can be no identifier, before the database is asked."""
    if identifier is not None and not is_identifier(identifier):
        raise NotFound()
    return identifier


def is_identifier(text: str) -> bool:
    """Whether this can be the id of a patient or a UID."""
    return _IDENTIFIER.fullmatch(text) is not None


def accept_of(request: Request) -> str | None:
    """What is wanted: the `accept` parameter comes before the header (PS3.18, 8.3.3.1)."""
    if asked := request.query_params.get("accept"):
        return asked
    headers = request.headers.getlist("accept")
    return ", ".join(headers) if headers else None
