"""Reach: the data a caller may touch, as a condition that goes into the statement that touches it.

A `Reach` is a union of lanes; a lane says on which ground a patient's data is open (it is mine, it was shared with
me, my organization brought it) and what narrows it (a right of the share, the patient in context, a scope's
filters). Each condition is asked of living rows (holder, share, session, grant) inside the same statement: a share
that ended a millisecond ago is ended. No lane: nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache

from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .action import Action, Verb
from .actor import Credential
from .lanes import Asked, Ground, Lane, widest
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
        return self._where(StudyRow, alias)

    def resources(self, alias: str = "resource") -> Where:
        """A condition over a row of table `resource`, of the action's type."""
        return self._where(ResourceRow, alias)

    def versions(self, alias: str = "old", current: str = "resource") -> Where:
        """A condition over a row of `resource_version` beside the `resource` it is of: each lies within reach.

        A version that the caller might not have read then is not shown because it was changed since.
        """
        return all_of(self.resources(current), self._where(VersionRow, alias))

    def patients(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`."""
        return self._where(PatientRow, alias)

    def stores(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`, beside `asked`, a row of what is stored there."""
        return self._where(StoringRow, alias)

    def of_holder(self) -> Reach:
        """The part that comes from holding the profile."""
        return replace(self, lanes=tuple(lane for lane in self.lanes if lane.ground is Ground.OWN))

    @property
    def organizations(self) -> frozenset[str]:
        """The organizations whose identifiers a store may match (decision 6)."""
        return frozenset(lane.holder for lane in self.lanes if lane.ground is Ground.BROUGHT)

    def _where(self, kind: Callable[[str, Asked], Row], alias: str) -> Where:
        """The condition as it is for every request of this caller, asked of this moment."""
        timeless = _condition(
            kind, alias, self.action, self.lanes, self.credential, self.root, self.by_address
        )
        if _NOW not in timeless.values:
            return timeless
        return Where(timeless.sql, {**timeless.values, _NOW: self.now})


_NOW = "reach_now"  # the one value of a condition that is of the moment
_ANY = datetime.fromtimestamp(0, UTC)


@lru_cache(maxsize=2_000)
def _condition(
    kind: Callable[[str, Asked], Row],
    alias: str,
    action: Action,
    lanes: tuple[Lane, ...],
    credential: Credential,
    root: str | None,
    by_address: bool,
) -> Where:
    """What is asked of a row, made once for a caller and an action: text and values follow from them alone.

    Whether it holds is asked of living rows each time; nothing of that is kept.
    """
    if not lanes:
        return FALSE
    reach = Asked(action, widest(lanes), credential, root, _ANY, by_address)
    row = kind(alias, reach)
    open_to = any_of(*(row.lane(lane, number) for number, lane in enumerate(reach.lanes)))
    return all_of(open_to, *row.bounds(), *row.root(), *alive(reach.credential, reach.now))


NOTHING = Reach(Action("", Verb.READ))

__all__ = ["NOTHING", "TRUE", "Ground", "Lane", "Reach", "alive"]
