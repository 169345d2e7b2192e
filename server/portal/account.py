"""Account: the profile, the permissions, sign-in and devices."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from server.audit.events import Event
from server.core import clock
from server.core.texts import N_, translations
from server.records import store, us_core
from server.records.people import patient_of_account

from . import permissions, profile, words
from .forms import Form, filled
from .pages import language_of, render, see_other
from .profile import PATIENT_UPDATE, Json, Profile
from .visit import Visit

GENDERS = {
    "": N_("Not said"),
    "female": N_("Female"),
    "male": N_("Male"),
    "other": N_("Other"),
    "unknown": N_("Unknown"),
}
SECTIONS = (
    ("/account/profile", N_("Profile"), N_("Name, birth date, sex, address")),
    (
        "/account/registration",
        N_("Registration"),
        N_("Number, authority, specialty, and whether it is checked"),
    ),
    ("/account/permission", N_("Permission"), N_("Research, education, news: each a choice of its own")),
    (
        "/account/research",
        N_("Research projects"),
        N_("Who may have your images without your name, one by one"),
    ),
    ("/account/security", N_("Sign-in and devices"), N_("Password, where you are signed in")),
    (
        "/account/people",
        N_("People and records"),
        N_("Children and relatives, who acts for you, emergencies"),
    ),
    ("/activity", N_("Activity"), N_("Everything that happened in your record")),
    ("/account/data", N_("Your data"), N_("Copy, correct, restrict, take back, delete")),
)
NOT_FOR_OTHERS = ("/account/profile", "/account/research", "/account/people", "/activity")
# One account for a doctor who is a patient too: what a patient, and what a doctor, may still add.
BECOME_DOCTOR = (
    "/account/registration",
    N_("Are you a doctor?"),
    N_("Register with this account; your own record stays yours"),
)
OPEN_RECORD = (
    "/account/record",
    N_("A record of your own"),
    N_("Keep your own images here, with this account"),
)


async def show(visit: Visit) -> Response:
    """The sections of the account."""
    gettext, me = _gettext(visit), visit.signed_in
    patient = me.role == "patient"
    offered = [
        each
        for each in SECTIONS
        if (patient or each[0] not in NOT_FOR_OTHERS)
        and (me.role == "doctor" or each[0] != "/account/registration")
    ]
    if me.account_role == "patient":
        offered.append(BECOME_DOCTOR)
    elif me.account_role == "doctor" and not me.records:
        offered.append(OPEN_RECORD)
    sections = [(href, gettext(title), gettext(about)) for href, title, about in offered]
    return render(visit.request, "account.html", here="account", sections=sections, facts=await _facts(visit))


async def show_profile(visit: Visit) -> Response:
    """What the FHIR Patient says, as a form."""
    return _profile_page(visit, _form_of(await profile.own(visit)))


async def submit_profile(visit: Visit) -> Response:
    """Write the Patient; what the form does not show stays as it is."""
    form, found = visit.form, await profile.own(visit)
    given, family = form.text("given"), form.text("family")
    birth_date = form.day("birth_date", past=True)
    gender = form.one_of("gender", list(GENDERS))
    address = form.lines("address", required=False, most=500)
    phone = form.text("phone", required=False, most=40)
    if not form or birth_date is None:
        return _profile_page(visit, form)
    changed = dict(found.resource)
    changed["name"] = [{"text": f"{given} {family}", "family": family, "given": given.split()}]
    changed["birthDate"] = birth_date.isoformat()
    _set(changed, "gender", gender)
    _set(changed, "address", [{"text": address}] if address else None)
    others = [each for each in changed.get("telecom", []) if each.get("system") != "phone"]
    _set(changed, "telecom", others + ([{"system": "phone", "value": phone}] if phone else []))
    await _save(visit, found.id, changed)
    return see_other("/account", "profile")


async def show_permission(visit: Visit) -> Response:
    """Account > Permission: each a choice, since when, and the history."""
    gettext, language = _gettext(visit), language_of(visit.request, visit.me)
    account_id = visit.signed_in.account_id
    current = await permissions.current(visit.services, account_id)
    names = {each.key: each.name for each in permissions.CHOICES}
    since = gettext(N_("Given on %(date)s.")), gettext(N_("Not given."))
    choices = [
        {
            "key": each.key,
            "ask": each.ask,
            "since": since[0] % {"date": words.moment(current[each.key].at, language)}
            if each.key in current and current[each.key].given
            else since[1],
        }
        for each in permissions.CHOICES
    ]
    given, taken = gettext(N_("You gave: %(what)s")), gettext(N_("You took back: %(what)s"))
    history = [
        {"at": each.at, "sentence": (given if each.given else taken) % {"what": gettext(names[each.key])}}
        for each in await permissions.history(visit.services, account_id)
        if each.key in names
    ]
    form = filled({}, permission=[key for key, each in current.items() if each.given])
    return render(
        visit.request, "permissions.html", here="account", form=form, permissions=choices, history=history
    )


async def submit_permission(visit: Visit) -> Response:
    """Keep what changed."""
    me = visit.signed_in
    ticked = visit.form.some_of("permission", [each.key for each in permissions.CHOICES])
    patient_id = await patient_of_account(visit.services, me.account_id)
    await permissions.choose(
        visit.services,
        me.account_id,
        ticked,
        who=visit.actor.who(),
        patient_id=patient_id,
        channel="account",
    )
    return see_other("/account/permission", "permissions")


async def _facts(visit: Visit) -> list[tuple[str, str]]:
    gettext, language = _gettext(visit), language_of(visit.request, visit.me)
    if visit.signed_in.role == "patient":
        own = await profile.own(visit)
        born = words.day(own.birth_day, language) or own.birth_date
        return [(gettext(N_("Date of birth")), born)]
    if visit.signed_in.practitioner_id is None:
        return []
    row = await visit.services.db.fetch_one(
        permissions.QUERIES["practitioner"], {"id": visit.signed_in.practitioner_id}
    )
    if row is None:
        return []
    state = words.VERIFICATION[row["verification"]]
    registration = " ".join(each for each in (row["registration_number"], row["authority"]) if each)
    return [
        (gettext(N_("Specialty")), row["specialty"]),
        (gettext(N_("Registration")), registration),
        (gettext(N_("Organisation")), row["organization_name"]),
        (gettext(N_("State")), gettext(state)),
    ]


async def _save(visit: Visit, patient_id: str, resource: Json) -> None:
    services, reach = visit.services, await visit.reach(PATIENT_UPDATE)
    async with services.db.transaction():
        await store.update(
            services.db,
            us_core.claimed(resource),
            reach=reach,
            patient_id=patient_id,
            author=visit.actor.author,
        )
        await services.audit.record(
            Event.PROFILE_CHANGED, who=visit.actor.who(), patient_id=patient_id, detail={"at": clock.now()}
        )


def _form_of(found: Profile) -> Form:
    resource = found.resource
    addresses: list[Json] = resource.get("address") or [{}]
    phones = [each.get("value", "") for each in resource.get("telecom", []) if each.get("system") == "phone"]
    return filled(
        {
            "given": found.given,
            "family": found.family,
            "birth_date": found.birth_date if found.birth_day else "",
            "gender": resource.get("gender", ""),
            "address": address_text(addresses[0]),
            "phone": phones[0] if phones else "",
        }
    )


def address_text(address: Json) -> str:
    """A FHIR Address in lines."""
    if text := address.get("text"):
        return str(text)
    town = " ".join(str(address[part]) for part in ("postalCode", "city") if address.get(part))
    lines = [*address.get("line", []), town, address.get("country", "")]
    return "\n".join(str(each) for each in lines if each)


def _profile_page(visit: Visit, form: Form) -> Response:
    gettext = _gettext(visit)
    genders = [(value, gettext(name)) for value, name in GENDERS.items()]
    return render(
        visit.request, "profile.html", 200 if form else 422, here="account", form=form, genders=genders
    )


def _set(resource: Json, name: str, value: Any) -> None:
    if value:
        resource[name] = value
    else:
        resource.pop(name, None)


def _gettext(visit: Visit) -> Any:
    return translations(language_of(visit.request, visit.me)).gettext
