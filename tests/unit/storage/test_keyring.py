"""The master key, patients' keys, and what they open."""

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server.storage.keyring import (
    KeyRing,
    KeyUnusable,
    MasterKeyMissing,
    MasterKeyUnusable,
    new_data_key,
)


@pytest.fixture
def keyring() -> KeyRing:
    return KeyRing([os.urandom(32)])


def test_a_data_key_comes_back_for_its_patient_only(keyring: KeyRing) -> None:
    one, other, key = keyring.new_patient_key(), keyring.new_patient_key(), new_data_key()
    wrapped = keyring.wrap(one, key)
    assert len(wrapped) == 40
    assert keyring.unwrap(one, wrapped) == key
    with pytest.raises(KeyUnusable):
        keyring.unwrap(other, wrapped)


def test_another_master_key_opens_nothing(keyring: KeyRing) -> None:
    patient = keyring.new_patient_key()
    with pytest.raises(KeyUnusable):
        KeyRing([os.urandom(32)]).wrap(patient, new_data_key())


def test_turning_the_master_key_over_rewraps_patients_keys_only() -> None:
    old, new = os.urandom(32), os.urandom(32)
    before = KeyRing([old])
    patient, system = before.new_patient_key(), before.seal(None, b"secret", b"x")
    wrapped = before.wrap(patient, b"k" * 32)
    both = KeyRing([new, old])
    turned = both.rewrap(patient)
    assert KeyRing([new]).unwrap(turned, wrapped) == b"k" * 32
    assert both.unwrap(patient, wrapped) == b"k" * 32
    assert both.open(None, system, b"x") == b"secret"


@given(st.binary(max_size=300), st.binary(max_size=50))
def test_what_is_sealed_opens_in_its_context_only(plain: bytes, context: bytes) -> None:
    keyring = KeyRing([b"m" * 32])
    for patient in (None, keyring.new_patient_key()):
        sealed = keyring.seal(patient, plain, context)
        assert keyring.open(patient, sealed, context) == plain
        with pytest.raises(KeyUnusable):
            keyring.open(patient, sealed, context + b".")
        with pytest.raises(KeyUnusable):
            keyring.open(keyring.new_patient_key(), sealed, context)


@given(st.data())
def test_an_altered_seal_does_not_open(data: st.DataObject) -> None:
    keyring = KeyRing([b"m" * 32])
    sealed = bytearray(keyring.seal(None, b"the details", b""))
    place = data.draw(st.integers(0, len(sealed) - 1))
    sealed[place] ^= 1 << data.draw(st.integers(0, 7))
    with pytest.raises(KeyUnusable):
        keyring.open(None, bytes(sealed), b"")


@pytest.mark.parametrize("garbage", [b"", b"\x01", b"\x01" + bytes(12), b"\x02" + bytes(40)])
def test_garbage_does_not_open(keyring: KeyRing, garbage: bytes) -> None:
    with pytest.raises(KeyUnusable):
        keyring.open(None, garbage, b"")


@pytest.mark.parametrize("garbage", [b"", b"\x01", bytes(39), bytes(40)])
def test_garbage_does_not_unwrap(keyring: KeyRing, garbage: bytes) -> None:
    with pytest.raises(KeyUnusable):
        keyring.unwrap(keyring.new_patient_key(), garbage)
    with pytest.raises(KeyUnusable):
        keyring.unwrap(garbage, bytes(40))


def test_the_file_is_made_once_and_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "master.key"
    patient = KeyRing.load(path, create=True).new_patient_key()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert [each.name for each in path.parent.iterdir()] == ["master.key"]
    KeyRing.load(path, create=True).wrap(patient, new_data_key())
    KeyRing.load(path, create=False).wrap(patient, new_data_key())


def test_no_key_is_made_unasked(tmp_path: Path) -> None:
    with pytest.raises(MasterKeyMissing, match=r"master\.key"):
        KeyRing.load(tmp_path / "master.key", create=False)
    assert list(tmp_path.iterdir()) == []


def test_two_that_start_at_once_share_one_key(tmp_path: Path) -> None:
    path = tmp_path / "master.key"
    with ThreadPoolExecutor(8) as threads:
        rings = list(threads.map(lambda _: KeyRing.load(path, create=True), range(8)))
    patient = rings[0].new_patient_key()
    for ring in rings:
        ring.wrap(patient, new_data_key())
    assert [each.name for each in tmp_path.iterdir()] == ["master.key"]


@pytest.mark.parametrize(
    "text",
    ["", "# nothing\n", "hello\n", "lightbox-master-key-1 ****\n", "lightbox-master-key-1 AAAA\n", "ö"],
)
def test_a_strange_key_file_stops_the_start(tmp_path: Path, text: str) -> None:
    path = tmp_path / "master.key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(MasterKeyUnusable):
        KeyRing.load(path, create=True)
    assert path.read_text(encoding="utf-8") == text
