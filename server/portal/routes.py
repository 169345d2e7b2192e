"""The portal's addresses. Who a page is for stands beside it."""

from __future__ import annotations

from starlette.routing import BaseRoute, Mount, Route

from . import (
    account,
    activity,
    doctor,
    files,
    guest,
    guest_links,
    hard_copies,
    help,
    imaging,
    information,
    invitation,
    reports,
    sharing,
    sign_in,
    sign_up,
    standing,
    step_up,
    upload,
    verify,
)
from .pages import STATIC, LastingFiles
from .visit import Handler, Who, page


def _get(path: str, handler: Handler, who: Who = Who.ANYONE) -> Route:
    return Route(path, page(handler, who), methods=["GET"])


def _post(path: str, handler: Handler, who: Who = Who.ANYONE, *, files: int = 0) -> Route:
    return Route(path, page(handler, who, files=files), methods=["POST"])


routes: list[BaseRoute] = [
    _get("/", information.front),
    _get("/data", information.data),
    _get("/help", help.show),
    _post("/help", help.submit),
    # coming in
    _get("/sign-in", sign_in.show),
    _post("/sign-in", sign_in.submit),
    _post("/sign-out", sign_in.sign_out, Who.SIGNED_IN),
    _get("/confirm", step_up.show, Who.SIGNED_IN),
    _post("/confirm", step_up.submit, Who.SIGNED_IN),
    _get("/sign-up", sign_up.show_patient),
    _post("/sign-up", sign_up.submit_patient),
    _get("/sign-up/doctor", sign_up.show_doctor),
    _post("/sign-up/doctor", sign_up.submit_doctor),
    _get("/verify", verify.check_mail),
    _post("/verify", verify.send_again),
    _get("/verify/{secret}", verify.show),
    _post("/verify/{secret}", verify.confirm),
    _get("/reset", verify.show_forgotten),
    _post("/reset", verify.forgotten),
    _get("/reset/{secret}", verify.show_reset),
    _post("/reset/{secret}", verify.reset),
    # images
    _get("/imaging", imaging.my_imaging, Who.PATIENT),
    _post("/imaging", imaging.search, Who.PATIENT),
    _get("/imaging/add", upload.show, Who.PATIENT),
    _get("/upload/token", upload.token, Who.PATIENT),
    _post("/upload/held", upload.held, Who.PATIENT),
    _get("/studies/{uid}", imaging.study, Who.SIGNED_IN),
    _get("/studies/{uid}/preview", imaging.preview, Who.SIGNED_IN),
    _get("/studies/{uid}/frames", imaging.frames, Who.SIGNED_IN),
    _post("/studies/{uid}/mine", standing.mine, Who.PATIENT),
    _post("/studies/{uid}/not-mine", standing.not_mine, Who.PATIENT),
    _post("/studies/{uid}/delete", standing.delete, Who.PATIENT),
    _post("/studies/{uid}/restore", standing.restore, Who.PATIENT),
    _get("/imaging/removed", standing.removed, Who.PATIENT),
    _get("/studies/{uid}/reports/add", reports.show_form, Who.SIGNED_IN),
    _post("/studies/{uid}/reports/add", reports.add, Who.SIGNED_IN, files=files.MOST_FILES),
    _get("/reports/{report}", reports.show, Who.SIGNED_IN),
    _get("/reports/{report}/files/{number:int}", reports.download, Who.SIGNED_IN),
    _post("/reports/{report}/delete", reports.delete, Who.PATIENT),
    # hard copies and historical records
    _get("/records/new", hard_copies.show_new, Who.PATIENT),
    _post("/records/new", hard_copies.create, Who.PATIENT),
    _get("/records/{record}", hard_copies.show, Who.SIGNED_IN),
    _get("/records/{record}/files/{number:int}", hard_copies.download, Who.SIGNED_IN),
    _get("/records/{record}/add", hard_copies.show_add, Who.PATIENT),
    _post("/records/{record}/add", hard_copies.add, Who.PATIENT, files=files.MOST_FILES),
    _post("/records/{record}/done", hard_copies.done, Who.PATIENT),
    _post("/records/{record}/delete", hard_copies.delete, Who.PATIENT),
    # people
    _get("/sharing", sharing.overview, Who.PATIENT),
    _get("/sharing/new", sharing.show_form, Who.PATIENT),
    _post("/sharing/new", sharing.invite, Who.PATIENT),
    _get("/sharing/links/new", guest_links.show_form, Who.PATIENT),
    _post("/sharing/links/new", guest_links.create, Who.PATIENT),
    _get("/sharing/links/{link}", guest_links.show, Who.PATIENT),
    _get("/sharing/links/{link}/qr.svg", guest_links.qr, Who.PATIENT),
    _post("/sharing/links/{link}/end", guest_links.end, Who.PATIENT),
    _get("/sharing/{share}", sharing.person, Who.PATIENT),
    _post("/sharing/{share}/withdraw", sharing.withdraw, Who.PATIENT),
    _post("/sharing/{share}/resend", sharing.resend, Who.PATIENT),
    _post("/sharing/{share}/end", sharing.end, Who.PATIENT),
    _post("/sharing/{share}/allow", sharing.allow, Who.PATIENT),
    _post("/sharing/{share}/refuse", sharing.refuse, Who.PATIENT),
    _get("/invitation/{secret}", invitation.show),
    _post("/invitation/{secret}", invitation.answer),
    _get("/my-patients", doctor.patients, Who.DOCTOR),
    _get("/my-patients/ask", doctor.show_ask, Who.DOCTOR),
    _post("/my-patients/ask", doctor.ask, Who.DOCTOR),
    _post("/my-patients/invitations/{share}", invitation.accept_waiting, Who.DOCTOR),
    _get("/my-patients/{patient}", doctor.patient, Who.DOCTOR),
    _post("/my-patients/{patient}/give-back", doctor.give_back, Who.DOCTOR),
    _get("/my-patients/{patient}/pass-on", doctor.show_pass_on, Who.DOCTOR),
    _post("/my-patients/{patient}/pass-on", doctor.pass_on, Who.DOCTOR),
    _post("/my-patients/{patient}/pass-on/{share}/end", doctor.take_back, Who.DOCTOR),
    # guests, who have no account
    _get("/link/{guest}", guest.show),
    _post("/link/{guest}", guest.answer),
    _get("/link/{guest}/studies/{uid}", guest.study),
    _get("/link/{guest}/studies/{uid}/preview", guest.preview),
    _get("/link/{guest}/studies/{uid}/frames", guest.frames),
    _get("/link/{guest}/reports/{report}", guest.report),
    _get("/link/{guest}/reports/{report}/files/{number:int}", guest.report_file),
    # oneself
    _get("/activity", activity.show, Who.PATIENT),
    _get("/account", account.show, Who.SIGNED_IN),
    _get("/account/profile", account.show_profile, Who.PATIENT),
    _post("/account/profile", account.submit_profile, Who.PATIENT),
    _get("/account/permission", account.show_permission, Who.SIGNED_IN),
    _post("/account/permission", account.submit_permission, Who.SIGNED_IN),
    _get("/account/security", account.show_security, Who.SIGNED_IN),
    _post("/account/security", account.change_password, Who.SIGNED_IN),
    _post("/account/security/end", account.end_session, Who.SIGNED_IN),
    Mount("/static", app=LastingFiles(directory=STATIC), name="static"),
]
