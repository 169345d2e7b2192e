"""The master key encrypted by a key management service; stand-ins for boto3 and hvac that answer in their shapes."""

from __future__ import annotations

import base64
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from server.access.services import Services
from server.storage import kms, rotation
from server.storage.keyring import KeyFile, KeyRing, read_key_file, write_key_file
from tests.factories import People


def _turned(data: bytes) -> bytes:
    return bytes(each ^ 0x5A for each in data)


class Boto:
    """https://docs.aws.amazon.com/kms/latest/APIReference/API_Encrypt.html"""

    def encrypt(self, **asked: Any) -> dict[str, Any]:
        assert asked.pop("KeyId") == "alias/lightbox"
        assert asked.pop("EncryptionContext") == {"purpose": "lightbox master key"}
        return {"CiphertextBlob": _turned(asked.pop("Plaintext"))}

    def decrypt(self, **asked: Any) -> dict[str, Any]:
        assert asked.pop("KeyId") == "alias/lightbox"
        assert asked.pop("EncryptionContext") == {"purpose": "lightbox master key"}
        return {"Plaintext": _turned(asked.pop("CiphertextBlob"))}


class Transit:
    """https://developer.hashicorp.com/vault/api-docs/secret/transit"""

    def encrypt_data(self, *, name: str, plaintext: str) -> dict[str, Any]:
        return {"data": {"ciphertext": "vault:v1:" + plaintext[::-1]}}

    def decrypt_data(self, *, name: str, ciphertext: str) -> dict[str, Any]:
        return {"data": {"plaintext": ciphertext.removeprefix("vault:v1:")[::-1]}}


@pytest.fixture(params=["aws:alias/lightbox", "vault:lightbox"])
def service(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    boto, hvac = ModuleType("boto3"), ModuleType("hvac")
    boto.client = lambda name: Boto()  # type: ignore[attr-defined]
    secrets = SimpleNamespace(transit=Transit())
    hvac.Client = lambda: SimpleNamespace(secrets=secrets)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "boto3", boto)
    monkeypatch.setitem(sys.modules, "hvac", hvac)
    return str(request.param)


async def test_the_file_alone_opens_nothing(services: Services, service: str) -> None:
    """And the rest is as before: it opens, it rotates, and the new key lies encrypted too."""
    path, key = services.settings.key_file, await People(services).patient()
    held = read_key_file(path)
    write_key_file(path, KeyFile(held.masters, held.systems, service))
    text = path.read_text()
    assert base64.b64encode(held.masters[0]).decode() not in text
    assert service in text
    assert KeyRing.load(path, create=False).fingerprint == services.keyring.fingerprint
    await rotation.rotate_master(services.db, path, grace=0)
    after = read_key_file(path)
    assert after.kms == service
    assert after.masters != held.masters
    assert base64.b64encode(after.masters[0]).decode() not in path.read_text()
    await People(services).token(key)  # what the old key sealed for the system opens


def test_without_the_service_a_start_is_refused(
    tmp_path: Path, service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a process that runs goes on with what it knows."""
    path = tmp_path / "master.key"
    keyring = KeyRing.load(path, create=True)
    wrapped = keyring.new_patient_key()
    write_key_file(path, KeyFile(read_key_file(path).masters, (), service))
    for name in ("boto3", "hvac"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(kms.KmsUnavailable):
        KeyRing.load(path, create=False)
    assert keyring.wrap(wrapped, b"k" * 32)


@pytest.mark.parametrize("name", ["", "aws:", "gcp:key", "aws:two words"])
def test_what_names_no_service(name: str) -> None:
    with pytest.raises(kms.KmsUnavailable):
        kms.encrypted(name, b"k" * 32)
