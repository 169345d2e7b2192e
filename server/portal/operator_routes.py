"""The addresses of operators, and the duties that open them."""

from __future__ import annotations

from starlette.routing import Route

from . import operator as overview
from . import operator_doctors as doctors
from . import operator_incidents as incidents
from . import operator_records as records
from . import operator_requests as requests
from . import operator_research as research
from .operator import for_duty
from .visit import Handler, Who, page


def _get(path: str, handler: Handler, *duties: str) -> Route:
    return Route(path, page(_held(handler, duties), Who.OPERATOR), methods=["GET"])


def _post(path: str, handler: Handler, *duties: str) -> Route:
    return Route(path, page(_held(handler, duties), Who.OPERATOR), methods=["POST"])


def _held(handler: Handler, duties: tuple[str, ...]) -> Handler:
    return for_duty(handler, *duties) if duties else handler


WRITTEN = ("support", "privacy")
WATCHING = ("security", "privacy")

routes = [
    _get("/operator", overview.show),
    _get("/operator/requests", requests.show, *WRITTEN),
    _get("/operator/requests/{request}", requests.one, *WRITTEN),
    _post("/operator/requests/{request}", requests.act, *WRITTEN),
    _post("/operator/requests/{request}/record", requests.find_record, "privacy"),
    _get("/operator/doctors", doctors.show, "verifier"),
    _get("/operator/doctors/{doctor}", doctors.one, "verifier"),
    _post("/operator/doctors/{doctor}", doctors.judge, "verifier"),
    _get("/operator/incidents", incidents.show, *WATCHING),
    _post("/operator/incidents", incidents.report, *WATCHING),
    _get("/operator/incidents/{incident}", incidents.one, *WATCHING),
    _post("/operator/incidents/{incident}", incidents.act, *WATCHING),
    _get("/operator/records", records.show, *WATCHING),
    _post("/operator/records/{record}/restrict", records.restrict, "privacy"),
    _post("/operator/records/{record}/hold", records.propose_hold, "privacy"),
    _post("/operator/records/{record}/copy", records.propose_export, "privacy"),
    _post("/operator/records/{record}/mergers/{merger}/part", records.part, "privacy"),
    _post("/operator/records/{record}/emergency", records.begin_emergency, *WATCHING),
    _post("/operator/emergency/{emergency}/end", records.end_emergency, *WATCHING),
    _post("/operator/holds/{hold}/release", records.propose_release, "privacy"),
    _get("/operator/proposals", records.show_proposals, "privacy"),
    _post("/operator/proposals/{proposal}", records.decide, "privacy"),
    _get("/operator/disclosures", records.show_disclosures, "privacy"),
    _post("/operator/disclosures", records.disclose, "privacy"),
    _get("/operator/research", research.show, "privacy"),
    _post("/operator/research", research.propose, "privacy"),
    _get("/operator/research/{project}", research.one, "privacy"),
    _post("/operator/research/{project}", research.act, "privacy"),
    _get("/operator/research/{project}/deliveries/{delivery}", research.fetch, "privacy"),
    _post("/operator/research/{project}/deliveries/{delivery}", research.act_on_delivery, "privacy"),
    _get("/operator/jobs", overview.jobs, "support", "security"),
    _post("/operator/jobs/{job}", overview.settle_job, "support", "security"),
]
