"""Sharing, for the patient: who can see, who waits; invite, withdraw, end, answer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import ceil

from starlette.responses import Response

from server.access.action import Action, Right, Verb
from server.accounts import people
from server.audit import reading
from server.core import clock
from server.core.errors import AlreadyStored, Conflict, Unprocessable
from server.core.texts import N_, translations
from server.sharing import access_notice, share, viewer_pass
from server.sharing.access_notice import How
from server.sharing.model import Share, State
from server.sharing.share import Doctor

from . import guest_links, share_choice, share_terms, step_up, words
from .activity import AUDIT_READ, Entry, entries_of
from .forms import Form, filled
from .pages import language_of, render, see_other
from .people_seeing import CONSENT_READ
from .profile import PATIENT_READ, own_id
from .visit import Visit

CONSENT_CREATE = Action("Consent", Verb.CREATE)
CONSENT_UPDATE = Action("Consent", Verb.UPDATE)
OFFERED = tuple(Right)
MOST_LOOKS = 200

HOWS = {
    How.EACH: N_("at once, each time"),
    How.DAILY: N_("once a day, if there was something"),
    How.OFF: N_("not at all"),
}
MEANS = {
    State.REQUESTED: N_("%(name)s asks to see your record. Nothing is shared unless you allow it."),
    State.INVITED: N_("%(name)s has been invited and sees nothing yet. They can accept until %(until)s."),
    State.ACTIVE: N_("%(name)s can see your imaging until you end it."),
    State.DECLINED: N_("%(name)s declined. Nothing is shared."),
    State.WITHDRAWN: N_("You withdrew this invitation. Its link no longer works."),
    State.EXPIRED: N_(
        "Nobody accepted within 14 days. Nothing is shared; you can send the invitation again."
    ),
    State.ENDED: N_("Sharing has ended. %(name)s can open nothing of yours any more."),
}
MEANS_UNTIL = N_("%(name)s can see your imaging until %(until)s, or until you end it.")


@dataclass(frozen=True)
class Person:
    """A share as its page shows it."""

    share: Share
    doctor: Doctor
    language: str

    def __getattr__(self, name: str) -> object:
        return getattr(self.share, name)

    @property
    def state_words(self) -> str:
        return translations(self.language).gettext(words.STATES[self.share.state])

    @property
    def means(self) -> str:
        """What the state means, in a sentence."""
        mine, gettext = self.share, translations(self.language).gettext
        text = MEANS_UNTIL if mine.state is State.ACTIVE and mine.until else MEANS[mine.state]
        until = mine.until if mine.state is State.ACTIVE else mine.waits_until
        return gettext(text) % {"name": self.name, "until": words.moment(until, self.language)}

    @property
    def name(self) -> str:
        return self.share.name

    @property
    def doctor_name(self) -> str:
        return self.doctor.name

    @property
    def specialty(self) -> str:
        return self.doctor.specialty

    @property
    def organization(self) -> str:
        return self.doctor.organization

    @property
    def registration(self) -> str:
        parts = (self.doctor.registration_number, self.doctor.authority)
        return ", ".join(each for each in parts if each)

    @property
    def verification(self) -> str:
        return self.doctor.verification

    @property
    def verification_words(self) -> str:
        return translations(self.language).gettext(words.VERIFICATION.get(self.verification, ""))

    @property
    def rights_words(self) -> list[str]:
        return [words.RIGHTS[right] for right in Right if right in self.share.rights]

    @property
    def ended_on(self) -> datetime | None:
        """When it came to its end, whatever that was."""
        over = self.share.state not in (State.ACTIVE, State.INVITED, State.REQUESTED)
        return self.share.changed_at if over else None

    @property
    def days_left(self) -> int:
        """Whole days an invitation can still be accepted, the last begun one counted."""
        until = self.share.waits_until
        return max(0, ceil((until - clock.now()) / timedelta(days=1))) if until else 0


@dataclass(frozen=True)
class Groups:
    """The list in the order it is read: what needs the patient first."""

    waiting_for_you: list[Person]
    waiting_for_them: list[Person]
    can_see: list[Person]
    past: list[Person]


async def overview(visit: Visit) -> Response:
    """Everyone who asked, was invited, can see, or could."""
    gettext = translations(language_of(visit.request, visit.me)).gettext
    reach = await visit.reach(CONSENT_READ)
    listed = await share.list_for_patient(visit.services, await own_id(visit), reach=reach)
    persons = [await _person(visit, each) for each in listed]

    def of(*states: State) -> list[Person]:
        return [each for each in persons if each.share.state in states]

    groups = Groups(
        of(State.REQUESTED),
        of(State.INVITED),
        of(State.ACTIVE),
        of(State.DECLINED, State.WITHDRAWN, State.EXPIRED, State.ENDED),
    )
    links = await guest_links.listed(visit)
    mine, read = await own_id(visit), await visit.reach(PATIENT_READ)
    told = await access_notice.of(visit.services, mine, actor=visit.actor, reach=read)
    passes = await viewer_pass.of_patient(visit.services, await own_id(visit), reach=reach)
    return render(
        visit.request,
        "sharing.html",
        here="sharing",
        groups=groups,
        links=links,
        passes=passes,
        form=filled({"how": str(told)}),
        hows=[(str(each), gettext(HOWS[each])) for each in How],
    )


async def choose_notice(visit: Visit) -> Response:
    """How to be told that others looked."""
    how = How(visit.form.one_of("how", [str(each) for each in How]))
    reach = await visit.reach(PATIENT_READ)
    await access_notice.choose(visit.services, await own_id(visit), how, actor=visit.actor, reach=reach)
    return see_other("/sharing", "notice")


async def show_form(visit: Visit) -> Response:
    """Whom to share with; filled in when somebody is invited again, or when one study is to be shared."""
    usual = [str(right) for right in share.USUAL_RIGHTS]
    chosen = [uid for uid in (visit.query("study"),) if uid]
    values = share_choice.which(chosen)
    if visit.query("again"):
        before = await _share(visit, visit.query("again"), CONSENT_READ)
        chosen = list(before.studies or ())
        values = {"name": before.name, "email": before.email, **share_choice.which(chosen)}
        usual = [str(right) for right in OFFERED if right in before.rights]
    return await _form_page(visit, filled(values, right=usual, study=chosen))


async def invite(visit: Visit) -> Response:
    """Send the invitation."""
    form = visit.form
    name, email = form.text("name"), form.checked("email", people.normal_email)
    rights = form.some_of("right", [str(each) for each in OFFERED])
    chosen = share_choice.read(form)
    message = form.lines("message", required=False, most=1000)
    until = share_terms.end_of_day(form, "until")
    if not rights:
        form.wrong("right", share_terms.NOTHING_CHOSEN)
    if not form:
        return await _form_page(visit, form)
    if form["act"] == "edit":
        return await _form_page(visit, form)
    if form["act"] == "preview":
        return await share_terms.preview(visit, form, rights=rights, chosen=chosen)
    if (asking := await step_up.require_recent(visit)) is not None:
        return asking
    try:
        await share.invite(
            visit.services,
            await own_id(visit),
            name=name,
            email=email,
            rights=rights,
            studies=chosen,
            until=until,
            message=message,
            actor=visit.actor,
            reach=await visit.reach(CONSENT_CREATE),
        )
    except (Unprocessable, AlreadyStored) as exc:
        form.refuse(exc)
        return await _form_page(visit, form)
    return see_other("/sharing", "invited")


async def person(visit: Visit) -> Response:
    """One doctor: who they are, what they can do, every look they took."""
    found = await _share(visit, visit.place("share"), CONSENT_READ)
    until = (found.until - timedelta(days=1)).date().isoformat() if found.until else ""
    rights = [str(right) for right in OFFERED if right in found.rights]
    return await person_page(
        visit,
        found,
        filled(
            {"until": until, **share_choice.which(found.studies)},
            right=rights,
            study=list(found.studies or ()),
        ),
    )


async def person_page(visit: Visit, found: Share, form: Form) -> Response:
    """The page of one person, with the switches as `form` has them."""
    shown = await _person(visit, found)
    parent = None
    if found.parent_id is not None:
        parent = await share.get(visit.services, found.parent_id, reach=await visit.reach(CONSENT_READ))
    looks = await _looks(visit, found)
    return render(
        visit.request,
        "share.html",
        200 if form else 422,
        here="sharing",
        share=shown,
        looks=looks,
        looked=_last_look(found, looks),
        parent=parent,
        form=form,
        rights=[(str(right), words.RIGHTS[right]) for right in OFFERED],
        choice=await share_choice.offered(
            visit, found.patient_id, [*(found.studies or ()), *form.all("study")]
        ),
    )


Act = Callable[..., Awaitable[Share]]


async def end(visit: Visit) -> Response:
    """End sharing: it holds from the next request on."""
    return await _act(visit, share.end, "ended")


async def withdraw(visit: Visit) -> Response:
    """Take an invitation back."""
    return await _act(visit, share.withdraw, "withdrawn")


async def resend(visit: Visit) -> Response:
    """A new link, for another 14 days."""
    return await _act(visit, share.resend, "resent")


async def refuse(visit: Visit) -> Response:
    """Answer a request with no."""
    return await _act(visit, share.refuse, "request-declined")


async def _act(visit: Visit, act: Act, done: str) -> Response:
    share_id, reach = visit.place("share"), await visit.reach(CONSENT_UPDATE)
    try:
        await act(visit.services, share_id, actor=visit.actor, reach=reach)
    except (Conflict, AlreadyStored):  # the page below shows what it is by now
        return see_other(f"/sharing/{share_id}")
    return see_other(f"/sharing/{share_id}", done)


async def _share(visit: Visit, share_id: str, action: Action) -> Share:
    found = await share.get(visit.services, share_id, reach=await visit.reach(action))
    await _require_own(visit, found)
    return found


async def _require_own(visit: Visit, found: Share) -> None:
    """A profile held as a guardian has pages of its own; here it is the visitor's."""
    if found.patient_id != await own_id(visit):
        raise Unprocessable("This share belongs to another profile that you hold.")


async def _person(visit: Visit, found: Share) -> Person:
    language = language_of(visit.request, visit.me)
    return Person(found, await share.doctor_of(visit.services, found), language)


async def _looks(visit: Visit, found: Share) -> list[Entry]:
    """What the doctor did in this record, the latest first."""
    if found.practitioner_id is None:
        return []
    reach = (await visit.reach(AUDIT_READ)).at(found.patient_id).patients()
    subject = await share.subject_of(visit.services, found)
    happened = await reading.events_of(
        visit.services.db,
        visit.services.keyring,
        reach=reach,
        match=reading.by_subject(subject),
        limit=MOST_LOOKS,
    )
    return await entries_of(visit, happened, found.patient_id)


def _last_look(found: Share, looks: list[Entry]) -> datetime | None:
    """When they last saw something; that they accepted is none."""
    moments = [found.last_looked_at, *(each.at for each in looks if each.is_look)]
    return max((each for each in moments if each is not None), default=None)


async def _form_page(visit: Visit, form: Form) -> Response:
    return render(
        visit.request,
        "share_new.html",
        200 if form else 422,
        here="sharing",
        form=form,
        rights=[(str(right), words.RIGHTS[right]) for right in OFFERED],
        choice=await share_choice.offered(visit, await own_id(visit), form.all("study")),
    )
