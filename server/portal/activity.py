"""Activity: the log of a record as a diary in sentences, refused tries included."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import groupby

from server.access.action import STUDY_READ, Action, Verb
from server.audit.events import Event, Outcome
from server.audit.reading import Happened
from server.core.texts import N_, translations
from server.storage.sql import load

from . import studies, words
from .pages import language_of
from .visit import Visit

QUERIES = load(__package__)
AUDIT_READ = Action("AuditEvent", Verb.SEARCH)
PAGE = 100

# "%(who)s" is the person or system, with the app it acted through.
SENTENCES: dict[str, str] = {
    Event.STUDY_STORED: N_("%(who)s added images."),
    Event.STUDY_VIEWED: N_("%(who)s looked at a study."),
    Event.STUDY_DOWNLOADED: N_("%(who)s downloaded original images."),
    Event.STUDY_SEARCHED: N_("%(who)s looked through the list of studies."),
    Event.STUDY_DELETED: N_("%(who)s deleted a study."),
    Event.STUDY_RESTORED: N_("%(who)s brought a deleted study back."),
    Event.STUDY_CLAIMED: N_("%(who)s said that a study is yours."),
    Event.STUDY_DISOWNED: N_("%(who)s said that a study is not yours."),
    Event.RECORD_CREATED: N_("%(who)s added %(what)s."),
    Event.RECORD_READ: N_("%(who)s read %(what)s."),
    Event.RECORD_UPDATED: N_("%(who)s changed %(what)s."),
    Event.RECORD_DELETED: N_("%(who)s deleted %(what)s."),
    Event.RECORD_SEARCHED: N_("%(who)s searched the record."),
    Event.RECORD_EXPORTED: N_("%(who)s exported the record."),
    Event.ACCESS_REFUSED: N_("%(who)s tried to open something and was refused."),
    Event.SHARE_INVITED: N_("%(who)s invited %(doctor)s."),
    Event.SHARE_RESENT: N_("%(who)s sent the invitation of %(doctor)s again."),
    Event.SHARE_REQUESTED: N_("%(who)s asked for access."),
    Event.SHARE_ACCEPTED: N_("%(who)s accepted the invitation and can see the record."),
    Event.SHARE_GIVEN: N_("%(who)s gave %(doctor)s access."),
    Event.SHARE_DECLINED: N_("%(who)s declined."),
    Event.SHARE_WITHDRAWN: N_("%(who)s withdrew the invitation of %(doctor)s."),
    Event.SHARE_EXPIRED: N_("The invitation of %(doctor)s expired."),
    Event.SHARE_CHANGED: N_("%(who)s changed what %(doctor)s may do."),
    Event.SHARE_ENDED: N_("%(who)s ended sharing with %(doctor)s."),
    Event.LINK_CREATED: N_("%(who)s made a link for %(doctor)s."),
    Event.LINK_OPENED: N_("%(who)s opened the link they were given."),
    Event.LINK_REFUSED: N_("Somebody gave a wrong answer at the link of %(doctor)s."),
    Event.LINK_ENDED: N_("The link of %(doctor)s ended."),
    Event.PASS_CREATED: N_("%(who)s opened a study in a viewer on their computer."),
    Event.PASS_ENDED: N_("%(who)s ended the access of a viewer on a computer."),
    Event.CONSENT_CHANGED: N_("%(who)s changed a permission."),
    Event.APP_AUTHORIZED: N_("%(who)s connected an app."),
    Event.APP_REFUSED: N_("%(who)s did not allow an app."),
    Event.APP_REVOKED: N_("%(who)s disconnected an app."),
    Event.TOKEN_ISSUED: N_("%(who)s received a key to the record."),
    Event.TOKEN_REUSED: N_("A spent key came back; the app it belonged to was shut out."),
    Event.ACCOUNT_CREATED: N_("%(who)s created the account."),
    Event.EMAIL_VERIFIED: N_("%(who)s confirmed the e-mail address."),
    Event.SIGNED_IN: N_("%(who)s signed in."),
    Event.SIGN_IN_FAILED: N_("Somebody tried to sign in with a wrong password."),
    Event.SIGNED_OUT: N_("%(who)s signed out."),
    Event.PASSWORD_CHANGED: N_("%(who)s changed the password."),
    Event.SECOND_STEP_FAILED: N_("Somebody typed the right password and a wrong code."),
    Event.FACTOR_ADDED: N_("%(who)s added a second step to the sign-in."),
    Event.FACTOR_REMOVED: N_("A second step was taken off the sign-in."),
    Event.FACTOR_LOST: N_("Somebody said that the second step of the sign-in is lost."),
    Event.FACTOR_KEPT: N_("The second step of the sign-in stays."),
    Event.CODES_MADE: N_("%(who)s made new recovery codes."),
    Event.EMAIL_CHANGE_ASKED: N_("%(who)s asked to change the e-mail address."),
    Event.EMAIL_CHANGED: N_("%(who)s changed the e-mail address."),
    Event.EMAIL_CHANGE_UNDONE: N_("The change of the e-mail address was taken back."),
    Event.SESSIONS_ENDED: N_("%(who)s signed out other devices."),
    Event.PROFILE_CREATED: N_("%(who)s created the profile."),
    Event.PROFILE_CHANGED: N_("%(who)s changed the profile."),
    Event.PROFILE_CLAIMED: N_("%(who)s took over the profile."),
    Event.RECORDS_MERGED: N_("Another record of the same person became part of this one."),
    Event.RECORDS_PARTED: N_("An operator of this server took apart two records that had been joined."),
    Event.GUARDIAN_INVITED: N_("%(who)s made a code for somebody to act in this record."),
    Event.GUARDIAN_ADDED: N_("%(who)s acts in this record from now on."),
    Event.GUARDIAN_ENDED: N_("%(who)s ended that somebody acts in this record."),
    Event.BREAK_GLASS_ALLOWED: N_("%(who)s allowed doctors to open the record in an emergency."),
    Event.BREAK_GLASS_FORBIDDEN: N_("%(who)s no longer allows the record to be opened in an emergency."),
    Event.BREAK_GLASS_OPENED: N_("%(who)s opened the record in an emergency, for two hours."),
    Event.DATA_EXPORTED: N_("%(who)s had a copy of everything made."),
    Event.DATA_FETCHED: N_("%(who)s downloaded the copy of everything."),
    Event.RECORD_RESTRICTED: N_("%(who)s restricted the record: stored only, shown to nobody else."),
    Event.RECORD_UNRESTRICTED: N_("%(who)s ended the restriction of the record."),
    Event.ERASURE_ASKED: N_("%(who)s asked for everything to be deleted."),
    Event.ERASURE_CANCELLED: N_("%(who)s took back the wish to delete everything."),
    Event.ERASURE_REFUSED: N_("%(who)s wanted everything deleted; a legal hold forbade it."),
    Event.ERASURE_BEGUN: N_("The deletion of everything has begun."),
    Event.ERASURE_DONE: N_("Everything was deleted."),
    Event.HOLD_PLACED: N_("A legal hold was placed on the record: it may not be deleted for now."),
    Event.HOLD_RELEASED: N_("A legal hold on the record ended."),
    Event.DISCLOSED: N_("Something of the record was given to an authority, as the law demands."),
    Event.DISCLOSURE_TOLD: N_("You were told of a disclosure to an authority."),
    Event.POLICY_ANSWERED: N_("%(who)s answered the question that a new version of the policy asks."),
    Event.RESEARCH_JOINED: N_("%(who)s joined a research project: %(project)s."),
    Event.RESEARCH_LEFT: N_("%(who)s left a research project: %(project)s."),
    Event.RESEARCH_GIVEN: N_("Images were given without your name to the project %(project)s."),
    Event.OPERATOR_ACTED: N_("An operator of this server acted on the record."),
    Event.EMERGENCY_BEGUN: N_("An operator of this server opened the record in an emergency."),
    Event.EMERGENCY_ENDED: N_("The emergency access of an operator ended."),
    Event.PROPOSED: N_("An operator of this server proposed an act on the record to another operator."),
    Event.PROPOSAL_DECIDED: N_("A second operator decided about an act on the record."),
}
OTHER = N_("%(who)s did something with the record.")
REASON, REFUSED = N_("The reason given:"), N_("This was refused.")


# What a FHIR resource is to its patient.
THINGS = {
    "Patient": N_("the profile"),
    "ImagingStudy": N_("the description of a study"),
    "DiagnosticReport": N_("a report"),
    "DocumentReference": N_("a document"),
    "Binary": N_("a file"),
    "Consent": N_("a share"),
    "Observation": N_("a measurement"),
    "AuditEvent": N_("this list"),
}
THING = N_("a part of the record")

# What comes in series: many of one kind by one person, one after another, are one line.
MANY: dict[str, str] = {
    Event.STUDY_STORED: N_("%(who)s added images to %(count)d studies."),
    Event.STUDY_VIEWED: N_("%(who)s looked at %(count)d studies."),
    Event.STUDY_DOWNLOADED: N_("%(who)s downloaded original images of %(count)d studies."),
}
WITHIN = timedelta(minutes=30)
LOOKS = (
    Event.STUDY_VIEWED,
    Event.STUDY_DOWNLOADED,
    Event.STUDY_SEARCHED,
    Event.RECORD_READ,
    Event.RECORD_SEARCHED,
    Event.RECORD_EXPORTED,
)


@dataclass(frozen=True)
class Entry:
    """One line of the diary."""

    at: datetime
    sentence: str
    place: str
    refused: bool
    titles: tuple[str, ...] = ()  # of the studies, where the line is about several
    is_look: bool = False  # at something of the record, and not refused

    @property
    def hour(self) -> str:
        return f"{self.at.astimezone(UTC):%H:%M}"


@dataclass(frozen=True)
class Day:
    """The lines of one day."""

    day: str
    entries: list[Entry]


async def entries_of(visit: Visit, happened: list[Happened], patient_id: str) -> list[Entry]:
    """Events in words, with the names of the studies they are about."""
    language, reader = language_of(visit.request, visit.me), str(visit.signed_in.account_id)
    uids = {str(each.detail["study"]) for each in happened if each.detail.get("study")}
    reach = (await visit.reach(STUDY_READ)).at(patient_id)
    titles = await studies.titles(visit.services.db, sorted(uids), reach=reach, language=language)
    places = await _places_of(visit, happened)
    return [_entry(group, language, reader, titles, places) for group in _series(happened)]


async def entry_of(visit: Visit, happened: list[Happened], patient_id: str) -> list[str]:
    """A sentence for each event by itself."""
    language, reader = language_of(visit.request, visit.me), str(visit.signed_in.account_id)
    uids = {str(each.detail["study"]) for each in happened if each.detail.get("study")}
    reach = (await visit.reach(STUDY_READ)).at(patient_id)
    titles = await studies.titles(visit.services.db, sorted(uids), reach=reach, language=language)
    return [_entry([each], language, reader, titles, {}).sentence for each in happened]


async def _places_of(visit: Visit, happened: list[Happened]) -> dict[str, str]:
    """The organization of each doctor and system, by its id."""
    ids = {each.who.practitioner_id or each.who.organization_id or "" for each in happened} - {""}
    rows = await visit.services.db.fetch_all(QUERIES["organizations_of"], {"ids": sorted(ids)})
    return {row["id"]: row["name"] for row in rows if row["name"]}


def _series(happened: list[Happened]) -> list[list[Happened]]:
    """Events one after another that are told as one."""
    groups: list[list[Happened]] = []
    for each in happened:
        last = groups[-1][-1] if groups else None
        if last is not None and each.event in MANY and _alike(last, each):
            groups[-1].append(each)
        else:
            groups.append([each])
    return groups


def _alike(one: Happened, other: Happened) -> bool:
    same = one.event == other.event and one.who == other.who and one.outcome == other.outcome
    return same and one.at - other.at < WITHIN and one.at.date() == other.at.date()


def _entry(
    group: list[Happened], language: str, reader: str, titles: Mapping[str, str], places: Mapping[str, str]
) -> Entry:
    """Events of one kind in words, for the person whose record it is."""
    gettext, first = translations(language).gettext, group[0]
    facts = {
        "who": name_of(first, gettext, reader),
        "doctor": str(first.detail.get("with") or gettext(N_("a doctor"))),
        "project": str(first.detail.get("project") or ""),
    }
    facts["what"] = gettext(THINGS.get(str(first.detail.get("type")), THING))
    named = list(
        dict.fromkeys(titles[uid] for each in group if (uid := str(each.detail.get("study"))) in titles)
    )
    studies_meant = {each.detail.get("study") for each in group}
    if len(studies_meant) > 1:
        sentence = gettext(MANY[first.event]) % (facts | {"count": len(studies_meant)})
    else:
        sentence = gettext(SENTENCES.get(first.event, OTHER)) % facts
        if named:
            sentence = f"{sentence.rstrip('.')}: {named[0]}."
    if first.event == Event.RECORDS_PARTED and (reason := first.detail.get("reason")):
        sentence = f"{sentence} {gettext(REASON)} {reason}"
    refused = first.outcome != Outcome.SUCCESS
    if refused and first.event not in (Event.ACCESS_REFUSED, Event.SIGN_IN_FAILED, Event.LINK_REFUSED):
        sentence = f"{sentence} {gettext(REFUSED)}"
    address = first.who.address
    organization = places.get(first.who.practitioner_id or first.who.organization_id or "", "")
    come = gettext(N_("from %(address)s")) % {"address": address} if address else ""
    place = ", ".join(each for each in (organization, come) if each)
    several = tuple(named) if len(studies_meant) > 1 else ()
    return Entry(first.at, sentence, place, refused, several, first.event in LOOKS and not refused)


def name_of(happened: Happened, gettext: Callable[[str], str], reader: str) -> str:
    who = happened.who
    name = gettext(N_("You")) if str(who.account_id) == reader else who.name or who.client_name or "Lightbox"
    if who.client_name and who.client_name != name:
        return gettext(N_("%(name)s (through %(app)s)")) % {"name": name, "app": who.client_name}
    return name


def by_day(entries: Iterable[Entry], language: str) -> Iterable[Day]:
    for day, group in groupby(entries, key=lambda each: words.day(each.at, language)):
        yield Day(day, list(group))
