"""What a lane asks of a FHIR resource, of an earlier version of one, and of the study it is about."""

from __future__ import annotations

from collections.abc import Iterator

from server.storage.where import Where, all_of

from .action import Verb
from .filters import resource_filter, version_filter
from .lanes import Ground, Lane
from .rows import PatientRow, Row, StudyRow, came_from


class ResourceRow(Row):
    """A FHIR resource. One that is about a study is seen where that study is."""

    def ground(self, lane: Lane, number: int) -> Where:
        if lane.ground is Ground.REGISTER:
            return all_of(Where(f"{self.patient} = ''"), *self._only(lane, number))
        if lane.ground is Ground.AUTHORED:
            values = {f"lane{number}_author": lane.holder}
            return Where(f"{self.patient} = '' AND {self.alias}.author = :lane{number}_author", values)
        about = f"{self.alias}.study_uid IS NULL"
        study = AboutStudy("about", self.reach).lane_of_study(lane, number)
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

    def _state(self, *states: str) -> Where:
        """Of what is about a study, the study's own row says it (`lane_of_study`): one look-up less for each."""
        return Where(f"({self.alias}.study_uid IS NOT NULL OR {super()._state(*states).sql})")

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
        study = StudyRow("led", self.reach)
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        wanted = all_of(*study.narrowed(lane, number))
        yield Where(
            f"EXISTS (SELECT 1 FROM study AS led WHERE led.patient_id = {self.patient} AND led.deleted_at IS NULL"
            f" AND led.standing {standing} AND ({wanted.sql}))",
            wanted.values,
        )

    def brought(self, lane: Lane, number: int) -> Where:
        values = {f"lane{number}_holder": lane.holder, f"lane{number}_author": f"organization:{lane.holder}"}
        if self.reach.action.type == "Patient":
            brought = PatientRow("made", self.reach).brought(lane, number)
            # Once somebody owns the profile, it is theirs: others see and change it by a share only.
            return Where(
                f"EXISTS (SELECT 1 FROM patient AS made WHERE made.id = {self.patient} AND ({brought.sql})"
                f" AND made.claimed_at IS NULL)",
                brought.values,
            )
        came = came_from("came", f":lane{number}_holder", self.reach.action.verb)
        if self.reach.action.type == "Endpoint":  # where the images lie that it brought
            return Where(
                f"EXISTS (SELECT 1 FROM study AS came WHERE came.patient_id = {self.patient} AND {came})",
                {f"lane{number}_holder": lane.holder},
            )
        return Where(  # of a study it brought: what the server made of that, not what others wrote about it
            f"({self.alias}.author = :lane{number}_author OR {self.alias}.author = 'server' AND EXISTS"
            f" (SELECT 1 FROM study AS came WHERE came.patient_id = {self.patient}"
            f" AND came.study_uid = {self.alias}.study_uid AND {came} OFFSET 0))",
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


class VersionRow(ResourceRow):
    """An earlier version of a resource: whose it was, what it was about, what codes it had then."""

    def narrowed(self, lane: Lane, number: int) -> Iterator[Where]:
        if self.reach.action.type == "ImagingStudy":
            return
        for which, one in enumerate(lane.filters):
            yield version_filter(one, self.alias, f"lane{number}_version{which}")


class AboutStudy(StudyRow):
    """The study a resource is about: its standing and the scope's filter; the ground was asked of the resource."""

    def lane_of_study(self, lane: Lane, number: int) -> Where:
        standing = "IN ('mine', 'differs')" if lane.ground is Ground.OWN else "= 'mine'"
        seen = Where(f"about.deleted_at IS NULL AND about.standing {standing}")
        filters = self.narrowed(lane, number) if self.reach.action.type == "ImagingStudy" else ()
        # Of its owner's lane the state was asked with the holder.
        state = () if lane.ground is Ground.OWN else (self._state_on(lane),)
        return all_of(seen, *state, *filters)
