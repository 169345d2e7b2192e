"""Who acted, as the log needs to know it."""

from __future__ import annotations

from typing import NamedTuple
from uuid import UUID


class Who(NamedTuple):
    """The person or system that acted, the app it acted through, and from where."""

    name: str = ""
    role: str = ""
    account_id: UUID | str | None = None  # text when read back from the log
    practitioner_id: str | None = None
    organization_id: str | None = None
    client_id: str | None = None
    client_name: str = ""
    token_id: str | None = None
    address: str = ""
    link_id: str | None = None  # a guest, by the link they came through

    @property
    def subject(self) -> str | None:
        """The key of this caller's pseudonym: the account, a guest's link, or a client that acts for itself."""
        if self.account_id:
            return f"account:{self.account_id}"
        if self.link_id:
            return f"link:{self.link_id}"
        return f"client:{self.client_id}" if self.client_id else None


SYSTEM = Who(name="Lightbox", role="server")
