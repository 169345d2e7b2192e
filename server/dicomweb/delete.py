"""DELETE of studies, series and instances.

Not part of PS3.18's Studies Service; Google, Microsoft and Orthanc have it in this form. What a patient deletes is
invisible at once and can be taken back for 30 days (decision 9).
"""

from __future__ import annotations

from starlette.requests import Request
from starlette.responses import Response

from server.access.action import STUDY_DELETE
from server.imaging import removal

from .urls import patient_of, services_of, uids_of


async def delete(request: Request) -> Response:
    """204; NotFound for what is not there or out of reach."""
    services = services_of(request)
    reach = await services.gate.reach_for(request, STUDY_DELETE, patient_id=patient_of(request))
    actor = await services.gate.actor(request)
    await removal.delete(services, *uids_of(request), reach=reach, actor=actor)
    return Response(status_code=204)
