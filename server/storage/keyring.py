"""Keys: the master key wraps each patient's key, a patient's key wraps the data key of each object.

Wrapping is AES key wrap (RFC 3394), which also proves the key: a wrong one does not unwrap. Small things
(audit details, secrets) are sealed with AES-256-GCM under a key derived from the patient's (HKDF, RFC 5869),
so that no key serves two algorithms. Destroying a patient's wrapped key makes all of it unreadable; turning the
master key over only wraps the patients' keys anew. A patient's wrapped key is given as the main database holds it:
itself, or a ticket for the store that has it (key_store.py).

The master key file holds one key a line, the newest first: it wraps, all of them unwrap. What was sealed for the
system under a master key that is gone opens with the key derived from it, which the file keeps. A process looks at
the file's date whenever it needs a key, so a rotation is known everywhere at once (rotation.py); a key once read is
remembered for opening until the process ends, for what began before it went.
"""

from __future__ import annotations

import base64
import binascii
import os
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.keywrap import InvalidUnwrap, aes_key_unwrap, aes_key_wrap

from server.core.errors import ServerError

from . import kms
from .key_store import KeyStore, is_ticket

KEY_SIZE = 32
_NONCE_SIZE = 12
_VERSION = b"\x01"  # of what seal() makes
_LINE = "lightbox-master-key-1"
_SYSTEM_LINE = "lightbox-system-key-1"
_AS_IT_IS, _BY_KMS = "-1", "-kms-1"  # how a word ends
_TRY_AGAIN = 5.0  # seconds after a changed file could not be read
_Stamp: TypeAlias = tuple[int, int, int]
_HEAD = (
    "# The master key of this Lightbox. Without it nothing stored can be read again: keep a copy elsewhere.\n"
)

T = TypeVar("T")


class KeyUnusable(ServerError):
    """A key does not fit what it should open."""


class MasterKeyMissing(ServerError):
    """The master key file is missing."""


class MasterKeyUnusable(ServerError):
    """The master key file cannot be read."""


def new_data_key() -> bytes:
    """256 random bits for one object."""
    return secrets.token_bytes(KEY_SIZE)


@dataclass(frozen=True)
class KeyFile:
    """What a master key file holds; the newest first."""

    masters: tuple[bytes, ...] = field(repr=False)
    systems: tuple[bytes, ...] = field(default=(), repr=False)  # derived from masters that are gone
    kms: str = ""  # the service that encrypts them in the file; empty: they lie there as they are (kms.py)

    def __post_init__(self) -> None:
        if not self.masters or any(len(key) != KEY_SIZE for key in (*self.masters, *self.systems)):
            raise MasterKeyUnusable("A master key has 256 bits.")

    @property
    def sealers(self) -> tuple[bytes, ...]:
        """Keys for what belongs to the system: the first seals, all of them open."""
        return (*(system_key(key) for key in self.masters), *self.systems)


class KeyRing:
    """The master keys of this deployment, and what they open."""

    def __init__(
        self, master_keys: Sequence[bytes], path: Path | None = None, store: KeyStore | None = None
    ) -> None:
        self.store = store  # of patients' keys, where they do not lie in the main database
        self._held = KeyFile(tuple(master_keys))
        self._sealers = tuple(map(AESGCM, self._held.sealers))
        self._path = path
        self._seen = _stamp(path)
        self._not_before = 0.0  # the next try, after one that failed

    @classmethod
    def load(cls, path: Path, *, create: bool, store: KeyStore | None = None) -> KeyRing:
        """Read the file; with `create`, make it when there is none.

        A new key beside old data would hide that the old one is lost: whoever calls knows what is there.
        Raises MasterKeyMissing, MasterKeyUnusable.
        """
        if create and not path.exists():
            _make_file(path)
        stamp = _stamp(path)
        found = read_key_file(path)
        made = cls(found.masters, path, store)
        made._take(found)
        made._seen = stamp
        return made

    def _current(self) -> KeyFile:
        """The keys as the file has them now."""
        if self._path is not None and (stamp := _stamp(self._path)) != self._seen and stamp is not None:
            self._read_again(self._path, stamp)
        return self._held

    def _read_again(self, path: Path, stamp: _Stamp) -> None:
        """A file that is gone or broken for a moment, or a service that is: what is known goes on."""
        if time.monotonic() < self._not_before:
            return
        try:
            self._take(read_key_file(path))
            self._seen = stamp
        except ServerError:
            self._not_before = time.monotonic() + _TRY_AGAIN

    def _take(self, found: KeyFile) -> None:
        older = tuple(key for key in self._held.masters if key not in found.masters)
        self._held = KeyFile((*found.masters, *older), found.systems, found.kms)
        self._sealers = tuple(map(AESGCM, self._held.sealers))

    def new_patient_key(self) -> bytes:
        """A new random patient key, wrapped: what `keys.patient_key.wrapped` holds."""
        return aes_key_wrap(self._current().masters[0], secrets.token_bytes(KEY_SIZE))

    async def add_patient_key(self, patient_id: str) -> bytes:
        """A key for a new patient, durable where keys lie; what the row in the main database holds.

        Raises StorageUnavailable.
        """
        wrapped = self.new_patient_key()
        return wrapped if self.store is None else await self.store.add(patient_id, wrapped)

    def wrapped(self, held: bytes) -> bytes:
        """The wrapped key that a row holds or has a ticket for; raises KeyUnusable when it was destroyed."""
        if not is_ticket(held):
            return held
        found = self.store.wrapped_of(held) if self.store is not None else None
        if found is None:
            raise KeyUnusable()
        return found

    def still_held(self, held: bytes | None) -> bytes | None:
        """The same, or None where the key behind it was destroyed."""
        try:
            return held if held is None or self.wrapped(held) else None
        except KeyUnusable:
            return None

    def rewrap(self, wrapped_patient_key: bytes) -> bytes:
        """The same patient key under the newest master key; raises KeyUnusable when none opens it."""
        return aes_key_wrap(self._current().masters[0], self._patient_key(wrapped_patient_key))

    def is_newest(self, wrapped_patient_key: bytes) -> bool:
        """Whether the newest master key wraps it."""
        try:
            aes_key_unwrap(self._current().masters[0], wrapped_patient_key)
        except (InvalidUnwrap, ValueError):
            return False
        return True

    @property
    def fingerprint(self) -> bytes:
        """The newest master key's, which says nothing of the key."""
        return fingerprint_of(self._current().masters[0])

    def wrap(self, wrapped_patient_key: bytes, data_key: bytes) -> bytes:
        """A data key as its row keeps it: 40 bytes."""
        return aes_key_wrap(self._patient_key(wrapped_patient_key), data_key)

    def unwrap(self, wrapped_patient_key: bytes, wrapped_data_key: bytes) -> bytes:
        """The data key again; raises KeyUnusable when it is not this patient's."""
        try:
            return aes_key_unwrap(self._patient_key(wrapped_patient_key), wrapped_data_key)
        except (InvalidUnwrap, ValueError) as exc:
            raise KeyUnusable() from exc

    def seal(self, wrapped_patient_key: bytes | None, plain: bytes, context: bytes) -> bytes:
        """Encrypt something small for a patient or (None) the system; it opens in the same `context` only."""
        nonce = os.urandom(_NONCE_SIZE)
        cipher = self._ciphers(wrapped_patient_key)[0]
        return _VERSION + nonce + cipher.encrypt(nonce, plain, context)

    def open(self, wrapped_patient_key: bytes | None, sealed: bytes, context: bytes) -> bytes:
        """What was sealed; raises KeyUnusable for another key, another context or altered bytes."""
        return self.opener(wrapped_patient_key)(sealed, context)

    def opener(self, wrapped_patient_key: bytes | None) -> Callable[[bytes, bytes], bytes]:
        """`open` for much that is sealed alike: the key is unwrapped once, and should not be kept for long."""
        ciphers = self._ciphers(wrapped_patient_key)

        def opened(sealed: bytes, context: bytes) -> bytes:
            if sealed[:1] != _VERSION:
                raise KeyUnusable()
            nonce, body = sealed[1 : 1 + _NONCE_SIZE], sealed[1 + _NONCE_SIZE :]
            for cipher in ciphers:
                try:
                    return cipher.decrypt(nonce, body, context)
                except (InvalidTag, ValueError):
                    continue
            raise KeyUnusable()

        return opened

    def _ciphers(self, wrapped_patient_key: bytes | None) -> tuple[AESGCM, ...]:
        """What seals for a patient or the system, and what did before the keys were changed."""
        if wrapped_patient_key is None:
            self._current()
            return self._sealers
        return (AESGCM(_derived(self._patient_key(wrapped_patient_key), b"lightbox patient")),)

    def _patient_key(self, held: bytes) -> bytes:
        wrapped = self.wrapped(held)
        return _first(self._current().masters, lambda master: aes_key_unwrap(master, wrapped))


def system_key(master: bytes) -> bytes:
    """What a master key seals for the system with."""
    return _derived(master, b"lightbox system")


def fingerprint_of(master: bytes) -> bytes:
    """To say which key is meant, without the key."""
    return _derived(master, b"lightbox fingerprint")[:16]


def _stamp(path: Path | None) -> _Stamp | None:
    """When the file was changed last, as a whole file put in its place shows it."""
    if path is None:
        return None
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino, found.st_size


def _first(keys: Sequence[bytes], attempt: Callable[[bytes], T]) -> T:
    """The result of the first key that fits."""
    for key in keys:
        try:
            return attempt(key)
        except (InvalidUnwrap, ValueError):
            continue
    raise KeyUnusable()


def _derived(key: bytes, purpose: bytes) -> bytes:
    # Without salt: the key is uniformly random already (RFC 5869, 3.1 and 3.3).
    return HKDF(algorithm=SHA256(), length=KEY_SIZE, salt=None, info=purpose).derive(key)


def read_key_file(path: Path) -> KeyFile:
    """Raises MasterKeyMissing, MasterKeyUnusable."""
    try:
        return parse(path.read_text(encoding="ascii"))
    except FileNotFoundError as exc:
        raise MasterKeyMissing(f"The master key file {path} is missing; nothing stored can be read.") from exc
    except (OSError, ValueError) as exc:
        raise MasterKeyUnusable(f"The master key file {path} cannot be read.") from exc


def parse(text: str) -> KeyFile:
    """The keys of a master key file; raises ValueError for anything else in it, KmsUnavailable."""
    found: dict[str, list[bytes]] = {_LINE: [], _SYSTEM_LINE: []}
    service = ""
    for line in text.splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        word, _, value = line.partition(" ")
        if word.endswith(_BY_KMS):
            service, _, value = value.strip().partition(" ")
            word = word.replace(_BY_KMS, _AS_IT_IS)
            key = kms.decrypted(service, _decoded(value))
        else:
            key = _decoded(value)
        if word not in found:
            raise ValueError("not a master key file")
        found[word].append(key)
    return KeyFile(tuple(found[_LINE]), tuple(found[_SYSTEM_LINE]), service)


def _decoded(value: str) -> bytes:
    try:
        return base64.b64decode(value.strip(), validate=True)
    except binascii.Error as exc:
        raise ValueError("not a master key") from exc


def write_key_file(path: Path, keys: KeyFile) -> None:
    """Put a file of these keys in the place of the one there: at `path` lies a whole one at any moment."""
    draft = _draft(path, keys)
    draft.replace(path)
    _sync_directory(path.parent)


def _draft(path: Path, keys: KeyFile) -> Path:
    lines = [_line(_LINE, key, keys.kms) for key in keys.masters]
    lines += [_line(_SYSTEM_LINE, key, keys.kms) for key in keys.systems]
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(_HEAD + "\n".join(lines) + "\n")
        file.flush()
        os.fsync(file.fileno())
    return draft


def _line(word: str, key: bytes, service: str) -> str:
    if service:
        word, key = f"{word.removesuffix(_AS_IT_IS)}{_BY_KMS} {service}", kms.encrypted(service, key)
    return f"{word} {base64.b64encode(key).decode('ascii')}"


def _make_file(path: Path) -> None:
    """Write a new key under another name and link it: at `path` lies a whole key or none.

    Two processes may start at once: the link of the second fails, and it uses the first one's key.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = _draft(path, KeyFile((secrets.token_bytes(KEY_SIZE),)))
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
    _sync_directory(path.parent)


def _sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
