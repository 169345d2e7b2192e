"""Who can see a record, for the lines beside each study."""

from __future__ import annotations

from dataclasses import dataclass

from server.access.action import Action, Verb
from server.core.texts import N_, translations
from server.sharing import share
from server.sharing.model import Share, State

from .visit import Visit

CONSENT_READ = Action("Consent", Verb.READ)
ONLY_YOU = N_("only you")
MORE = N_("you, %(name)s and %(count)d more")
ONE = N_("you and %(name)s")


@dataclass(frozen=True)
class Seeing:
    """The living shares of a record."""

    active: tuple[Share, ...] = ()

    def who_see(self, study_uid: str) -> list[Share]:
        """The shares that contain this study."""
        return [each for each in self.active if each.studies is None or study_uid in each.studies]

    def sentence(self, study_uid: str, language: str) -> str:
        """One line: "you, Dr Berg and 2 more"."""
        gettext = translations(language).gettext
        who = self.who_see(study_uid)
        if not who:
            return gettext(ONLY_YOU)
        return gettext(MORE if len(who) > 1 else ONE) % {"name": who[0].name, "count": len(who) - 1}


NOBODY = Seeing()


async def of(visit: Visit, patient_id: str) -> Seeing:
    """The shares of a record that hold now."""
    reach = await visit.reach(CONSENT_READ)
    listed = await share.list_for_patient(visit.services, patient_id, reach=reach)
    return Seeing(tuple(each for each in listed if each.state is State.ACTIVE))
