"""Sign-up: a patient's profile, or a doctor's registration. Nobody is told whether an address has an account."""

from __future__ import annotations

from contextlib import suppress
from datetime import date
from urllib.parse import quote, urlencode

from starlette.responses import Response

from server.access.sign_in import address_of
from server.accounts import passwords, people, verification
from server.accounts.people import Account
from server.audit.events import Event
from server.audit.who import Who
from server.core.errors import AlreadyStored, ServerError, TooManyRequests
from server.records.people import Registration, register_patient, register_practitioner

from . import permissions
from .forms import Form, filled, local_path
from .pages import render
from .sign_in import CHECK_MAIL, admit, confirm_first
from .visit import Visit


async def show_patient(visit: Visit) -> Response:
    """The form for a profile of one's own."""
    return _page(visit, "patient", _first(visit))


async def show_doctor(visit: Visit) -> Response:
    """The form for a registered medical professional."""
    return _page(visit, "doctor", _first(visit))


async def submit_patient(visit: Visit) -> Response:
    """Make the account and the profile it owns, then have the address confirmed."""
    form = visit.form
    if not _chose_here(visit, form):
        return _page(visit, "patient", form)
    birth_date = form.day("birth_date", past=True)
    chosen = form.some_of("permission", [each.key for each in permissions.CHOICES])
    name, email, password = _person(form)
    if not form or birth_date is None:
        return _page(visit, "patient", form)
    try:
        account = await _add_patient(visit, name, email, password, birth_date, chosen)
    except ServerError as exc:
        return await _refused(visit, "patient", exc)
    return await _confirm_or_admit(visit, account)


async def submit_doctor(visit: Visit) -> Response:
    """Make the account and the Practitioner, unverified until an operator looked."""
    form = visit.form
    if not _chose_here(visit, form):
        return _page(visit, "doctor", form)
    registration = Registration(
        number=form.text("number", most=80),
        authority=form.text("authority"),
        specialty=form.text("specialty", most=120),
        organization=form.text("organization"),
    )
    name, email, password = _person(form)
    if not form:
        return _page(visit, "doctor", form)
    try:
        account = await _add_doctor(visit, name, email, password, registration)
    except ServerError as exc:
        return await _refused(visit, "doctor", exc)
    return await _confirm_or_admit(visit, account)


async def _confirm_or_admit(visit: Visit, account: Account) -> Response:
    """In at once who came by an invitation mailed to the address; the others get a mail to confirm it."""
    response = await admit(visit, account, local_path(visit.form["next"]))
    if response.headers["location"] == CHECK_MAIL:
        with suppress(TooManyRequests):  # the mailbox has our mails already
            await verification.ask(visit.services, account)
    return response


def _person(form: Form) -> tuple[str, str, str]:
    name, email = form.text("name"), form.checked("email", people.normal_email)
    password = form.secret("password")
    if "password" not in form.errors:
        try:
            passwords.require_good(password, about=(email, name))
        except ServerError as exc:
            form.refuse(exc, "password")
    return name, email, password


async def _add_patient(
    visit: Visit, name: str, email: str, password: str, birth_date: date, chosen: list[str]
) -> Account:
    services = visit.services
    async with services.db.transaction():
        account = await people.add(
            services.db, email=email, name=name, role="patient", password=password, verified=False
        )
        who = _who(visit, account)
        patient_id = await register_patient(
            services, who=who, name=name, birth_date=birth_date, account_id=account.id
        )
        await services.audit.record(Event.ACCOUNT_CREATED, who=who, patient_id=patient_id)
        await permissions.choose(
            services, account.id, chosen, who=who, patient_id=patient_id, channel="sign-up"
        )
    return account


async def _add_doctor(
    visit: Visit, name: str, email: str, password: str, registration: Registration
) -> Account:
    services = visit.services
    async with services.db.transaction():
        account = await people.add(
            services.db, email=email, name=name, role="doctor", password=password, verified=False
        )
        await register_practitioner(
            services, account_id=account.id, name=name, email=email, registration=registration, verified=False
        )
        await services.audit.record(Event.ACCOUNT_CREATED, who=_who(visit, account), patient_id=None)
    return account


def _who(visit: Visit, account: Account) -> Who:
    return Who(account.name, account.role, account.id, address=address_of(visit.request))


async def _refused(visit: Visit, role: str, error: ServerError) -> Response:
    """An address that has an account gets the same answer as a new one, and its owner a mail."""
    if isinstance(error, AlreadyStored):
        with suppress(TooManyRequests):
            await verification.tell_known(visit.services, visit.form["email"])
        return confirm_first(visit, local_path(visit.form["next"]))
    if error.status >= 500:
        raise error
    visit.form.refuse(error)
    return _page(visit, role, visit.form)


def _first(visit: Visit) -> Form:
    return filled({"next": visit.query("next"), "region": visit.query("region")})


def _chose_here(visit: Visit, form: Form) -> bool:
    """Whether this region was chosen, where there is a choice (product row 64): data stays where it is first put."""
    settings = visit.services.settings
    return not settings.regions or form["region"] == settings.region


def _region_page(visit: Visit, role: str, onward: str) -> Response:
    """Which region: a required choice before anything is typed. Another one goes on at its own address."""
    settings = visit.services.settings
    path = "/sign-up" if role == "patient" else "/sign-up/doctor"
    here = {"region": settings.region} | ({"next": onward} if onward != "/" else {})
    there = [
        (each.name, f"{each.address}{path}?{urlencode({'region': each.name})}") for each in settings.regions
    ]
    choices = sorted([(settings.region, f"{path}?{urlencode(here)}"), *there])
    return render(visit.request, "region.html", here="sign-up", choices=choices)


def _page(visit: Visit, role: str, form: Form) -> Response:
    onward = local_path(form["next"])
    if not _chose_here(visit, form):
        return _region_page(visit, role, onward)
    form.values["next"] = onward if onward != "/" else ""
    return render(
        visit.request,
        "sign_up.html",
        200 if form else 422,
        form=form,
        role=role,
        here="sign-up",
        invited=onward.startswith("/invitation/"),
        permissions=permissions.CHOICES,
        regions=visit.services.settings.regions,
        sign_in="/sign-in" + (f"?next={quote(onward, safe='/')}" if onward != "/" else ""),
    )
