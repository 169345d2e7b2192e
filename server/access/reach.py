"""Reach: the data a caller may touch, as a condition that goes into the statement that touches it.

A `Reach` is a union of lanes; a lane says on which ground a patient's data is open (it is mine, it was shared with
me, my organization brought it) and what narrows it (a right of the share, the patient in context, a scope's
filters). Each condition is asked of living rows (holder, share, session, grant) inside the same statement: a share
that ended a millisecond ago is ended. No lane: nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from server.core import clock
from server.storage.where import FALSE, TRUE, Where, all_of, any_of

from .action import READING, Action, Right, Verb
from .actor import NO_CREDENTIAL, Credential
from .filters import resource_filter, study_filter, version_filter
from .liveness import alive
from .scopes import Filter


class Ground(StrEnum):
    """Why data is open."""

    OWN = "own"  # holder is an account that holds the profile
    SHARE = "share"  # holder is a practitioner with a living share
    SHARE_ORGANIZATION = "share-organization"  # holder is an organization with a living share
    BROUGHT = "brought"  # holder is the organization that brought it
    REGISTER = "register"  # of no patient: practitioners, organizations
    AUTHORED = "authored"  # of no patient: holder is the author
    LINK = "link"  # holder is a guest link
    EMERGENCY = "emergency"  # holder is an operator's account, in a record opened with a reason for a while
    SERVER = "server"  # a client the operator trusts with everything


@dataclass(frozen=True)
class Lane:
    """One ground, and what narrows it."""

    ground: Ground
    holder: str = ""
    rights: tuple[Right, ...] = ()  # of the share, all of them
    patient: str | None = None
    resource: str | None = None  # the FHIR resource with this id only
    study: str | None = None  # this one only
    filters: tuple[Filter, ...] = ()
    scoped: str = ""  # the type that the filters are asked of, as the scope names it


@dataclass(frozen=True)
class Reach:
    """Whose data an action may touch. Built by the gate only."""

    action: Action
    lanes: tuple[Lane, ...] = ()
    credential: Credential = NO_CREDENTIAL
    root: str | None = None  # the patient whose root the request came to
    now: datetime = field(default_factory=clock.now)

    def __bool__(self) -> bool:
        return bool(self.lanes)

    def at(self, patient_id: str) -> Reach:
        """The same, narrowed to one patient."""
        return replace(self, root=patient_id)

    def studies(self, alias: str = "study") -> Where:
        """A condition over a row of table `study`."""
        return self._where(_StudyRow(alias, self))

    def resources(self, alias: str = "resource") -> Where:
        """A condition over a row of table `resource`, of the action's type."""
        return self._where(_ResourceRow(alias, self))

    def versions(self, alias: str = "old", current: str = "resource") -> Where:
        """A condition over a row of `resource_version` beside the `resource` it is of: each lies within reach.

        A version that the caller might not have read then is not shown because it was changed since.
        """
        return all_of(self.resources(current), self._where(_VersionRow(alias, self)))

    def patients(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`."""
        return self._where(_PatientRow(alias, self))

    def stores(self, alias: str = "patient") -> Where:
        """A condition over a row of table `patient`, in a statement that stores `:study_uid` there."""
        return self._where(_StoringRow(alias, self))

    def of_holder(self) -> Reach:
        """The part that comes from holding the profile."""
        return replace(self, lanes=tuple(lane for lane in self.lanes if lane.ground is Ground.OWN))

    @property
    def organizations(self) -> frozenset[str]:
        """The organizations whose identifiers a store may match (decision 6)."""
        return frozenset(lane.holder for lane in self.lanes if lane.ground is Ground.BROUGHT)

    def _where(self, row: _Row) -> Where:
        if not self.lanes:
            return FALSE
        open_to = any_of(*(row.lane(lane, number) for number, lane in enumerate(self.lanes)))
        return all_of(open_to, *row.bounds(), *row.root(), *alive(self.credential, self.now))


NOTHING = Reach(Action("", Verb.READ))


class _Row:
    """A row that a reach asks about; subclasses know where the patient and the study stand in it."""

    def __init__(self, alias: str, reach: Reach) -> None:
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
            yield Where(f"{self.patient} = :reach_root", {"reach_root": self.reach.root})

    def ground(self, lane: Lane, number: int) -> Where:
        match lane.ground:
            case Ground.OWN:
                return self._own(lane, number)
            case Ground.SHARE | Ground.SHARE_ORGANIZATION:
                return all_of(self._share(lane, number), self._state("active"))
            case Ground.BROUGHT:
                return all_of(self.brought(lane, number), *self._unclaimed(), self._state_for_others())
            case Ground.LINK:
                return all_of(self._link(lane, number), self._state("active"))
            case Ground.EMERGENCY:
                return all_of(self._emergency(lane, number), self._state("active"))
            case Ground.SERVER:
                return self._state_for_others()
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
        """Beside other lanes, what an EXISTS ends with: asked of each row, or the planner reads all there is first."""
        return " OFFSET 0" if len(self.reach.lanes) > 1 else ""

    def _own(self, lane: Lane, number: int) -> Where:
        return Where(
            f"EXISTS (SELECT 1 FROM holder JOIN patient AS held ON held.id = holder.patient_id"
            f" WHERE holder.patient_id = {self.patient} AND holder.account_id = :lane{number}_holder::uuid"
            f" AND (holder.until IS NULL OR holder.until > :reach_now) AND held.state {self._own_states}"
            f"{self._look_up})",
            {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now},
        )

    @property
    def _own_states(self) -> str:
        """While a record is restricted its owner still sees it, and apps the owner once allowed do not (row 55)."""
        by_app = self.reach.credential.grant_id is not None and self.reach.action.verb in READING
        return "= 'active'" if by_app else "<> 'erasing'"

    def _share(self, lane: Lane, number: int) -> Where:
        column = "practitioner_id" if lane.ground is Ground.SHARE else "organization_id"
        values: dict[str, Any] = {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now}
        right = ""
        if lane.rights:
            right = f" AND share.rights @> :lane{number}_rights::text[]"
            values[f"lane{number}_rights"] = [str(each) for each in lane.rights]
        return Where(
            f"EXISTS (SELECT 1 FROM share WHERE share.patient_id = {self.patient}"
            f" AND share.{column} = :lane{number}_holder AND share.state = 'active'"
            f" AND (share.until IS NULL OR share.until > :reach_now){right}"
            f" AND (share.studies IS NULL OR {self.chosen()}){self._not_suspended(lane)}{self._look_up})",
            values,
        )

    def _link(self, lane: Lane, number: int) -> Where:
        """The link lives; it stands under the name of a share, for `chosen` is the same."""
        values: dict[str, Any] = {f"lane{number}_holder": lane.holder, "reach_now": self.reach.now}
        right = ""
        if lane.rights:
            right = f" AND share.rights @> :lane{number}_rights::text[]"
            values[f"lane{number}_rights"] = [str(each) for each in lane.rights]
        return Where(
            f"EXISTS (SELECT 1 FROM guest_link AS share WHERE share.patient_id = {self.patient}"
            f" AND share.id = :lane{number}_holder AND share.ended_at IS NULL AND share.until > :reach_now{right}"
            f" AND (share.studies IS NULL OR {self.chosen()}))",
            values,
        )

    def _emergency(self, lane: Lane, number: int) -> Where:
        return Where(
            f"EXISTS (SELECT 1 FROM emergency_access WHERE emergency_access.patient_id = {self.patient}"
            f" AND emergency_access.account_id = :lane{number}_holder::uuid AND emergency_access.ended_at IS NULL"
            f" AND emergency_access.until > :reach_now{self._look_up})",
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

    def _state_for_others(self) -> Where:
        """Restriction closes reads by others; storing stays (product row 55)."""
        if self.reach.action.verb in READING:
            return self._state("active")
        return self._state("active", "restricted")

    def _state(self, *states: str) -> Where:
        listed = ", ".join(f"'{state}'" for state in states)
        return Where(
            f"EXISTS (SELECT 1 FROM patient AS whose WHERE whose.id = {self.patient} AND whose.state IN ({listed})"
            f"{self._look_up})"
        )


class _PatientRow(_Row):
    def __init__(self, alias: str, reach: Reach) -> None:
        super().__init__(alias, reach)
        self.patient = f"{alias}.id"

    def brought(self, lane: Lane, number: int) -> Where:
        """The organization made the profile, or holds an identifier of it."""
        return Where(
            f"({self.alias}.created_by_organization = :lane{number}_holder OR EXISTS (SELECT 1"
            f" FROM patient_identifier WHERE patient_identifier.patient_id = {self.patient}"
            f" AND patient_identifier.organization_id = :lane{number}_holder))",
            {f"lane{number}_holder": lane.holder},
        )


class _StoringRow(_PatientRow):
    """A patient to whom a study is stored: a share of chosen studies lets add to those only."""

    def chosen(self) -> str:
        return ":study_uid = ANY (share.studies)"


class _StudyRow(_Row):
    def ground(self, lane: Lane, number: int) -> Where:
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        seen = f"{self.alias}.deleted_at IS NULL AND {self.alias}.standing {standing}"
        return super().ground(lane, number) & Where(seen)

    def bound(self, lane: Lane, number: int) -> Where | None:
        return self.brought(lane, number) if lane.ground is Ground.BROUGHT else super().bound(lane, number)

    def brought(self, lane: Lane, number: int) -> Where:
        return Where(
            f"{self.alias}.organization_id = :lane{number}_holder", {f"lane{number}_holder": lane.holder}
        )

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


class _ResourceRow(_Row):
    """A FHIR resource. One that is about a study is seen where that study is."""

    def ground(self, lane: Lane, number: int) -> Where:
        if lane.ground is Ground.REGISTER:
            return all_of(Where(f"{self.patient} = ''"), *self._only(lane, number))
        if lane.ground is Ground.AUTHORED:
            values = {f"lane{number}_author": lane.holder}
            return Where(f"{self.patient} = '' AND {self.alias}.author = :lane{number}_author", values)
        about = f"{self.alias}.study_uid IS NULL"
        study = _AboutStudy("about", self.reach).lane_of_study(lane, number)
        exists = Where(  # OFFSET 0: a look-up for each row; else the planner hashes every study there is
            f"EXISTS (SELECT 1 FROM study AS about WHERE about.patient_id = {self.patient}"
            f" AND about.study_uid = {self.alias}.study_uid AND ({study.sql}) OFFSET 0)",
            study.values,
        )
        # A scope that filters studies opens no ImagingStudy that stands for none of ours.
        by_study = bool(self.reach.action.type == "ImagingStudy" and (lane.filters or lane.study))
        ground = all_of(
            super().ground(lane, number), *self._authored(lane, number), *self._only(lane, number)
        )
        open_to = ground & (exists if by_study else Where(about) | exists)
        if lane.ground is Ground.SERVER and not by_study:  # what belongs to nobody is in no patient's state
            return open_to | Where(f"{self.patient} = ''")
        return open_to

    def _only(self, lane: Lane, number: int) -> Iterator[Where]:
        if lane.resource is not None:
            yield Where(
                f"{self.alias}.id = :lane{number}_resource", {f"lane{number}_resource": lane.resource}
            )

    def _authored(self, lane: Lane, number: int) -> Iterator[Where]:
        """Who was given the right to add may change what they added; what others wrote stays theirs."""
        if self.reach.action.verb is not Verb.UPDATE:
            return
        values = {f"lane{number}_holder": lane.holder}
        if lane.ground is Ground.SHARE_ORGANIZATION:
            yield Where(f"{self.alias}.author = 'organization:' || :lane{number}_holder::text", values)
        elif lane.ground is Ground.SHARE:
            yield Where(
                f"{self.alias}.author = (SELECT 'account:' || writer.account_id FROM practitioner AS writer"
                f" WHERE writer.id = :lane{number}_holder)",
                values,
            )

    def narrowed(self, lane: Lane, number: int) -> Iterator[Where]:
        if self.reach.action.type == "ImagingStudy":
            return  # asked of the study, in `ground`
        if self.reach.action.type == "Endpoint" and lane.scoped == "ImagingStudy":
            yield from self._leading_to_studies(lane, number)
            return
        for which, one in enumerate(lane.filters):
            yield resource_filter(one, self.alias, self.reach.action.type, f"lane{number}_filter{which}")

    def _leading_to_studies(self, lane: Lane, number: int) -> Iterator[Where]:
        """An Endpoint by a scope on ImagingStudy: where a study lies that the scope's filters select."""
        if not lane.filters:
            return
        study = _StudyRow("led", self.reach)
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        wanted = all_of(*study.narrowed(lane, number))
        yield Where(
            f"EXISTS (SELECT 1 FROM study AS led WHERE led.patient_id = {self.patient} AND led.deleted_at IS NULL"
            f" AND led.standing {standing} AND {wanted.sql})",
            wanted.values,
        )

    def brought(self, lane: Lane, number: int) -> Where:
        values = {f"lane{number}_holder": lane.holder, f"lane{number}_author": f"organization:{lane.holder}"}
        if self.reach.action.type == "Patient":
            brought = _PatientRow("made", self.reach).brought(lane, number)
            # Once somebody owns the profile, it is theirs: others see and change it by a share only.
            return Where(
                f"EXISTS (SELECT 1 FROM patient AS made WHERE made.id = {self.patient} AND {brought.sql}"
                f" AND made.claimed_at IS NULL)",
                brought.values,
            )
        if self.reach.action.type == "Endpoint":  # where the images lie that it brought
            return Where(
                f"EXISTS (SELECT 1 FROM study AS came WHERE came.patient_id = {self.patient}"
                f" AND came.organization_id = :lane{number}_holder)",
                {f"lane{number}_holder": lane.holder},
            )
        return Where(  # of a study it brought: what the server made of that, not what others wrote about it
            f"({self.alias}.author = :lane{number}_author OR {self.alias}.author = 'server' AND EXISTS"
            f" (SELECT 1 FROM study AS came WHERE came.patient_id = {self.patient}"
            f" AND came.study_uid = {self.alias}.study_uid AND came.organization_id = :lane{number}_holder OFFSET 0))",
            values,
        )

    def chosen(self) -> str:
        match self.reach.action.type:
            case "Patient" | "Endpoint":
                return "true"
            case "Consent":
                return f"share.id = {self.alias}.id"
            case _:
                return f"{self.alias}.study_uid = ANY (share.studies)"

    def _share(self, lane: Lane, number: int) -> Where:
        share = super()._share(lane, number)
        if self.reach.action.type != "Consent":
            return share
        # Of the patient's Consents, the other party sees its own share only.
        own = f" AND share.id = {self.alias}.id AND share.state = 'active'"
        return Where(share.sql.replace(" AND share.state = 'active'", own, 1), share.values)


class _VersionRow(_ResourceRow):
    """An earlier version of a resource: whose it was, what it was about, what codes it had then."""

    def narrowed(self, lane: Lane, number: int) -> Iterator[Where]:
        if self.reach.action.type == "ImagingStudy":
            return
        for which, one in enumerate(lane.filters):
            yield version_filter(one, self.alias, f"lane{number}_version{which}")


class _AboutStudy(_StudyRow):
    """The study a resource is about: its standing and the scope's filter; the ground was asked of the resource."""

    def lane_of_study(self, lane: Lane, number: int) -> Where:
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        seen = Where(f"about.deleted_at IS NULL AND about.standing {standing}")
        filters = self.narrowed(lane, number) if self.reach.action.type == "ImagingStudy" else ()
        return all_of(seen, *filters)


__all__ = ["NOTHING", "TRUE", "Ground", "Lane", "Reach", "alive"]
