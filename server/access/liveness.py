"""Whether what a caller showed still lives, as conditions that go into every statement.

A session, a guest's visit, a viewer's pass, an app's grant, a person's place in an organization: each is asked of its
living row, so that what ended a millisecond ago has ended.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from server.storage.where import Where

from .actor import Credential

_SESSION = (
    "EXISTS (SELECT 1 FROM session WHERE session.id = :alive_session::uuid AND session.ended_at IS NULL"
    " AND session.expires_at > :reach_now AND session.idle_until > :reach_now)"
)
_VISIT = (
    "EXISTS (SELECT 1 FROM guest_visit AS visit JOIN guest_link AS link ON link.id = visit.link_id"
    " WHERE visit.id = :alive_visit::uuid AND visit.opened_at IS NOT NULL AND visit.ended_at IS NULL"
    " AND visit.until > :reach_now AND link.ended_at IS NULL AND link.until > :reach_now)"
)
_VIEWER = (
    "EXISTS (SELECT 1 FROM viewer_pass AS pass JOIN account ON account.id = pass.account_id"
    " WHERE pass.id = :alive_pass::uuid AND pass.ended_at IS NULL AND pass.until > :reach_now"
    " AND account.disabled_at IS NULL)"
)
_GRANT = (
    "EXISTS (SELECT 1 FROM app_grant JOIN client ON client.id = app_grant.client_id"
    " WHERE app_grant.id = :alive_grant::uuid AND client.disabled_at IS NULL"
    " AND app_grant.ended_at IS NULL AND (app_grant.expires_at IS NULL OR app_grant.expires_at > :reach_now)"
    " AND (NOT app_grant.online OR EXISTS (SELECT 1 FROM session WHERE session.id = app_grant.session_id"
    " AND session.ended_at IS NULL AND session.expires_at > :reach_now)))"
)
_MEMBER = (
    "EXISTS (SELECT 1 FROM organization_member AS belongs WHERE belongs.account_id = :alive_account::uuid"
    " AND belongs.organization_id = :alive_organization)"
)


def alive(credential: Credential, now: datetime) -> Iterator[Where]:
    """That everything the caller showed still lives."""
    shown = (
        (_SESSION, "alive_session", credential.session_id),
        (_VISIT, "alive_visit", credential.visit_id),
        (_VIEWER, "alive_pass", credential.pass_id),
        (_GRANT, "alive_grant", credential.grant_id),
    )
    for condition, name, id in shown:
        if id is not None:
            yield Where(condition, {name: id, "reach_now": now})
    if credential.member is not None:
        account, organization = credential.member
        yield Where(_MEMBER, {"alive_account": account, "alive_organization": organization})
