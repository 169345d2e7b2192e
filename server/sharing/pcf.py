"""IHE Privacy Consent on FHIR: which of its profiles a Consent of ours has all of.

IHE ITI PCF 1.1, profiles consentFoundation, consentBasic, consentIntermediate. Basic permits somebody something for a
purpose and a time; intermediate says which data besides, here chosen studies (data meant as themselves).
"""

from __future__ import annotations

from typing import Any

Json = dict[str, Any]

_BASE = "https://profiles.ihe.net/ITI/PCF/StructureDefinition/IHE.PCF."
BASIC = f"{_BASE}consentBasic"
INTERMEDIATE = f"{_BASE}consentIntermediate"
_PURPOSES = frozenset({"TREAT", "HPAYMT", "HOPERAT", "BTG"})
_NEEDED = ("status", "scope", "category", "patient", "dateTime", "performer", "organization", "policy")


def profile_of(consent: Json) -> str | None:
    """The narrowest profile that the Consent has everything of, None where it has less or more."""
    provision = consent.get("provision") or {}
    if not _is_founded(consent, provision) or provision.get("securityLabel"):
        return None
    if provision.get("data") or provision.get("dataPeriod") or provision.get("provision"):
        meanings = {each.get("meaning") for each in provision.get("data", [])}
        return INTERMEDIATE if meanings <= {"instance", "related", "authoredby"} else None
    purposes = {each.get("code") for each in provision.get("purpose", [])}
    return BASIC if purposes <= _PURPOSES else None


def _is_founded(consent: Json, provision: Json) -> bool:
    """consentFoundation: what must be there, and what PCF has no use for."""
    policies = consent["policy"] if isinstance(consent.get("policy"), list) else []
    return (
        all(consent.get(name) for name in _NEEDED)
        and ("sourceAttachment" in consent or "sourceReference" in consent)
        and all(each.get("uri") and "authority" not in each for each in policies)
        and not any(name in consent for name in ("policyRule", "verification"))
        and "type" in provision
        and not any(provision.get(name) for name in ("action", "class", "code"))
    )


def claimed(consent: Json) -> Json:
    """The Consent, claiming the profile that it has now and none that it had."""
    meta = dict(consent.get("meta", {}))
    profiles = [each for each in meta.pop("profile", []) if not each.startswith(_BASE)]
    if found := profile_of(consent):
        profiles.append(found)
    if profiles:
        meta["profile"] = profiles
    rest = {name: value for name, value in consent.items() if name != "meta"}
    return {**rest, "meta": meta} if meta else rest


def is_claimed(consent: Json) -> bool:
    """Whether it claims one of them."""
    return any(each.startswith(_BASE) for each in consent.get("meta", {}).get("profile", []))
