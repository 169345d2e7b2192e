"""A master key that lies encrypted by a key management service: the file alone opens nothing (envelope encryption).

A line of the master key file may be `lightbox-master-key-kms-1 SERVICE CIPHERTEXT` instead of the key itself. It is
decrypted by the service when a process starts or the file changes; what is stored is never sent there.

    aws:KEY        AWS KMS, through boto3 (pip install lightbox-server[aws]); credentials from its usual places
    vault:NAME     HashiCorp Vault's or OpenBao's transit engine, through hvac (lightbox-server[vault]); VAULT_ADDR,
                   VAULT_TOKEN
"""

from __future__ import annotations

import base64
from importlib import import_module
from typing import Any, Protocol

from server.core.errors import ServerError

_CONTEXT = {"purpose": "lightbox master key"}


class KmsUnavailable(ServerError):
    """The key management service does not give the master key."""


class Kms(Protocol):
    """What encrypts a key of 256 bits, and decrypts it."""

    def encrypt(self, plain: bytes) -> bytes: ...

    def decrypt(self, sealed: bytes) -> bytes: ...


class AwsKms:
    """AWS KMS."""

    def __init__(self, key: str) -> None:
        self._key = key
        self._client: Any = _library("boto3", "aws").client("kms")

    def encrypt(self, plain: bytes) -> bytes:
        answer = self._client.encrypt(KeyId=self._key, Plaintext=plain, EncryptionContext=_CONTEXT)
        return bytes(answer["CiphertextBlob"])

    def decrypt(self, sealed: bytes) -> bytes:
        answer = self._client.decrypt(KeyId=self._key, CiphertextBlob=sealed, EncryptionContext=_CONTEXT)
        return bytes(answer["Plaintext"])


class VaultTransit:
    """The transit engine of Vault or OpenBao."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._transit: Any = _library("hvac", "vault").Client().secrets.transit

    def encrypt(self, plain: bytes) -> bytes:
        text = base64.b64encode(plain).decode("ascii")
        answer = self._transit.encrypt_data(name=self._name, plaintext=text)
        return str(answer["data"]["ciphertext"]).encode("ascii")

    def decrypt(self, sealed: bytes) -> bytes:
        answer = self._transit.decrypt_data(name=self._name, ciphertext=sealed.decode("ascii"))
        return base64.b64decode(answer["data"]["plaintext"])


SERVICES: dict[str, type[AwsKms] | type[VaultTransit]] = {"aws": AwsKms, "vault": VaultTransit}


def kms_of(service: str) -> Kms:
    """The service that `aws:KEY` or `vault:NAME` names. Raises KmsUnavailable."""
    kind, _, name = service.partition(":")
    if kind not in SERVICES or not name or any(each.isspace() for each in name):
        raise KmsUnavailable("A key management service is named aws:KEY or vault:NAME.")
    return SERVICES[kind](name)


def encrypted(service: str, plain: bytes) -> bytes:
    """Raises KmsUnavailable."""
    try:
        return kms_of(service).encrypt(plain)
    except ServerError:
        raise
    except Exception as exc:  # whatever the service's library raises: its text may hold names of accounts
        raise KmsUnavailable(f"{service} did not encrypt the master key ({type(exc).__name__}).") from exc


def decrypted(service: str, sealed: bytes) -> bytes:
    """Raises KmsUnavailable."""
    try:
        return kms_of(service).decrypt(sealed)
    except ServerError:
        raise
    except Exception as exc:
        raise KmsUnavailable(f"{service} did not decrypt the master key ({type(exc).__name__}).") from exc


def _library(name: str, extra: str) -> Any:
    try:
        return import_module(name)
    except ImportError as exc:
        raise KmsUnavailable(f"{name} is not installed: pip install lightbox-server[{extra}].") from exc
