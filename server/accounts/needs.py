"""What is used of the services here."""

from __future__ import annotations

from typing import Protocol

from server.audit.log import AuditLog
from server.core.settings import Settings
from server.jobs.mailer import Seal
from server.storage.db import Database


class Needs(Protocol):
    """To know an account and to mail its owner."""

    @property
    def settings(self) -> Settings: ...
    @property
    def db(self) -> Database: ...
    @property
    def keyring(self) -> Seal: ...


class NeedsLog(Needs, Protocol):
    """To write down what became of it, too."""

    @property
    def audit(self) -> AuditLog: ...
