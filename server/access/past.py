"""Who may learn of what is not there any more: the rows of a change feed.

An event about something that is gone is told to who could have seen it while it was there, and to nobody else: a
doctor invited today must not learn of what the patient took away yesterday (decision 9).
"""

from __future__ import annotations

from server.storage.where import FALSE, Where

from .lanes import Ground, Lane
from .reach import Reach
from .rows import StudyRow


def past(reach: Reach) -> Where:
    """A condition over a row of table `change` with its `study`, whatever became of that study."""
    return reach._where(_PastStudy, "study")


class _PastStudy(StudyRow):
    def ground(self, lane: Lane, number: int) -> Where:
        whole = super(StudyRow, self).ground(lane, number)  # a study that is deleted is meant here
        match lane.ground:
            case Ground.OWN:
                return whole
            case Ground.SHARE | Ground.SHARE_ORGANIZATION | Ground.BROUGHT | Ground.SERVER:
                return whole & Where("change.open")
        return FALSE

    def _not_suspended(self, lane: Lane) -> str:
        """Within the condition of a share: it was there already when this happened."""
        return f"{super()._not_suspended(lane)} AND share.accepted_at <= change.changed_at"
