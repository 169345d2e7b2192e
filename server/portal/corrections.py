"""Correct details of a study: what the patient says lies over what the images say; every word is kept.

Product row 53. The images stay as they came; what is shown, here and through FHIR, is how the patient says it is.
"""

from __future__ import annotations

from dataclasses import dataclass

from starlette.responses import Response

from server.access.action import STUDY_READ, Action, Verb
from server.core.errors import InvalidInput, NotFound
from server.core.texts import N_, translations
from server.imaging import corrections
from server.imaging.corrections import ATTRIBUTES, Correction

from . import studies, words
from .forms import Form, filled
from .pages import language_of, render, see_other
from .profile import own_id
from .studies import Study
from .visit import Visit

STUDY_UPDATE = Action("ImagingStudy", Verb.UPDATE)

NAMES = {
    "date": N_("Study date"),
    "description": N_("What was done"),
    "modality": N_("Kind of images"),
    "body_part": N_("Part of the body"),
    "name": N_("Name on the images"),
}


@dataclass(frozen=True)
class Word:
    """One word of the history, as the page shows it."""

    said: Correction
    language: str

    @property
    def attribute(self) -> str:
        return self.said.attribute

    @property
    def name(self) -> str:
        return translations(self.language).gettext(NAMES[self.said.attribute])

    @property
    def value(self) -> str:
        return shown(self.said.attribute, self.said.value, self.language)

    @property
    def original(self) -> str:
        return shown(self.said.attribute, self.said.original, self.language)


def shown(attribute: str, value: str, language: str) -> str:
    """A value in words."""
    if attribute == "date":
        return studies.date_in_words(value, language)
    if attribute == "modality":
        gettext = translations(language).gettext
        return ", ".join(gettext(each) for each in words.kinds(value.split("/"))) if value else ""
    return value


async def show(visit: Visit) -> Response:
    """The details as they are shown now, to be written anew."""
    study = await _own(visit)
    return await _page(visit, study, filled(_current(study)))


async def submit(visit: Visit) -> Response:
    """Keep what was changed."""
    study, form, before = await _own(visit), visit.form, {}
    before = _current(study)
    said = {name: form.text(name, required=False) for name in ATTRIBUTES if name in form.values}
    changes = {name: value for name, value in said.items() if value != before[name]}
    reach = await visit.reach(STUDY_UPDATE)
    for name, value in changes.items() if form else ():
        try:
            await corrections.correct(
                visit.services, study.patient_id, study.uid, {name: value}, reach=reach, actor=visit.actor
            )
        except InvalidInput as exc:
            form.refuse(exc, name)
    if not form:
        return await _page(visit, study, form)
    return see_other(f"/studies/{study.uid}", "corrected" if changes else None)


async def undo(visit: Visit) -> Response:
    """Take the latest word on one detail back."""
    study, attribute = await _own(visit), visit.form["attribute"]
    if attribute not in ATTRIBUTES:
        raise NotFound()
    reach = await visit.reach(STUDY_UPDATE)
    await corrections.undo(
        visit.services, study.patient_id, study.uid, attribute, reach=reach, actor=visit.actor
    )
    return see_other(f"/studies/{study.uid}/correct", "undone")


async def _own(visit: Visit) -> Study:
    reach = (await visit.reach(STUDY_READ)).at(await own_id(visit)).of_holder()
    language = language_of(visit.request, visit.me)
    return await studies.one(visit.services.db, visit.place("uid"), reach=reach, language=language)


def _current(study: Study) -> dict[str, str]:
    return study.said | study.corrected


async def _page(visit: Visit, study: Study, form: Form) -> Response:
    reach = (await visit.reach(STUDY_READ)).of_holder()
    said = await corrections.history(visit.services, study.patient_id, study.uid, reach=reach)
    language = study.language
    gettext = translations(language).gettext
    known = sorted({*words.KINDS} - words.NO_KINDS)
    listed = study.said["modality"]
    kinds = [(code, _with_code(gettext(words.KINDS[code]), code)) for code in known]
    if form["modality"] not in known:
        kinds.insert(0, (form["modality"], shown("modality", form["modality"], language) or "–"))
    originals = {name: shown(name, value, language) for name, value in study.said.items() if value}
    return render(
        visit.request,
        "correct.html",
        200 if form else 422,
        here="imaging",
        study=study,
        form=form,
        kinds=kinds,
        listed=listed,
        originals=originals,
        history=[Word(each, language) for each in said],
        in_force={each.attribute for each in said if each.in_force},
    )


def _with_code(name: str, code: str) -> str:
    return name if name == code else f"{name} ({code})"
