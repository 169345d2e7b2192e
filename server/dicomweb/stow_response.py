"""What a store answers: which instances are held now, which are not, and why.

DICOM PS3.18, 10.5.3 (response) and I.2 (Store Instances Response Module). Beyond I.2, and declared in the
conformance statement: ErrorComment (0000,0902) in words beside each failure, and decision 15's reasons.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from starlette.responses import Response

from server.core.media import best
from server.imaging.store import Failure, StoredInstance, StoreReport

from .dicom_xml import to_xml
from .urls import Root

JSON, XML = "application/dicom+json", "application/dicom+xml"
_OFFERS = (JSON, "application/json", XML, "application/xml", "text/xml")


def chosen_format(accept: str | None) -> str:
    """The media type of the answer; raises NotAcceptable, before anything is stored."""
    return best(accept, _OFFERS)


def store_response(report: StoreReport, media_type: str, root: Root) -> Response:
    """200 when all is stored, 202 with warnings or failures, 409 when nothing is (PS3.18, Table 10.5.3-1)."""
    dataset = _dataset(report, root)
    body = to_xml(dataset) if media_type.endswith("xml") else orjson.dumps(dataset)
    # Clients compare the type as a whole (dicomweb-client): no charset is added.
    return Response(body, _status(report), headers={"Content-Type": media_type})


def _status(report: StoreReport) -> int:
    if not report.stored:
        return 409
    return 202 if report.failed or any(each.warning for each in report.stored) else 200


def _dataset(report: StoreReport, root: Root) -> dict[str, Any]:
    """The attributes of PS3.18, Table I.2-1, in the order of their tags."""
    known = [each for each in report.failed if each.sop_instance_uid]
    unknown = [each for each in report.failed if not each.sop_instance_uid]
    studies = {(each.patient_id, each.study_uid) for each in report.stored}
    dataset: dict[str, Any] = {}
    if len(studies) == 1:
        dataset["00081190"] = _one("UR", root.of_patient(*studies.pop()))
    _add(dataset, "00081198", [_failed(each) for each in known])
    _add(dataset, "00081199", [_referenced(each, root) for each in report.stored])
    _add(dataset, "0008119A", [_reason(each) for each in unknown])
    return dataset


def _referenced(each: StoredInstance, root: Root) -> dict[str, Any]:
    url = root.of_patient(each.patient_id, each.study_uid, each.series_uid, each.sop_instance_uid)
    item = {
        "00081150": _one("UI", each.sop_class_uid),
        "00081155": _one("UI", each.sop_instance_uid),
        "00081190": _one("UR", url),
    }
    if each.warning:
        item["00081196"] = _one("US", int(each.warning))
    if each.comment:  # what was odd about it; it is stored all the same
        item["00000902"] = _one("LO", each.comment)
    return dict(sorted(item.items()))


def _failed(each: Failure) -> dict[str, Any]:
    item = {"00081155": _one("UI", each.sop_instance_uid), **_reason(each)}
    if each.sop_class_uid:
        item["00081150"] = _one("UI", each.sop_class_uid)
    return dict(sorted(item.items()))


def _reason(each: Failure) -> dict[str, Any]:
    item = {"00081197": _one("US", int(each.reason))}
    if each.comment:
        item["00000902"] = _one("LO", each.comment)
    return dict(sorted(item.items()))


def _one(vr: str, value: Any) -> Mapping[str, Any]:
    return {"vr": vr, "Value": [value]}


def _add(dataset: dict[str, Any], tag: str, items: Sequence[Mapping[str, Any]]) -> None:
    if items:
        dataset[tag] = {"vr": "SQ", "Value": list(items)}
