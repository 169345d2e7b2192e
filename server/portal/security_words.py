"""Sign-ins in words: devices, second steps, and what the log says about an account."""

from __future__ import annotations

from typing import Any

from server.audit import account_events
from server.audit.events import Event
from server.core.texts import N_

from .visit import Visit

FACTORS = {
    "": N_("Password"),
    "totp": N_("Password and app"),
    "passkey": N_("Passkey"),
    "recovery": N_("Password and recovery code"),
}
SENTENCES: dict[str, str] = {
    Event.SIGNED_IN: N_("Signed in"),
    Event.SIGNED_OUT: N_("Signed out"),
    Event.SIGN_IN_FAILED: N_("Wrong password"),
    Event.SECOND_STEP_FAILED: N_("Right password, wrong code"),
    Event.PASSWORD_CHANGED: N_("Password changed"),
    Event.FACTOR_ADDED: N_("Second step added"),
    Event.FACTOR_REMOVED: N_("Second step removed"),
    Event.FACTOR_LOST: N_("Second step said to be lost"),
    Event.FACTOR_KEPT: N_("Second step kept"),
    Event.CODES_MADE: N_("Recovery codes made"),
    Event.EMAIL_CHANGE_ASKED: N_("Change of e-mail address asked for"),
    Event.EMAIL_CHANGED: N_("E-mail address changed"),
    Event.EMAIL_CHANGE_UNDONE: N_("Change of e-mail address taken back"),
    Event.EMAIL_VERIFIED: N_("E-mail address confirmed"),
    Event.SESSIONS_ENDED: N_("Other devices signed out"),
    Event.ACCOUNT_CREATED: N_("Account created"),
    Event.REGISTRATION_CHANGED: N_("Registration as a doctor changed"),
    Event.DOCTOR_PAGE_CHANGED: N_("Page for patients made, reset or closed"),
}


async def history(visit: Visit, gettext: Any) -> list[dict[str, Any]]:
    """What happened around this account's sign-in, newest first."""
    found = await account_events.of_account(visit.services.db, visit.signed_in.account_id)
    return [
        {"at": each.at, "what": gettext(SENTENCES[each.event]), "refused": each.outcome != "success"}
        for each in found
        if each.event in SENTENCES
    ]


def device(user_agent: str) -> str:
    """A browser and its system, roughly, as a person would name them."""
    browsers = (
        ("Edg/", "Edge"),
        ("OPR/", "Opera"),
        ("Firefox/", "Firefox"),
        ("Chrome/", "Chrome"),
        ("Safari/", "Safari"),
    )
    systems = (
        ("iPhone", "iPhone"), ("iPad", "iPad"), ("Android", "Android"), ("Windows", "Windows"),
        ("Mac OS X", "Mac"), ("Linux", "Linux"),
    )  # fmt: skip
    browser = next((name for mark, name in browsers if mark in user_agent), "")
    system = next((name for mark, name in systems if mark in user_agent), "")
    return " · ".join(each for each in (browser, system) if each)
