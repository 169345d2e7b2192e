"""What a running server is made of, passed to every handler: built once in app.py, nothing global."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from server.audit.log import AuditLog
from server.core.settings import Settings
from server.storage.db import Database
from server.storage.keyring import KeyRing
from server.storage.objects import ObjectStore

if TYPE_CHECKING:
    from .gate import Gate
    from .keys import SigningKeys
    from .tokens import Tokens


@dataclass(frozen=True)
class Services:
    """The parts below the surfaces."""

    settings: Settings
    db: Database
    keyring: KeyRing
    objects: ObjectStore
    audit: AuditLog
    keys: SigningKeys
    tokens: Tokens
    gate: Gate
