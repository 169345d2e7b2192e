"""People, apps, tokens and shares in one line, made through the same functions as the real ones."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import httpx

from server.access.services import Services
from server.accounts import people as accounts
from server.audit.who import Who
from server.oauth import clients
from server.oauth.operator import issue_for_operator
from server.records import people as records
from tests import logs

PASSWORD = "a long enough pass phrase"
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Person:
    """Somebody with an account; `fhir_id` is the Patient's, Practitioner's or Organization's."""

    account_id: UUID
    email: str
    name: str
    role: str
    fhir_id: str
    password: str = PASSWORD


@dataclass(frozen=True)
class System:
    """A client with its organization."""

    client_id: str
    secret: str | None
    organization_id: str | None


class People:
    """Makes them in one running server."""

    def __init__(self, services: Services) -> None:
        self.services = services

    async def patient(self, name: str = "Ada Moor", birth_date: str | None = "1980-02-29") -> Person:
        """A patient with an account and a profile."""
        account = await self._account("patient", name)
        fhir_id = await records.register_patient(
            self.services, who=Who(name="test"), name=name, birth_date=birth_date, account_id=account.id
        )
        return Person(account.id, account.email, name, "patient", fhir_id)

    async def doctor(self, name: str = "Bo Reader", email: str | None = None) -> Person:
        """A verified doctor."""
        account = await self._account("doctor", name, email)
        fhir_id = await records.register_practitioner(
            self.services,
            account_id=account.id,
            name=name,
            email=account.email,
            registration=records.Registration(number="1234567", authority="GMC", specialty="Radiology"),
            verified=True,
        )
        return Person(account.id, account.email, name, "doctor", fhir_id)

    async def provider(self, name: str = "County Hospital") -> Person:
        """A person who manages an organization."""
        account = await self._account("provider", name)
        fhir_id = await records.register_organization(self.services, name=name, member=account.id)
        return Person(account.id, account.email, name, "provider", fhir_id)

    async def operator(self, name: str = "Olga Ops") -> Person:
        account = await self._account("operator", name)
        return Person(account.id, account.email, name, "operator", "")

    async def backend(
        self, name: str = "PACS", *, trusted: bool = False, issuers: tuple[str, ...] = ()
    ) -> System:
        """A backend client with an organization of its own."""
        organization = await records.register_organization(
            self.services, name=f"{name} {next(_numbers)}", issuers=issuers
        )
        added = await clients.add(
            self.services.db,
            name=name,
            type="backend",
            organization_id=organization,
            trusted=trusted,
            scope="system/*.cruds",
        )
        return System(added.client.id, added.secret, organization)

    async def token(
        self, person: Person, scope: str = "patient/*.cruds", *, patient: str | None = None, ttl: int = 3600
    ) -> str:
        """An access token of an app this person allowed; a patient's own profile is in context."""
        context = patient or (person.fhir_id if person.role == "patient" else None)
        return await issue_for_operator(
            self.services,
            scope=scope,
            user=person.email,
            client=None,
            patient=context,
            ttl=timedelta(seconds=ttl),
        )

    async def system_token(self, system: System, scope: str = "system/*.cruds") -> str:
        """An access token of a backend client for itself."""
        return await issue_for_operator(
            self.services,
            scope=scope,
            user=None,
            client=system.client_id,
            patient=None,
            ttl=timedelta(hours=1),
        )

    async def session(self, client: httpx.AsyncClient, person: Person) -> None:
        """Sign `client` in through the form, as a browser does."""
        form = {"email": person.email, "password": person.password}
        answer = await client.post("/sign-in", data=form)
        assert answer.status_code == 303, answer.text

    async def share(
        self,
        patient: Person,
        doctor: Person,
        *,
        rights: tuple[str, ...] = ("images", "reports", "download"),
        studies: list[str] | None = None,
    ) -> str:
        """An accepted share; its id."""
        from tests.sharing_steps import invite_and_accept

        return await invite_and_accept(self.services, patient, doctor, rights=rights, studies=studies)

    async def _account(self, role: str, name: str, email: str | None = None) -> accounts.Account:
        address = email or f"person{next(_numbers)}@example.org"
        logs.NAMES.update((name, address, PASSWORD))
        return await accounts.add(
            self.services.db,
            email=address,
            name=name,
            role=role,
            password=PASSWORD,
            verified=True,
            by_operator=True,
        )


def bearer(token: str) -> dict[str, str]:
    """The header that carries an access token (RFC 6750, 2.1)."""
    return {"Authorization": f"Bearer {token}"}
