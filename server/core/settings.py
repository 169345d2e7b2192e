"""Settings: environment variables (prefix LIGHTBOX_) over `config/*.toml` over defaults; read once, passed in.

A wrong value stops the start with the setting's name and what it wants.
"""

from __future__ import annotations

from pathlib import Path
from tomllib import TOMLDecodeError
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)

from .errors import ServerError


class WrongSetting(ServerError):
    """A setting has a value it cannot have."""


def _address(value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise ValueError("wants an http or https address without query and fragment")
    return value.rstrip("/")


def _database(value: str) -> str:
    if value and urlsplit(value).scheme not in ("postgresql", "postgres"):
        raise ValueError("wants postgresql://user:password@host:port/name, or nothing for the embedded one")
    return value


def _storage(value: str) -> str:
    if value and urlsplit(value).scheme not in ("file", "s3"):
        raise ValueError("wants file:///directory or s3://bucket/prefix")
    return value


class Region(BaseModel):
    """A sibling deployment: its name and its address."""

    model_config = ConfigDict(frozen=True)
    name: str
    address: str


def _regions(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    pairs = (each.partition("=") for each in value.split(",") if each.strip())
    return tuple(Region(name=name.strip(), address=_address(address.strip())) for name, _, address in pairs)


def _list(value: Any) -> Any:
    return (
        tuple(each.strip() for each in value.split(",") if each.strip()) if isinstance(value, str) else value
    )


WATCH_LIMITS = {  # within an hour: events, or different records
    "downloads": 60,
    "downloads_records": 15,
    "looks": 1000,
    "looks_records": 60,
    "system_downloads": 5000,
    "system_downloads_records": 1000,
    "system_looks": 50_000,
    "system_looks_records": 5000,
    "refusals": 10,
    "refusals_of_nobody": 100,
    "wrong": 10,  # passwords and codes
    "wrong_of_nobody": 100,
}
RETENTION_RULES = ("unclaimed", "requests", "holds", "incidents", "proofs")


def _numbers(names: tuple[str, ...]) -> BeforeValidator:
    """name=number, comma-separated, of these names; a number is 0 or more."""

    def parsed(value: Any) -> Any:
        if not isinstance(value, str):
            return value
        pairs = [each.partition("=") for each in value.split(",") if each.strip()]
        if any(name.strip() not in names or not number.strip().isdigit() for name, _, number in pairs):
            raise ValueError(f"wants name=number, comma-separated; names are {', '.join(names)}")
        return tuple((name.strip(), int(number)) for name, _, number in pairs)

    return BeforeValidator(parsed)


def config_files() -> tuple[Path, ...]:
    """`config/default.toml`, then `config/local.toml`: as the wheel carries them, or at the top of a checkout."""
    carried = Path(__file__).parents[1] / "config"
    folder = carried if carried.is_dir() else carried.parents[1] / "config"
    return folder / "default.toml", folder / "local.toml"


class Settings(BaseSettings):
    """Everything an operator can set. `config/example.env` knows each by name."""

    model_config = SettingsConfigDict(env_prefix="LIGHTBOX_", frozen=True, extra="forbid")
    toml_files: ClassVar[tuple[Path, ...]] = config_files()

    base_url: Annotated[str, AfterValidator(_address)] = Field(
        "http://127.0.0.1:8080", description="Public address of the server, without a trailing slash"
    )
    data: Path = Field(Path(".lightbox"), description="Directory of everything that is not elsewhere")
    database_url: Annotated[str, AfterValidator(_database)] = Field(
        "", description="PostgreSQL; empty: an embedded one under the data directory"
    )
    database_owner_url: Annotated[str, AfterValidator(_database)] = Field(
        "",
        description="The same database as the owner of its tables, for schema changes and restore; empty: the same",
    )
    keys_database_url: Annotated[str, AfterValidator(_database)] = Field(
        "", description="PostgreSQL of the patients' wrapped keys alone; empty: they lie in the main database"
    )
    storage_url: Annotated[str, AfterValidator(_storage)] = Field(
        "", description="file:///directory or s3://bucket/prefix; empty: under the data directory"
    )
    master_key_file: Path | None = Field(
        None, description="The key that wraps every patient's key; made on the first start when absent"
    )
    smtp_url: str = Field("", description="smtp(s)://user:password@host:port; empty: mails go to outbox/")
    mail_from: str = Field("lightbox@localhost", description="Sender of our mails")
    tls_cert_file: Path | None = Field(None, description="Certificate chain, to serve https without a proxy")
    tls_key_file: Path | None = Field(None, description="Private key of the certificate")
    trusted_proxies: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = Field(
        (), description="Addresses whose X-Forwarded-For and -Proto are believed, comma-separated"
    )
    region: str = Field("local", description="Name of the region this deployment is")
    regions: Annotated[tuple[Region, ...], NoDecode, BeforeValidator(_regions)] = Field(
        (), description="Sibling deployments, name=address, comma-separated"
    )
    retention: Annotated[tuple[tuple[str, int], ...], NoDecode, _numbers(RETENTION_RULES)] = Field(
        (), description="Days of a rule over those of the region, rule=days, comma-separated; 0: never"
    )
    retention_purge: bool = Field(False, description="The daily job removes what is due, not only counts it")
    watch: Annotated[tuple[tuple[str, int], ...], NoDecode, _numbers(tuple(WATCH_LIMITS))] = Field(
        (), description="What within an hour raises an alert, over the defaults: name=number, comma-separated"
    )
    demo: bool = Field(False, description="Adds the demo people and sample images once; no second factor")
    second_factor: Literal["required", "optional"] | None = Field(
        None, description="Of doctors, staff and operators; empty: required, save in a demo"
    )
    max_resource_bytes: int = Field(8 * 2**20, gt=0, description="Largest FHIR resource accepted, bytes")
    max_binary_bytes: int = Field(
        2 * 2**30, gt=0, description="Largest content of a FHIR Binary that is sent as such, bytes"
    )
    private_hosts: Annotated[tuple[str, ...], NoDecode, BeforeValidator(_list)] = Field(
        (),
        description="Hosts in private networks (or without https) that subscriptions may call, comma-separated",
    )
    statement_seconds: float = Field(
        60,
        ge=0,
        description="Longest that one statement of a request may take in the database; 0: as long as it wants",
    )
    db_pool_size: int = Field(10, ge=3, le=150, description="Database connections of one worker process")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments (the command line's) over environment over files."""
        files = TomlConfigSettingsSource(settings_cls, toml_file=list(cls.toml_files))
        return init_settings, env_settings, files

    @property
    def watch_limits(self) -> dict[str, int]:
        """What within an hour raises an alert."""
        return WATCH_LIMITS | dict(self.watch)

    @property
    def needs_second_factor(self) -> bool:
        """Whether doctors and staff reach nothing without a second factor (decision 13)."""
        return self.second_factor == "required" or (self.second_factor is None and not self.demo)

    @property
    def fhir_base(self) -> str:
        return f"{self.base_url}/fhir"

    @property
    def dicomweb_base(self) -> str:
        return f"{self.base_url}/dicomweb"

    def patient_dicomweb(self, patient_id: str) -> str:
        """The DICOMweb root of one patient, as that patient's FHIR Endpoint gives it."""
        return f"{self.base_url}/patients/{patient_id}/dicomweb"

    @property
    def is_https(self) -> bool:
        return self.base_url.startswith("https://")

    @property
    def storage_address(self) -> str:
        """Where objects lie: as set, or under the data directory."""
        return self.storage_url or (self.data.resolve() / "objects").as_uri()

    @property
    def key_file(self) -> Path:
        """Where the master key lies: as set, or in the data directory."""
        return self.master_key_file or self.data / "master.key"


def read_settings(**given: Any) -> Settings:
    """Read the settings once; raises WrongSetting with the setting's name and what it wants."""
    try:
        return Settings(**{name: value for name, value in given.items() if value is not None})
    except TOMLDecodeError as exc:
        raise WrongSetting(f"A file in config/ is not valid TOML: {exc}.") from exc
    except ValidationError as exc:
        first = exc.errors()[0]
        name = "LIGHTBOX_" + "_".join(str(part) for part in first["loc"][:1]).upper()
        raise WrongSetting(f"{name}: {first['msg'].removeprefix('Value error, ')}") from exc
