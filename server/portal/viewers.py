"""Open a study in a viewer on the reader's own computer: Weasis, 3D Slicer.

The link holds a key to this one study, for reading, for an hour; it is shown once, on the page that made it.
"""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import quote, urlencode
from uuid import UUID

from starlette.responses import Response

from server.access.action import STUDY_READ, Right
from server.core.errors import NotFound
from server.sharing import viewer_pass
from server.sharing.viewer_pass import Viewer

from . import studies
from .forms import local_path
from .guest_links import CONSENT_UPDATE
from .pages import language_of, render, see_other
from .studies import Study
from .study_visit import own_study, study_address
from .visit import Visit


@dataclass(frozen=True)
class Opened:
    """What was made just now."""

    viewer: Viewer
    link: str
    key: str
    address: str  # of DICOMweb


async def show(visit: Visit) -> Response:
    """What the two programs are, and a button for each."""
    return await _page(visit, await _study(visit))


async def create(visit: Visit) -> Response:
    """A key and the link that carries it, shown once."""
    found = await _study(visit)
    try:
        viewer = Viewer(visit.form["viewer"])
    except ValueError as exc:
        raise NotFound() from exc
    reach = (await visit.reach(STUDY_READ, right=Right.DOWNLOAD)).at(found.patient_id)
    key = await viewer_pass.create(
        visit.services, found.patient_id, found.uid, viewer, actor=visit.actor, reach=reach
    )
    address = visit.services.settings.patient_dicomweb(found.patient_id)
    link = _weasis(address, found.uid, key) if viewer is Viewer.WEASIS else _slicer(address, found.uid, key)
    return await _page(visit, found, Opened(viewer, link, key, address))


async def end(visit: Visit) -> Response:
    """End a pass: the viewer's next request is refused."""
    try:
        pass_id = UUID(visit.place("pass"))
    except ValueError as exc:
        raise NotFound() from exc
    await viewer_pass.end(visit.services, pass_id, actor=visit.actor, reach=await visit.reach(CONSENT_UPDATE))
    return see_other(local_path(visit.form["back"], "/sharing"), "pass-ended")


def _weasis(address: str, study_uid: str, key: str) -> str:
    """https://weasis.org/en/basics/customize/integration/ ($dicom:rs)"""
    command = (
        f'$dicom:rs --url "{address}" --request "studyUID={study_uid}" --header "Authorization: Bearer {key}"'
    )
    return "weasis://" + quote(command, safe="")


def _slicer(address: str, study_uid: str, key: str) -> str:
    """The link of 3D Slicer's DICOM module for DICOMweb servers."""
    facts = {"studyUID": study_uid, "access_token": key, "dicomweb_endpoint": address}
    return "slicer://viewer/?" + urlencode(facts | {"dicomweb_uri_endpoint": f"{address}/wado"})


async def _study(visit: Visit) -> Study:
    """The study, where the visitor may take its files. Raises NotFound."""
    reach = await visit.reach(STUDY_READ, right=Right.DOWNLOAD)
    if patient_id := visit.query("patient"):
        reach = reach.at(patient_id)
    language = language_of(visit.request, visit.me)
    return await studies.one(visit.services.db, visit.place("uid"), reach=reach, language=language)


async def _page(visit: Visit, found: Study, opened: Opened | None = None) -> Response:
    mine = await own_study(visit, found)
    passes = await viewer_pass.of_account(visit.services, found.patient_id, found.uid, actor=visit.actor)
    return render(
        visit.request,
        "viewers.html",
        here="imaging" if mine else "patients",
        study=found,
        back=study_address(found, mine),
        address=study_address(found, mine, "/viewers"),
        viewers=list(Viewer),
        opened=opened,
        passes=passes,
    )
