"""What a lane asks of a row: of any row of a patient's, of the patient, of a study.

Each answer is a condition over living rows (holder, share, guest link), to stand in the statement that touches the
row; see `reach`.
"""

from __future__ import annotations

from collections.abc import Iterator

from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .action import READING, Verb
from .filters import study_filter
from .lanes import Asked, Ground, Lane

# Where the record of an address went: it keeps working (sharing/merging.py).
_MERGED_INTO = (
    "(SELECT merger.patient_id FROM merger WHERE merger.source_id = :reach_root AND merger.undone_at IS NULL)"
)


class Row:
    """A row that a reach asks about; subclasses know where the patient and the study stand in it."""

    def __init__(self, alias: str, reach: Asked) -> None:
        self.alias = alias
        self.reach = reach
        self.patient = f"{alias}.patient_id"

    def lane(self, lane: Lane, number: int) -> Where:
        parts = [self.ground(lane, number)]
        if lane.patient is not None:
            parts.append(
                Where(f"{self.patient} = :lane{number}_patient", {f"lane{number}_patient": lane.patient})
            )
        return all_of(*parts, *self.narrowed(lane, number))

    def root(self) -> Iterator[Where]:
        if self.reach.root is not None:
            root = f"coalesce({_MERGED_INTO}, :reach_root)" if self.reach.by_address else ":reach_root"
            yield Where(f"{self.patient} = {root}", {"reach_root": self.reach.root})

    def ground(self, lane: Lane, number: int) -> Where:
        state = self._state_on(lane)
        match lane.ground:
            case Ground.OWN:
                return self._own(lane, number)
            case Ground.SHARE | Ground.SHARE_ORGANIZATION:
                return all_of(self._share(lane, number), state)
            case Ground.BROUGHT:
                return all_of(self.brought(lane, number), *self._unclaimed(), state)
            case Ground.LINK:
                return all_of(self._link(lane, number), state)
            case Ground.EMERGENCY:
                return all_of(self._emergency(lane, number), state)
            case Ground.RESEARCH:
                return all_of(self._research(lane, number), state)
            case Ground.SERVER:
                return state
        return FALSE

    def bounds(self) -> Iterator[Where]:
        """Beside several lanes, a wider condition that an index answers: their OR alone reads the whole table."""
        if len(self.reach.lanes) < 2:
            return
        found = [self.bound(lane, number) for number, lane in enumerate(self.reach.lanes)]
        if None not in found:
            yield any_of(*(each for each in found if each is not None))

    def bound(self, lane: Lane, number: int) -> Where | None:
        """What `ground` implies of this row, in a form that an index answers; None where there is none."""
        match lane.ground:
            case Ground.OWN:
                holders = f"SELECT own.patient_id FROM holder AS own WHERE own.account_id = :lane{number}_holder::uuid"
            case Ground.SHARE | Ground.SHARE_ORGANIZATION:
                column = "practitioner_id" if lane.ground is Ground.SHARE else "organization_id"
                holders = (
                    f"SELECT lent.patient_id FROM share AS lent WHERE lent.{column} = :lane{number}_holder"
                    f" AND lent.state = 'active'"
                )
            case _:
                return None
        return Where(f"{self.patient} = ANY (ARRAY({holders}))", {f"lane{number}_holder": lane.holder})

    def brought(self, lane: Lane, number: int) -> Where:
        return FALSE

    def narrowed(self, lane: Lane, number: int) -> Iterator[Where]:
        return iter(())

    def chosen(self) -> str:
        """Within a share of chosen studies: SQL that this row belongs to one of them."""
        return "true"

    @property
    def _look_up(self) -> str:
        """Beside other lanes, and where a lane is of everybody's, what an EXISTS ends with: asked of each row, or the
        planner reads all there is first."""
        lanes = self.reach.lanes
        return " OFFSET 0" if len(lanes) > 1 or any(lane.ground is Ground.SERVER for lane in lanes) else ""

    def _own(self, lane: Lane, number: int) -> Where:
        return Where(
            f"EXISTS (SELECT 1 FROM holder{self._held}"
            f" WHERE holder.patient_id = {self.patient} AND holder.account_id = :lane{number}_holder::uuid"
            f" AND (holder.until IS NULL OR holder.until > :reach_now) AND {self._held_state} {self._own_states}"
            f"{self._look_up})",
            {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    # Where the state of the patient that is held stands; beside a row of its own, nothing need be joined.
    _held = " JOIN patient AS held ON held.id = holder.patient_id"
    _held_state = "held.state"

    @property
    def _own_states(self) -> str:
        """While a record is restricted its owner goes on; apps the owner once allowed may store, no more (row 55)."""
        by_app = self.reach.credential.grant_id is not None and self.reach.action.verb is not Verb.CREATE
        return "= 'active'" if by_app else "IN ('active', 'restricted')"

    def _share(self, lane: Lane, number: int) -> Where:
        column = "practitioner_id" if lane.ground is Ground.SHARE else "organization_id"
        right = self._right(lane, number)
        return Where(
            f"EXISTS (SELECT 1 FROM share WHERE share.patient_id = {self.patient}"
            f" AND share.{column} = :lane{number}_holder AND share.state = 'active'"
            f" AND (share.until IS NULL OR share.until > :reach_now) AND {right.sql}"
            f" AND (share.studies IS NULL OR {self.chosen()}){self._not_suspended(lane)}{self._look_up})",
            {**right.values, f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    def _link(self, lane: Lane, number: int) -> Where:
        """The link lives; it stands under the name of a share, for `chosen` is the same."""
        right = self._right(lane, number)
        return Where(
            f"EXISTS (SELECT 1 FROM guest_link AS share WHERE share.patient_id = {self.patient}"
            f" AND share.id = :lane{number}_holder AND share.ended_at IS NULL AND share.until > :reach_now"
            f" AND {right.sql} AND (share.studies IS NULL OR {self.chosen()}))",
            {**right.values, f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    def _right(self, lane: Lane, number: int) -> Where:
        """That a share or a link gives the rights asked for."""
        if not lane.rights:
            return TRUE
        rights = [str(each) for each in lane.rights]
        return Where(f"share.rights @> :lane{number}_rights::text[]", {f"lane{number}_rights": rights})

    def _emergency(self, lane: Lane, number: int) -> Where:
        return Where(
            f"EXISTS (SELECT 1 FROM emergency_access WHERE emergency_access.patient_id = {self.patient}"
            f" AND emergency_access.account_id = :lane{number}_holder::uuid AND emergency_access.ended_at IS NULL"
            f" AND emergency_access.until > :reach_now{self._look_up})",
            {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    def _research(self, lane: Lane, number: int) -> Where:
        """Its own person takes part in a project that goes on, and the permission for such projects holds."""
        return Where(
            f"EXISTS (SELECT 1 FROM research_member AS member JOIN research_project AS project"
            f" ON project.id = member.project_id JOIN holder ON holder.patient_id = member.patient_id"
            f" AND holder.account_id = member.account_id AND holder.as_what = 'self'"
            f" AND (holder.until IS NULL OR holder.until > :reach_now)"
            f" WHERE member.patient_id = {self.patient} AND member.project_id = :lane{number}_holder::uuid"
            f" AND member.left_at IS NULL AND project.approved_at IS NOT NULL AND project.ended_at IS NULL"
            f" AND project.until > :reach_now AND (SELECT permission.given FROM permission"
            f" WHERE permission.account_id = member.account_id AND permission.purpose = project.purpose"
            f" ORDER BY permission.at DESC, permission.id DESC LIMIT 1){self._look_up})",
            {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    def _not_suspended(self, lane: Lane) -> str:
        if lane.ground is not Ground.SHARE:
            return ""
        return (
            " AND EXISTS (SELECT 1 FROM practitioner WHERE practitioner.id = share.practitioner_id"
            " AND practitioner.verification <> 'suspended')"
        )

    def _unclaimed(self) -> Iterator[Where]:
        """What an organization brought it may take away again, until somebody owns the profile."""
        if self.reach.action.verb is Verb.DELETE:
            yield Where(
                f"EXISTS (SELECT 1 FROM patient AS owned WHERE owned.id = {self.patient}"
                f" AND owned.claimed_at IS NULL)"
            )

    def _state_on(self, lane: Lane) -> Where:
        """In which states a record is open to others; to its owner, see `_own_states`.

        Restriction closes reads by others; what an organization brings is still stored (product row 55).
        """
        if lane.ground in (Ground.BROUGHT, Ground.SERVER) and self.reach.action.verb not in READING:
            return self._state("active", "restricted")
        return self._state("active")

    def _state(self, *states: str) -> Where:
        listed = ", ".join(f"'{state}'" for state in states)
        return Where(
            f"EXISTS (SELECT 1 FROM patient AS whose WHERE whose.id = {self.patient} AND whose.state IN ({listed})"
            f"{self._look_up})"
        )


class PatientRow(Row):
    def __init__(self, alias: str, reach: Asked) -> None:
        super().__init__(alias, reach)
        self.patient = f"{alias}.id"
        self._held, self._held_state = "", f"{alias}.state"

    def _state(self, *states: str) -> Where:
        listed = ", ".join(f"'{state}'" for state in states)
        return Where(f"{self.alias}.state IN ({listed})")

    def brought(self, lane: Lane, number: int) -> Where:
        """The organization made the profile, or holds an identifier of it."""
        return Where(
            f"({self.alias}.created_by_organization = :lane{number}_holder OR EXISTS (SELECT 1"
            f" FROM patient_identifier WHERE patient_identifier.patient_id = {self.patient}"
            f" AND patient_identifier.organization_id = :lane{number}_holder))",
            {f"lane{number}_holder": lane.holder},
        )


class StoringRow(PatientRow):
    """A patient to whom a study is stored: a share of chosen studies lets add to those only."""

    def chosen(self) -> str:
        return "asked.study_uid = ANY (share.studies)"


def came_from(study: str, holder: str, verb: Verb) -> str:
    """SQL: the organization brought this study, or it reads one of which it sent every instance that is to be seen.

    What somebody else added keeps that study from it, until a share: it knows what it sent, and nothing more.
    """
    brought = f"{study}.organization_id = {holder}"
    if verb not in READING:
        return brought
    sent = (
        f"SELECT FROM resent WHERE resent.patient_id = held.patient_id AND resent.sop_uid = held.sop_uid"
        f" AND resent.organization_id = {holder}"
    )
    others = (
        f"SELECT FROM instance AS held JOIN series AS its ON its.patient_id = held.patient_id"
        f" AND its.study_uid = held.study_uid AND its.series_uid = held.series_uid"
        f" WHERE held.patient_id = {study}.patient_id AND held.study_uid = {study}.study_uid"
        f" AND held.deleted_at IS NULL AND its.deleted_at IS NULL AND NOT EXISTS ({sent})"
    )
    return f"({brought} OR {study}.resent_by @> ARRAY[{holder}::text] AND NOT EXISTS ({others}))"


class StudyRow(Row):
    def __init__(self, alias: str, reach: Asked) -> None:
        super().__init__(alias, reach)
        self._held, self._held_state = "", f"{alias}.patient_state"

    def ground(self, lane: Lane, number: int) -> Where:
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        seen = f"{self.alias}.deleted_at IS NULL AND {self.alias}.standing {standing}"
        return super().ground(lane, number) & Where(seen)

    def bound(self, lane: Lane, number: int) -> Where | None:
        if lane.ground is not Ground.BROUGHT:
            return super().bound(lane, number)
        holder = f":lane{number}_holder"
        named = f"{self.alias}.organization_id = {holder} OR {self.alias}.resent_by @> ARRAY[{holder}::text]"
        return Where(named, {f"lane{number}_holder": lane.holder})

    def brought(self, lane: Lane, number: int) -> Where:
        found = came_from(self.alias, f":lane{number}_holder", self.reach.action.verb)
        return Where(found, {f"lane{number}_holder": lane.holder})

    def _state(self, *states: str) -> Where:
        """The database keeps the patient's state beside each study (migration 0002)."""
        listed = ", ".join(f"'{state}'" for state in states)
        return Where(f"{self.alias}.patient_state IN ({listed})")

    def narrowed(self, lane: Lane, number: int) -> Iterator[Where]:
        if lane.study is not None:
            yield Where(f"{self.alias}.study_uid = :lane{number}_study", {f"lane{number}_study": lane.study})
        for which, one in enumerate(lane.filters):
            yield study_filter(one, self.alias, f"lane{number}_filter{which}")

    def chosen(self) -> str:
        return f"{self.alias}.study_uid = ANY (share.studies)"
