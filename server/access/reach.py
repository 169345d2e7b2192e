"""Reach: the data a caller may touch, as a condition that goes into the statement that touches it.

A `Reach` is a union of lanes; a lane says on which ground a patient's data is open (it is mine, it was shared with
me, my organization brought it) and what narrows it (a right of the share, the patient in context, a scope's
filters). Each condition is asked of living rows (holder, share, session, grant) inside the same statement: a share
that ended a millisecond ago is ended. No lane: nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .action import Action, Verb
from .lanes import Asked, Ground, Lane
from .liveness import alive
from .resource_rows import ResourceRow, VersionRow
from .rows import PatientRow, Row, StoringRow, StudyRow


@dataclass(frozen=True)
class Reach(Asked):
    """Whose data an action may touch. Built by the gate only."""

    def __bool__(self) -> bool:
        return bool(self.lanes)

    def at(self, patient_id: str) -> Reach:
        """The same, narrowed to one patient."""
        return replace(self, root=patient_id, by_address=False)

    def studies(self, alias: str = "study") -> Where:
        """A condition over a row of table `study`."""
        return self._where(StudyRow(alias, self))

    def resources(self, alias: str = "resource") -> Where:
        """A condition over a row of table `resource`, of the action's type."""
        return self._where(ResourceRow(alias, self))

    def versions(self, alias: str = "old", current: str = "resource") -> Where:
        """A condition over a row of `resource_version` beside the `resource` it is of: each lies within reach.

        A version that the caller might not have read then is not shown because it was changed since.
        """
        return all_of(self.resources(current), self._where(VersionRow(alias, self)))

    def patients(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`."""
        return self._where(PatientRow(alias, self))

    def stores(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`, in a statement that stores `:study_uid` there."""
        return self._where(StoringRow(alias, self))

    def of_holder(self) -> Reach:
        """The part that comes from holding the profile."""
        return replace(self, lanes=tuple(lane for lane in self.lanes if lane.ground is Ground.OWN))

    @property
    def organizations(self) -> frozenset[str]:
        """The organizations whose identifiers a store may match (decision 6)."""
        return frozenset(lane.holder for lane in self.lanes if lane.ground is Ground.BROUGHT)

    def _where(self, row: Row) -> Where:
        if not self.lanes:
            return FALSE
        open_to = any_of(*(row.lane(lane, number) for number, lane in enumerate(self.lanes)))
        return all_of(open_to, *row.bounds(), *row.root(), *alive(self.credential, self.now))


NOTHING = Reach(Action("", Verb.READ))

__all__ = ["NOTHING", "TRUE", "Ground", "Lane", "Reach", "alive"]
