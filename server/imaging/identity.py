"""Whose an object is: what its header claims against the profile, and which profile a provider's store goes to.

Decisions 6 (only identifiers that an organization or an operator asserted match), 8 (a store that could go to
several patients is refused) and 9 (when an object differs from the profile).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from server.access.actor import Actor
from server.access.reach import Reach
from server.access.services import Services
from server.core.errors import Conflict, NotFound
from server.records import people
from server.records.names import givens
from server.storage.sql import load

from .entry import Identity
from .text import fold, split_words
from .to_fhir import patient as to_patient

QUERIES = load(__package__)

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Owner:
    """The patient a store goes to, with what sealing and comparing need."""

    patient_id: str
    wrapped_key: bytes
    profile: Json  # the Patient resource
    asserted: bool = False  # an identifier that the storing organization asserted led here


def compare_with_profile(identity: Identity, profile: Json) -> bool:
    """Whether the object differs from the profile: both have a value and these disagree (decision 9)."""
    return _names_differ(identity, profile) or _birth_dates_differ(identity.birth_day, profile)


def same_person(one: Json, other: Json) -> bool:
    """Whether two profiles may be of one person: nothing that both say disagrees (the rule of decision 9)."""
    names, others = (
        [parts for parts in map(_fhir_name, each.get("name") or ()) if any(parts)] for each in (one, other)
    )
    if names and others and not any(_same_name(a, b) for a in names for b in others):
        return False
    born, there = (str(each.get("birthDate") or "") for each in (one, other))
    return not born or not there or born.startswith(there) or there.startswith(born)


def _birth_dates_differ(birth_day: str, profile: Json) -> bool:
    """A FHIR date may be a year or a month only: so much of it is compared."""
    known = str(profile.get("birthDate") or "").replace("-", "")
    return bool(known and birth_day) and not birth_day.startswith(known)


def _names_differ(identity: Identity, profile: Json) -> bool:
    claimed = [parts for parts in map(_dicom_name, identity.names) if any(parts)]
    known = [parts for parts in map(_fhir_name, profile.get("name") or ()) if any(parts)]
    if not claimed or not known:
        return False
    return not any(_same_name(one, other) for one in claimed for other in known)


_Name = tuple[str, str]  # family, first given; folded


def _same_name(one: _Name, other: _Name) -> bool:
    """Family and first given name agree, as far as both have them; in one field, their order is not known."""
    if one[0] == other[0]:
        return one[1] == other[1] or not one[1] or not other[1]
    return set(_words(one)) == set(_words(other))


def _words(name: _Name) -> list[str]:
    return [word for part in name for word in split_words(part) if word]


def _dicom_name(group: str) -> _Name:
    parts = [fold(part) for part in group.split("^")]
    given = parts[1].split() if len(parts) > 1 else []
    return parts[0], given[0] if given else ""


def _fhir_name(name: Json) -> _Name:
    given = [word for each in givens(name) for word in fold(each).split()]
    family = fold(str(name.get("family") or ""))
    if not family and not given:
        return fold(str(name.get("text") or "")), ""
    return family, given[0] if given else ""


async def owner_of_request(services: Services, patient_id: str | None, *, reach: Reach) -> Owner | None:
    """The one patient whom the whole request is for; None when each instance tells (an organization's store).

    Raises NotFound when the patient is out of reach, Conflict when the token reaches several.
    """
    if patient_id is None and reach.organizations:
        return None
    rows = await services.db.fetch_all(
        QUERIES["owners"], {"patient": patient_id, "limit": 2}, reach=reach.patients()
    )
    if len(rows) > 1:
        raise Conflict("This token reaches several patients: store to the root of the one that is meant.")
    if not rows:
        raise NotFound()
    return _owner(rows[0])


class OwnersOfInstances:
    """The patients of what an organization brings: by identifier, by study, or a new profile. One per request."""

    def __init__(self, services: Services, *, reach: Reach, actor: Actor) -> None:
        self._services = services
        self._reach = reach
        self._actor = actor
        self._organization = actor.organization_id or min(reach.organizations)
        self._system = ""
        self._issuers: list[str] = []
        self._known: dict[tuple[str, str], Owner] = {}

    async def of(self, identity: Identity, study_uid: str) -> Owner:
        """Whose this instance is; raises NotFound when the organization is not there any more."""
        await self.meet([(identity, study_uid)])
        return self._known[self._key(identity, study_uid)]

    async def meet(self, claims: Iterable[tuple[Identity, str]]) -> None:
        """Find or make the owners of many instances at once, each an identity and the study it stands in."""
        if not self._system:
            await self._learn()
        wanted = {self._key(identity, study): identity for identity, study in claims}
        unknown = [_Claim(*key, identity) for key, identity in wanted.items() if key not in self._known]
        if unknown:
            await self._find(unknown)
            if any(each.key not in self._known for each in unknown):
                await self._make(unknown)

    def _key(self, identity: Identity, study_uid: str) -> tuple[str, str]:
        value = asserted_value(identity, self._issuers)
        return value, "" if value else study_uid

    async def _learn(self) -> None:
        row = await self._services.db.fetch_one(QUERIES["organization"], {"id": self._organization})
        if row is None:
            raise NotFound()
        self._system, self._issuers = row["identifier_system"], row["issuers"]

    async def _find(
        self, claims: Sequence[_Claim], made: Mapping[tuple[str, str], str] | None = None
    ) -> None:
        """Those in reach; `made`: profiles that were made for them just now."""
        values = {
            "organization": self._organization,
            "values": [each.value for each in claims],
            "studies": [each.study_uid for each in claims],
            "patients": [(made or {}).get(each.key) for each in claims],
        }
        rows = await self._services.db.fetch_all(
            QUERIES["owners_by_identifier"], values, reach=self._reach.patients()
        )
        for row in rows:
            self._known[row["value"], row["study_uid"]] = _owner(row, asserted=True)

    async def _make(self, claims: Sequence[_Claim]) -> None:
        """Profiles that nobody owns yet; another store may have made some of them a moment ago."""
        known = dict(self._known)
        try:
            async with self._services.db.transaction():
                await self._make_locked(claims)
        except BaseException:
            self._known = known  # what was made is not
            raise

    async def _make_locked(self, claims: Sequence[_Claim]) -> None:
        await self._services.db.execute(QUERIES["lock_organization"], {"id": self._organization})
        await self._find(claims)
        missing = [each for each in claims if each.key not in self._known]
        if not missing:
            return
        ids = await people.register_unclaimed(
            self._services,
            who=self._actor.who(),
            organization_id=self._organization,
            resources=[to_patient.unclaimed(each.identity, self._system, each.value) for each in missing],
        )
        asserted = [(each.value, id) for each, id in zip(missing, ids, strict=True) if each.value]
        values = {
            "organization": self._organization,
            "values": [value for value, _ in asserted],
            "patients": [id for _, id in asserted],
        }
        await self._services.db.execute(QUERIES["assert_identifiers"], values)
        await self._find(missing, {each.key: id for each, id in zip(missing, ids, strict=True)})
        if any(each.key not in self._known for each in missing):
            raise NotFound()


@dataclass(frozen=True)
class _Claim:
    """What leads to an owner: the asserted value, or without one the study; and what the object says besides."""

    value: str
    study_uid: str
    identity: Identity

    @property
    def key(self) -> tuple[str, str]:
        return self.value, self.study_uid


def asserted_value(identity: Identity, issuers: list[str]) -> str:
    """The identifier's value in the organization's own system; empty when the object has no Patient ID.

    A foreign issuer's number is kept apart, with its issuer, so that it never meets one of the organization's own.
    """
    if not identity.patient_id:
        return ""
    issuer = identity.issuer.strip()
    if not issuer or issuer.casefold() in issuers:
        return identity.patient_id
    return f"{identity.patient_id}^^^{issuer}"


def _owner(row: Any, *, asserted: bool = False) -> Owner:
    profile = orjson.loads(row["profile"]) if row["profile"] else {}
    return Owner(row["patient_id"], row["wrapped"], profile, asserted)


__all__ = [
    "Owner",
    "OwnersOfInstances",
    "asserted_value",
    "compare_with_profile",
    "owner_of_request",
    "same_person",
]
