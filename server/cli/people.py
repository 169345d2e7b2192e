"""`lightbox user`, `lightbox client`, `lightbox token`: what an operator types. Every act is in the audit log."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from server.access.services import Services
from server.accounts import factor_loss
from server.accounts import people as accounts
from server.audit.events import Event
from server.audit.who import Who
from server.core.errors import InvalidInput, NotFound
from server.core.ids import new_secret
from server.oauth import clients, logos
from server.oauth.operator import issue_for_operator, list_clients, set_enabled
from server.records import people as records

from .common import DataOption, JsonOption, show
from .context import run

OPERATOR = Who(name="Command line", role="operator")

user = typer.Typer(help="People who sign in.", no_args_is_help=True)
client = typer.Typer(help="Apps and systems.", no_args_is_help=True)


class Role(StrEnum):
    """What a person is to this server."""

    PATIENT = "patient"
    DOCTOR = "doctor"
    PROVIDER = "provider"
    OPERATOR = "operator"


class ClientType(StrEnum):
    """RFC 6749, 2.1, in SMART's words."""

    PUBLIC = "public"
    SYMMETRIC = "confidential-symmetric"
    ASYMMETRIC = "confidential-asymmetric"
    BACKEND = "backend"


@user.callback()
def _users() -> None:
    """People who sign in."""


@user.command("add")
def add_user(
    role: Annotated[Role, typer.Option(help="What the person is")],
    email: Annotated[str, typer.Option(help="Address to sign in with; counts as verified")],
    name: Annotated[str, typer.Option(help="The person's name (of a provider: the organization's)")],
    password: Annotated[str | None, typer.Option(help="Made and printed when left out")] = None,
    duties: Annotated[
        str | None, typer.Option(help="Of an operator, with commas: support,privacy,verifier,security (all)")
    ] = None,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a person; prints the account's id and the FHIR id of the Patient, Practitioner or Organization."""
    made = None if password else new_secret()

    async def work(services: Services) -> dict[str, Any]:
        async with services.db.transaction():
            account = await accounts.add(
                services.db,
                email=email,
                name=name,
                role=role,
                password=password or made or "",
                verified=True,
                by_operator=True,
                duties=_listed(duties),
            )
            fhir_id = await _fhir_identity(services, account, role)
            await services.audit.record(
                Event.ACCOUNT_CREATED, who=OPERATOR, patient_id=fhir_id if role is Role.PATIENT else None
            )
        return {"user": str(account.id), "fhir_id": fhir_id} | ({"password": made} if made else {})

    found = run(data, work)
    show(found, as_json=True, text="")


@user.command("duties")
def set_duties(
    email: Annotated[str, typer.Option(help="Address of the operator")],
    duties: Annotated[str, typer.Option(help="With commas; empty: none")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say what an operator may do; holds from their next request on."""

    async def work(services: Services) -> dict[str, Any]:
        account = await _account(services, email)
        async with services.db.transaction():
            await accounts.set_duties(services.db, account.id, _listed(duties) or [])
            detail = {"account": str(account.id), "duties": duties}
            await services.audit.record(Event.OPERATOR_ACTED, who=OPERATOR, patient_id=None, detail=detail)
        changed = await accounts.get(services.db, account.id)
        return {"user": str(changed.id), "duties": list(changed.duties)}

    show(run(data, work), as_json=True, text="")


@user.command("recover")
def recover(
    email: Annotated[str, typer.Option(help="Address of the person, who was recognised by other means")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the second step off somebody's sign-in at once; everything is signed out, and they are told by mail."""

    async def work(services: Services) -> dict[str, Any]:
        account = await _account(services, email)
        await factor_loss.clear(services, account.id)
        detail = {"account": str(account.id), "act": "second factor taken off"}
        await services.audit.record(Event.OPERATOR_ACTED, who=OPERATOR, patient_id=None, detail=detail)
        return {"user": str(account.id)}

    show(run(data, work), as_json=True, text="")


async def _account(services: Services, email: str) -> accounts.Account:
    found = await accounts.find_by_email(services.db, email)
    if found is None:
        raise NotFound("There is no account with this address.")
    return found


def _listed(duties: str | None) -> list[str] | None:
    return None if duties is None else [each.strip() for each in duties.split(",") if each.strip()]


async def _fhir_identity(services: Services, account: accounts.Account, role: Role) -> str | None:
    match role:
        case Role.PATIENT:
            return await records.register_patient(
                services, who=OPERATOR, name=account.name, account_id=account.id
            )
        case Role.DOCTOR:
            return await records.register_practitioner(
                services,
                account_id=account.id,
                name=account.name,
                email=account.email,
                registration=records.Registration(),
                verified=True,
            )
        case Role.PROVIDER:
            return await records.register_organization(services, name=account.name, member=account.id)
    return None


@client.callback()
def _clients() -> None:
    """Apps and systems."""


@client.command("add")
def add_client(
    name: Annotated[str, typer.Option(help="Name shown to patients")],
    type: Annotated[ClientType, typer.Option(help="How it proves who it is")],
    redirect_uri: Annotated[list[str] | None, typer.Option(help="Exact address; may be given again")] = None,
    scope: Annotated[list[str] | None, typer.Option(help="What it may ask for; may be given again")] = None,
    jwks: Annotated[Path | None, typer.Option(help="File with its public keys")] = None,
    jwks_url: Annotated[str | None, typer.Option(help="Address of its public keys")] = None,
    launch_url: Annotated[str | None, typer.Option(help="Where an EHR launch begins")] = None,
    logo_url: Annotated[str | None, typer.Option(help="Address of its logo; fetched once")] = None,
    homepage: Annotated[str | None, typer.Option(help="Address of who stands behind it")] = None,
    organization: Annotated[str | None, typer.Option(help="Whose client it is; made when new")] = None,
    trusted: Annotated[bool, typer.Option("--trusted", help="Reaches everything; patients are told")] = False,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register an app or a system; prints its client_id, and its client_secret where it has one."""
    keys = _read_jwks(jwks) if jwks else None

    async def work(services: Services) -> dict[str, Any]:
        async with services.db.transaction():
            organization_id = await _organization(services, organization, type, name)
            added = await clients.add(
                services.db,
                name=name,
                type=type,
                redirect_uris=tuple(redirect_uri or ()),
                scope=" ".join(scope or ()),
                jwks=keys,
                jwks_uri=jwks_url,
                launch_url=launch_url,
                logo_uri=logo_url,
                client_uri=homepage,
                organization_id=organization_id,
                trusted=trusted,
                verified=True,
            )
            await services.audit.record(
                Event.CLIENT_REGISTERED, who=OPERATOR, patient_id=None, detail={"client": added.client.id}
            )
        await logos.fetch(services, added.client)
        return {"client_id": added.client.id, "client_secret": added.secret}

    show(run(data, work), as_json=True, text="")


@client.command("list")
def show_clients(data: DataOption = None, as_json: JsonOption = False) -> None:
    """Every app and system: what it is, who registered it, how many grants live, whether it is shut out."""
    found = run(data, list_clients)
    lines = [
        f"{each['client_id']}  {each['type']}  {each['registered_by']}  {each['grants']} living"
        f"  {'disabled' if each['disabled'] else 'enabled'}  {each['name']}"
        for each in found
    ]
    show({"clients": found}, as_json=as_json, text="\n".join(lines))


@client.command("disable")
def disable_client(
    client_id: Annotated[str, typer.Argument(help="The app or system to shut out")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Shut an app or a system out: its tokens are dead at their next request, and it gets no new ones."""
    _set_enabled(client_id, data, as_json, enabled=False)


@client.command("enable")
def enable_client(
    client_id: Annotated[str, typer.Argument(help="The app or system to let in again")],
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an app or a system in again; what people allowed it and has not run out lives again."""
    _set_enabled(client_id, data, as_json, enabled=True)


def _set_enabled(client_id: str, data: Path | None, as_json: bool, *, enabled: bool) -> None:
    async def work(services: Services) -> None:
        await set_enabled(services, client_id, enabled=enabled)

    run(data, work)
    word = "enabled" if enabled else "disabled"
    show({"client_id": client_id, word: True}, as_json=as_json, text=f"{client_id} is {word}.")


async def _organization(
    services: Services, organization: str | None, type: ClientType, name: str
) -> str | None:
    """The named organization; a backend client without one gets its own (decision 6)."""
    if organization:
        found = await records.find_organization(services, organization)
        return found or await records.register_organization(services, name=organization)
    if type is ClientType.BACKEND:
        return await records.register_organization(services, name=name)
    return None


def _read_jwks(file: Path) -> dict[str, Any]:
    try:
        found = orjson.loads(file.read_bytes())
    except (OSError, orjson.JSONDecodeError) as exc:
        raise InvalidInput(f"--jwks: {file} cannot be read as a JSON Web Key Set.") from exc
    if not isinstance(found, dict) or not isinstance(found.get("keys"), list):
        raise InvalidInput(f"--jwks: {file} is not a JSON Web Key Set (RFC 7517, 5).")
    return found


def token(
    scope: Annotated[str, typer.Option(help="Scopes, separated by spaces")],
    user: Annotated[str | None, typer.Option(help="E-mail of a person")] = None,
    client: Annotated[str | None, typer.Option(help="A client_id, for itself")] = None,
    patient: Annotated[str | None, typer.Option(help="FHIR id of the patient in context")] = None,
    ttl: Annotated[int, typer.Option(min=1, help="Seconds it lives")] = 3600,
    data: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print an access token as the server would issue it."""

    async def work(services: Services) -> str:
        return await issue_for_operator(
            services, scope=scope, user=user, client=client, patient=patient, ttl=timedelta(seconds=ttl)
        )

    issued = run(data, work)
    show({"access_token": issued}, as_json=as_json, text=issued)
