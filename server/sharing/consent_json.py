"""A share as FHIR Consent, and what a Consent asks for as a share. Pure functions.

FHIR R4 Consent; IHE Privacy Consent on FHIR (PCF) 1.1, 3:5.7: an explicit permit, its recipient, its purpose, its
data. The status of FHIR has fewer words than we have states: the exact one rides in an extension, and so do the
rights, for R4 has no codes for them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from server.access.action import Right
from server.core import clock
from server.core.errors import Unprocessable
from server.records.names import spoken

from . import pcf
from .model import LIVING, Share, State

Json = dict[str, Any]

# Names of our own; they stay the same wherever a server stands.
STATE = "urn:lightbox:fhir:extension:share-state"
PARENT = "urn:lightbox:fhir:extension:share-parent"  # the Consent it was passed on under
RIGHT = "urn:lightbox:fhir:extension:share-right"
POLICY = "urn:lightbox:policy:sharing:1"

SCOPE_SYSTEM = "http://terminology.hl7.org/CodeSystem/consentscope"
PRIVACY = "patient-privacy"
CATEGORY = {"system": "http://loinc.org", "code": "59284-0", "display": "Consent Document"}
ROLE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ParticipationType", "code": "IRCP"}
PURPOSE = {"system": "http://terminology.hl7.org/CodeSystem/v3-ActReason", "code": "TREAT"}

STATUS = {
    State.REQUESTED: "proposed",
    State.INVITED: "proposed",
    State.ACTIVE: "active",
    State.DECLINED: "rejected",
    State.WITHDRAWN: "inactive",
    State.EXPIRED: "inactive",
    State.ENDED: "inactive",
}

OVER_STATUS = ("rejected", "inactive", "entered-in-error")

# Without our extension, the action codes of R4 say what is given; without those, seeing in every form.
RIGHTS_OF_ACTION = {
    "access": (Right.IMAGES, Right.REPORTS),
    "use": (Right.IMAGES, Right.REPORTS, Right.DOWNLOAD),
    "disclose": (Right.PASS_ON,),
    "collect": (Right.ADD,),
    "correct": (Right.ADD,),
}
RIGHTS_UNSAID = frozenset({Right.IMAGES, Right.REPORTS, Right.DOWNLOAD})
RECIPIENT_ROLES = frozenset({"IRCP", "PRCP"})

# What would narrow a permit in ways that nothing here enforces.
UNENFORCED = ("provision", "securityLabel", "class", "code", "dataPeriod")


@dataclass(frozen=True)
class Terms:
    """What a Consent asks for."""

    recipient: str | None  # "Practitioner/<id>" or "Organization/<id>"
    name: str
    email: str
    rights: frozenset[Right]
    study_ids: tuple[str, ...] | None  # FHIR ids of ImagingStudy; None: everything
    until: datetime | None


class NotEnforceable(Unprocessable):
    """This Consent says more than this server can enforce."""


def consent_of(share: Share, study_ids: Mapping[str, str], before: Json | None = None) -> Json:
    """The Consent of a share; what a client added to `before` stays.

    `study_ids` gives the FHIR id of each chosen study.
    """
    consent = dict(before or _frame(share))
    was = consent.get("provision", {})
    consent["status"] = _status(share, consent.get("status"))
    consent["extension"] = with_state(consent.get("extension", []), share.stored_state)
    consent["provision"] = _provision(share, study_ids, was)
    contained = _contained(share, consent.get("contained", []), was, consent["provision"])
    consent.pop("contained", None)
    whole = consent | {"contained": contained} if contained else consent
    # What a client sent claims what the client said.
    return pcf.claimed(whole) if before is None or pcf.is_claimed(before) else whole


def _status(share: Share, said: str | None) -> str:
    """The word of FHIR for the state; a client's own word for what is over stays (entered-in-error, rejected)."""
    if share.stored_state not in LIVING and said in OVER_STATUS:
        return said
    return STATUS[share.stored_state]


def _frame(share: Share) -> Json:
    frame = frame_of(share.id, share.patient_id, share.created_at)
    if share.parent_id:
        parent = {"url": PARENT, "valueReference": {"reference": f"Consent/{share.parent_id}"}}
        frame["extension"] = [parent]
    return frame


def frame_of(id: str, patient_id: str, created_at: datetime) -> Json:
    """What every Consent of ours begins with."""
    patient = {"reference": f"Patient/{patient_id}"}
    return {
        "resourceType": "Consent",
        "id": id,
        "extension": [],
        "scope": {"coding": [{"system": SCOPE_SYSTEM, "code": PRIVACY}]},
        "category": [{"coding": [CATEGORY]}],
        "patient": patient,
        "dateTime": instant(created_at),
        "performer": [patient],
        "organization": [{"type": "Organization", "display": "Lightbox"}],
        "sourceAttachment": {"title": "Agreed to in the portal, in the words of the policy"},
        "policy": [{"uri": POLICY}],
    }


def _provision(share: Share, study_ids: Mapping[str, str], before: Json) -> Json:
    others = [each for each in before.get("extension", []) if each.get("url") != RIGHT]
    rights = [{"url": RIGHT, "valueCode": str(right)} for right in Right if right in share.rights]
    provision = {
        **before,
        "extension": others + rights,
        "type": "permit",
        "period": _period(share, before.get("period", {})),
        "actor": [_actor(share, *before.get("actor", [])[:1])],
        "purpose": before.get("purpose") or [PURPOSE],
    }
    data = _data(share, study_ids)
    provision.pop("data", None)
    return provision | {"data": data} if data else provision


def _data(share: Share, study_ids: Mapping[str, str]) -> list[Json]:
    references = (f"ImagingStudy/{study_ids[uid]}" for uid in share.studies or () if uid in study_ids)
    return [{"meaning": "instance", "reference": {"reference": each}} for each in references]


def _period(share: Share, before: Json) -> Json:
    """From when to when it holds: a client's own words where they say the same."""
    begin, period = share.accepted_at or share.created_at, dict(before)
    if period.get("start") in (None, instant(share.created_at)):
        period["start"] = instant(begin)
    end = period.pop("end", None)
    if share.ended_at is not None:
        return period | {"end": instant(max(share.ended_at, begin))}
    if share.until is None:
        return period
    same = end is not None and end_of_moment(str(end)) == share.until
    return period | {"end": end if same else instant(share.until)}


def _actor(share: Share, before: Json | None = None) -> Json:
    kept = before or {"role": {"coding": [ROLE]}}
    reference = str(kept.get("reference", {}).get("reference", ""))
    bound = _bound_to(share)
    if reference and bound in (None, reference):
        return kept  # as the client named the one it waits for
    return {**kept, "reference": {"reference": bound or "#recipient", "display": share.name}}


def _bound_to(share: Share) -> str | None:
    if share.practitioner_id:
        return f"Practitioner/{share.practitioner_id}"
    return f"Organization/{share.organization_id}" if share.organization_id else None


def _contained(share: Share, contained: list[Json], was: Json, provision: Json) -> list[Json]:
    """The invited doctor by e-mail, until there is a Practitioner to point to (dom-3: nothing unreferenced)."""
    before = {_local(actor) for actor in was.get("actor", [])}
    local = _local(provision["actor"][0])
    kept = [each for each in contained if each.get("id") not in before or each.get("id") == local]
    if local is None or any(each.get("id") == local for each in kept):
        return kept
    telecom = [{"system": "email", "value": share.email}]
    return [
        *kept,
        {"resourceType": "Practitioner", "id": local, "name": [{"text": share.name}], "telecom": telecom},
    ]


def _local(actor: Json) -> str | None:
    reference = str(actor.get("reference", {}).get("reference", ""))
    return reference[1:] if reference.startswith("#") else None


def with_state(extensions: list[Json], state: State) -> list[Json]:
    """The exact state beside R4's fewer words."""
    others = [each for each in extensions if each.get("url") != STATE]
    return [*others, {"url": STATE, "valueCode": str(state)}]


def instant(moment: datetime) -> str:
    """A moment as FHIR writes it, to the millisecond."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def is_about_sharing(consent: Json) -> bool:
    """Is this a consent to disclosure (as against research, treatment, advance directives)?"""
    return any(code == PRIVACY for _, code in _codings(consent.get("scope")))


def terms_of(consent: Json) -> Terms:
    """What the Consent asks for; raises NotEnforceable when it says more (or other) than a share can."""
    provision = consent.get("provision") or {}
    for element in UNENFORCED:
        if provision.get(element):
            raise NotEnforceable(_sentence(element), expression=f"Consent.provision.{element}")
    if consent.get("modifierExtension") or provision.get("modifierExtension"):
        raise NotEnforceable("This server knows no modifier extension of Consent.", expression="Consent")
    if (start := provision.get("period", {}).get("start")) and start_of_moment(str(start)) > clock.now():
        raise NotEnforceable(
            "A share starts at once, not later.", expression="Consent.provision.period.start"
        )
    if provision.get("type") != "permit":
        raise NotEnforceable("Only a permit can be enforced.", expression="Consent.provision.type")
    _require_treatment(provision)
    recipient, name, email = _recipient_of(consent, provision)
    return Terms(recipient, name, email, _rights_of(provision), _studies_of(provision), _end_of(provision))


def _sentence(element: str) -> str:
    return f"A Consent with provision.{element} says more than this server can enforce."


def _require_treatment(provision: Json) -> None:
    codes = {each.get("code") for each in provision.get("purpose", [])}
    if codes - {"TREAT"}:
        raise NotEnforceable("Sharing is for treatment (TREAT) only.", expression="Consent.provision.purpose")


def _recipient_of(consent: Json, provision: Json) -> tuple[str | None, str, str]:
    actors = provision.get("actor", [])
    if len(actors) != 1:
        raise NotEnforceable("A Consent names one recipient.", expression="Consent.provision.actor")
    [actor] = actors
    roles = {code for _, code in _codings(actor.get("role"))}
    if not roles & RECIPIENT_ROLES:
        raise NotEnforceable(
            "The role of the recipient is IRCP.", expression="Consent.provision.actor[0].role"
        )
    target: Json = actor.get("reference", {})
    reference = str(target.get("reference", ""))
    name = str(target.get("display", ""))
    if reference.startswith("#"):
        return None, *_of_contained(consent, reference[1:], name)
    if re.fullmatch(r"(Practitioner|Organization)/[A-Za-z0-9\-.]{1,64}", reference):
        return reference, name, ""
    raise NotEnforceable(
        "The recipient is a Practitioner or Organization here, or a contained Practitioner with an e-mail.",
        expression="Consent.provision.actor[0].reference",
    )


def _of_contained(consent: Json, local: str, name: str) -> tuple[str, str]:
    for each in consent.get("contained", []):
        if each.get("id") == local and each.get("resourceType") == "Practitioner":
            emails = [one.get("value", "") for one in each.get("telecom", []) if one.get("system") == "email"]
            if emails:
                return _name_of(each) or name or emails[0], emails[0]
    raise NotEnforceable("The contained recipient has no e-mail.", expression="Consent.contained")


def _name_of(practitioner: Json) -> str:
    for name in practitioner.get("name", []):
        if text := spoken(name):
            return text
    return ""


def _rights_of(provision: Json) -> frozenset[Right]:
    said = [each.get("valueCode") for each in provision.get("extension", []) if each.get("url") == RIGHT]
    codes = [code for each in provision.get("action", []) for _, code in _codings(each)]
    try:
        if said:
            return frozenset(Right(each) for each in said)
        if codes:
            return frozenset(right for code in codes for right in RIGHTS_OF_ACTION[code])
    except (ValueError, KeyError) as exc:
        raise NotEnforceable(
            "This server does not know that action.", expression="Consent.provision.action"
        ) from exc
    return RIGHTS_UNSAID


def _studies_of(provision: Json) -> tuple[str, ...] | None:
    data = provision.get("data", [])
    if not data:
        return None
    return tuple(_study_of(each, number) for number, each in enumerate(data))


def _study_of(data: Json, number: int) -> str:
    reference = str(data.get("reference", {}).get("reference", ""))
    if data.get("meaning") != "instance" or not reference.startswith("ImagingStudy/"):
        raise NotEnforceable(
            "Chosen data are ImagingStudy resources, each meant as itself (instance).",
            expression=f"Consent.provision.data[{number}]",
        )
    return reference.removeprefix("ImagingStudy/")


def _end_of(provision: Json) -> datetime | None:
    end = provision.get("period", {}).get("end")
    return end_of_moment(str(end)) if end else None


def end_of_moment(text: str) -> datetime:
    """The first moment after a FHIR dateTime, which may be a whole day, month or year (R4 2.24.0.8)."""
    if "T" in text:
        return start_of_moment(text)
    day, precision = start_of_moment(text).date(), text.count("-")
    if precision == 2:
        day += timedelta(days=1)
    else:
        months = day.year * 12 + day.month - 1 + (1 if precision else 12)
        day = date(months // 12, months % 12 + 1, 1)
    return datetime.combine(day, time(), UTC)


def start_of_moment(text: str) -> datetime:
    """The first moment of a FHIR dateTime; without a timezone it is UTC."""
    full = text if "T" in text else f"{text}-01-01"[:10] if text.count("-") == 0 else f"{text}-01"[:10]
    moment = datetime.fromisoformat(full)
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


def _codings(concept: Any) -> Iterator[tuple[str, str]]:
    for coding in (concept or {}).get("coding", []):
        yield str(coding.get("system", "")), str(coding.get("code", ""))
