"""Which studies somebody sees: the whole record, or a choice that is never left to empty boxes.

Nothing ticked could mean everything or nothing; so the forms ask which of both, and a choice without a study is an
error, and so is a form that says neither: where there is nothing to choose from, it says so and sends the whole.
What is chosen already is always listed, however old it is, for what a form does not list it cannot send back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from server.access.action import STUDY_SEARCH
from server.core.texts import N_
from server.sharing.model import MOST_STUDIES

from . import matches, studies
from .forms import Form
from .pages import language_of
from .studies import Study
from .visit import Visit

WHOLE, CHOSEN = "whole", "chosen"
LISTED = 200  # the newest; older ones are shared from their own page

NOTHING_TICKED = N_("Tick at least one study, or choose the whole record.")
NEITHER = N_("Choose what they see: the whole record, or the studies you tick.")
BOTH = N_("Studies are ticked, but the whole record is chosen: choose one of the two.")


@dataclass(frozen=True)
class Choice:
    """What a form offers."""

    studies: list[Study]
    has_more: bool  # older ones that are not listed

    def __bool__(self) -> bool:
        return bool(self.studies)


async def offered(visit: Visit, patient_id: str, chosen: Sequence[str] = ()) -> Choice:
    """Those of `chosen` that can be shared, then the newest others."""
    reach = (await visit.reach(STUDY_SEARCH)).at(patient_id)
    db, language = visit.services.db, language_of(visit.request, visit.me)
    found = await studies.find(
        db, reach=reach, match=matches.sharable(None), limit=LISTED + 1, language=language
    )
    first: list[Study] = []
    wanted = [each for each in dict.fromkeys(chosen) if studies.is_uid(each)][:MOST_STUDIES]
    if wanted:
        match = matches.sharable(wanted)
        first = await studies.find(db, reach=reach, match=match, limit=MOST_STUDIES, language=language)
    listed = {each.uid for each in first}
    others = [each for each in found[:LISTED] if each.uid not in listed]
    return Choice([*first, *others], len(found) > LISTED)


def which(chosen: Sequence[str] | None) -> dict[str, str]:
    """The button that is pressed in when a form is first shown."""
    return {"which": CHOSEN if chosen else WHOLE}


def read(form: Form) -> list[str] | None:
    """The studies chosen; None for the whole record. Marks what says neither, or both."""
    said, ticked = form["which"], form.all("study")
    if said not in (WHOLE, CHOSEN):
        form.wrong("which", NEITHER)
    elif said == CHOSEN and not ticked:
        form.wrong("which", NOTHING_TICKED)
    elif said == WHOLE and ticked:
        form.wrong("which", BOTH)
    return ticked or None


def read_terms(form: Form, standing: Sequence[str] | None, *, asked: bool) -> list[str] | None:
    """The same, for a share there is: a form without the question (all that was chosen is gone) leaves what stands.

    A request that was `asked` for the whole record and is answered now needs an answer.
    """
    if "which" in form.values or form.has("study") or (asked and standing is None):
        return read(form)
    return list(standing or ()) or None
