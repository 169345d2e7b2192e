"""Guest links, for the patient: make one, hand it over (mail, QR code), see who used it, end it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from starlette.responses import Response

from server.access.action import STUDY_SEARCH, Action, Right, Verb
from server.accounts import people
from server.audit import reading
from server.core import clock
from server.core.errors import Conflict, NotFound, TooManyRequests, Unprocessable
from server.core.texts import N_, translations
from server.sharing import guest
from server.sharing.guest_link import Link, LinkState

from . import qr_code, share_choice, step_up, studies, words
from .activity import AUDIT_READ, Entry, entries_of
from .forms import Form, filled
from .pages import language_of, render, see_other
from .people_seeing import CONSENT_READ
from .profile import own, own_id
from .visit import Visit

CONSENT_CREATE = Action("Consent", Verb.CREATE)
CONSENT_UPDATE = Action("Consent", Verb.UPDATE)
USUAL_DAYS = 14
MOST_LOOKS = 100

RIGHTS = {
    Right.REPORTS: N_("Read the reports"),
    Right.DOWNLOAD: N_("Download the original files"),
}
STATES = {
    LinkState.LIVING: N_("Open"),
    LinkState.EXPIRED: N_("Expired"),
    LinkState.REVOKED: N_("Ended"),
    LinkState.SPENT: N_("Locked"),
}
MEANS = {
    LinkState.LIVING: N_("%(name)s can open it until %(until)s, or until you end it."),
    LinkState.EXPIRED: N_("Its time is over. It opens nothing any more."),
    LinkState.REVOKED: N_("You ended it. It opens nothing any more."),
    LinkState.SPENT: N_("Five wrong answers were given, so it ended by itself. It opens nothing any more."),
}


@dataclass(frozen=True)
class Row:
    """A link as pages show it."""

    link: Link
    language: str

    @property
    def id(self) -> str:
        return self.link.id

    @property
    def living(self) -> bool:
        return self.link.state is LinkState.LIVING

    @property
    def state_words(self) -> str:
        return translations(self.language).gettext(STATES[self.link.state])

    @property
    def means(self) -> str:
        facts = {"name": self.link.name, "until": words.moment(self.link.until, self.language)}
        return translations(self.language).gettext(MEANS[self.link.state]) % facts

    @property
    def rights_words(self) -> list[str]:
        return [words.RIGHTS[right] for right in guest.OFFERED if self.link.gives(right)]


async def listed(visit: Visit) -> list[Row]:
    """All links of the own record, for the Sharing page."""
    reach, language = await visit.reach(CONSENT_READ), language_of(visit.request, visit.me)
    links = await guest.list_for_patient(visit.services, await own_id(visit), reach=reach)
    return [Row(each, language) for each in links]


async def show_form(visit: Visit) -> Response:
    """Who, what, until when."""
    until = clock.now().date() + timedelta(days=USUAL_DAYS)
    chosen = [uid for uid in (visit.query("study"),) if uid]
    values = {"until": until.isoformat(), **share_choice.which(chosen)}
    return await _form_page(visit, filled(values, right=["reports"], study=chosen))


async def create(visit: Visit) -> Response:
    """Make the link and mail it."""
    form = visit.form
    name, email = form.text("name"), form.checked("email", people.normal_email)
    rights = [Right.IMAGES, *form.some_of("right", [str(each) for each in RIGHTS])]
    until, chosen = form.day("until"), share_choice.read(form)
    if until is not None and not clock.now().date() <= until <= _last_day():
        form.wrong("until", N_("Choose a day within the next 90 days."))
    if not form or until is None:
        return await _form_page(visit, form)
    if (asking := await step_up.require_recent(visit)) is not None:
        return asking
    try:
        made = await guest.create(
            visit.services,
            await own_id(visit),
            name=name,
            email=email,
            rights=[str(each) for each in rights],
            studies=chosen,
            until=datetime.combine(until, time(), UTC) + timedelta(days=1),
            actor=visit.actor,
            reach=await visit.reach(CONSENT_CREATE),
        )
    except (Unprocessable, TooManyRequests) as exc:
        form.refuse(exc)
        return await _form_page(visit, form)
    return see_other(f"/sharing/links/{made.id}", "link-made")


async def show(visit: Visit) -> Response:
    """One link: its address and QR code, what it shows, every look through it."""
    found = await _link(visit)
    language = language_of(visit.request, visit.me)
    reach = (await visit.reach(STUDY_SEARCH)).at(found.patient_id)
    chosen = await studies.titles(
        visit.services.db, list(found.studies or ()), reach=reach, language=language
    )
    return render(
        visit.request,
        "guest_link.html",
        here="sharing",
        row=Row(found, language),
        link=found,
        address=address_of_link(visit, found),
        chosen=list(chosen.values()),
        looks=await _looks(visit, found),
    )


async def qr(visit: Visit) -> Response:
    """The address as a QR code: to be read off this screen, or printed."""
    return qr_code.answer(address_of_link(visit, await _link(visit)))


async def end(visit: Visit) -> Response:
    """End it: the guest's next request is refused."""
    link_id = visit.place("link")
    try:
        await guest.revoke(
            visit.services, link_id, actor=visit.actor, reach=await visit.reach(CONSENT_UPDATE)
        )
    except Conflict:  # the page below says what it is by now
        return see_other(f"/sharing/links/{link_id}")
    return see_other(f"/sharing/links/{link_id}", "link-ended")


def address_of_link(visit: Visit, link: Link) -> str:
    """What the guest opens."""
    return f"{visit.services.settings.base_url}/link/{link.id}"


async def _link(visit: Visit) -> Link:
    found = await guest.get(visit.services, visit.place("link"), reach=await visit.reach(CONSENT_READ))
    if found.patient_id != await own_id(visit):
        raise NotFound()
    return found


async def _looks(visit: Visit, found: Link) -> list[Entry]:
    """What was done through this link, the latest first."""
    reach = (await visit.reach(AUDIT_READ)).at(found.patient_id).patients()
    happened = await reading.events_of(
        visit.services.db,
        visit.services.keyring,
        reach=reach,
        match=reading.by_subject(str(found.who.subject)),
        limit=MOST_LOOKS,
    )
    return await entries_of(visit, happened, found.patient_id)


async def _form_page(visit: Visit, form: Form) -> Response:
    profile = await own(visit)
    return render(
        visit.request,
        "guest_link_new.html",
        200 if form else 422,
        here="sharing",
        form=form,
        rights=[(str(right), text) for right, text in RIGHTS.items()],
        last_day=_last_day(),
        birth_date_known=profile.birth_day is not None,
        choice=await share_choice.offered(visit, profile.id, form.all("study")),
    )


def _last_day() -> date:
    return clock.now().date() + guest.LONGEST
