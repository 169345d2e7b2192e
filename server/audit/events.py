"""Every event the log knows, in one list."""

from enum import StrEnum


class Event(StrEnum):
    """What happened, as <area>:<thing>:<verb>."""

    # health data
    STUDY_STORED = "imaging:study:stored"
    STUDY_VIEWED = "imaging:study:viewed"
    STUDY_DOWNLOADED = "imaging:study:downloaded"
    STUDY_SEARCHED = "imaging:study:searched"
    STUDY_DELETED = "imaging:study:deleted"
    STUDY_RESTORED = "imaging:study:restored"
    STUDY_CLAIMED = "imaging:study:claimed"  # the patient said "mine"
    STUDY_DISOWNED = "imaging:study:disowned"  # the patient said "not mine"
    STUDY_CORRECTED = "imaging:study:corrected"  # the patient said how it is
    RECORD_CREATED = "record:resource:created"
    RECORD_READ = "record:resource:read"
    RECORD_UPDATED = "record:resource:updated"
    RECORD_DELETED = "record:resource:deleted"
    RECORD_SEARCHED = "record:resource:searched"
    RECORD_EXPORTED = "record:resource:exported"
    ACCESS_REFUSED = "access:request:refused"
    # shares
    SHARE_INVITED = "share:invitation:sent"
    SHARE_RESENT = "share:invitation:resent"
    SHARE_REQUESTED = "share:request:made"
    SHARE_ACCEPTED = "share:invitation:accepted"
    SHARE_GIVEN = "share:share:given"  # by the patient, on a doctor's own page
    SHARE_DECLINED = "share:invitation:declined"
    SHARE_WITHDRAWN = "share:invitation:withdrawn"
    SHARE_EXPIRED = "share:invitation:expired"
    SHARE_CHANGED = "share:share:changed"
    SHARE_ENDED = "share:share:ended"
    LINK_CREATED = "share:link:created"  # for a guest, who has no account
    LINK_OPENED = "share:link:opened"
    LINK_REFUSED = "share:link:refused"
    LINK_ENDED = "share:link:ended"
    PASS_CREATED = "app:pass:created"  # noqa: S105 - a viewer on somebody's desktop reads one study
    PASS_ENDED = "app:pass:ended"  # noqa: S105
    CONSENT_CHANGED = "consent:permission:changed"
    # apps
    APP_AUTHORIZED = "app:grant:given"
    APP_REFUSED = "app:grant:refused"
    APP_REVOKED = "app:grant:ended"
    TOKEN_ISSUED = "app:token:issued"  # noqa: S105 - the name of an event
    TOKEN_REUSED = "app:token:reused"  # noqa: S105 - a spent code or refresh token came back
    CLIENT_REGISTERED = "app:client:registered"
    # people
    ACCOUNT_CREATED = "account:account:created"
    EMAIL_VERIFIED = "account:email:verified"
    SIGNED_IN = "account:session:started"
    SIGN_IN_FAILED = "account:session:refused"
    SIGNED_OUT = "account:session:ended"
    PASSWORD_CHANGED = "account:password:changed"  # noqa: S105 - the name of an event
    SECOND_STEP_FAILED = "account:factor:refused"  # the password was right
    FACTOR_ADDED = "account:factor:added"
    FACTOR_REMOVED = "account:factor:removed"
    FACTOR_LOST = "account:factor:lost"  # its owner says so; days of waiting begin
    FACTOR_KEPT = "account:factor:kept"
    CODES_MADE = "account:codes:made"
    EMAIL_CHANGE_ASKED = "account:email:asked"
    EMAIL_CHANGED = "account:email:changed"
    EMAIL_CHANGE_UNDONE = "account:email:undone"
    SESSIONS_ENDED = "account:sessions:ended"
    REGISTRATION_CHANGED = "account:registration:changed"  # what a doctor says of being one
    DOCTOR_PAGE_CHANGED = "account:page:changed"  # a doctor's page was made, reset or closed
    PROFILE_CREATED = "profile:profile:created"
    PROFILE_CHANGED = "profile:profile:changed"
    PROFILE_CLAIMED = "profile:profile:claimed"
    RECORDS_MERGED = "profile:records:merged"  # two of one person are one from now on
    RECORDS_PARTED = "profile:records:parted"  # by an operator: they were not
    GUARDIAN_INVITED = "profile:guardian:invited"
    GUARDIAN_ADDED = "profile:guardian:added"
    GUARDIAN_ENDED = "profile:guardian:ended"
    BREAK_GLASS_ALLOWED = "profile:emergency:allowed"  # doctors with the patient's code, for two hours
    BREAK_GLASS_FORBIDDEN = "profile:emergency:forbidden"
    BREAK_GLASS_OPENED = "profile:emergency:opened"
    # rights
    DATA_EXPORTED = "rights:copy:made"
    DATA_FETCHED = "rights:copy:fetched"
    RECORD_RESTRICTED = "rights:restriction:begun"
    RECORD_UNRESTRICTED = "rights:restriction:ended"
    ERASURE_ASKED = "rights:erasure:asked"
    ERASURE_CANCELLED = "rights:erasure:cancelled"
    ERASURE_REFUSED = "rights:erasure:refused"  # a hold
    ERASURE_BEGUN = "rights:erasure:begun"
    ERASURE_DONE = "rights:erasure:done"
    HOLD_PLACED = "rights:hold:placed"
    HOLD_RELEASED = "rights:hold:released"
    DISCLOSED = "rights:disclosure:made"
    DISCLOSURE_TOLD = "rights:disclosure:told"
    POLICY_ANSWERED = "rights:policy:answered"
    RESEARCH_JOINED = "rights:research:joined"
    RESEARCH_LEFT = "rights:research:left"
    RESEARCH_GIVEN = "rights:research:given"  # images without a name, to a project
    # operators
    OPERATOR_ACTED = "operator:command:run"
    REQUEST_ACTED = "operator:request:changed"  # a request that came through contact
    DOCTOR_JUDGED = "operator:doctor:judged"  # verified, suspended
    RESEARCH_ACTED = "operator:research:changed"  # a project or a delivery was made, approved, ended, fetched
    PROPOSED = "operator:proposal:made"  # another operator has to agree
    PROPOSAL_DECIDED = "operator:proposal:decided"
    EMERGENCY_BEGUN = "operator:emergency:begun"  # an operator may look into one record for a while
    EMERGENCY_ENDED = "operator:emergency:ended"
    RETENTION_RUN = "operator:retention:run"  # what is due by its age was counted, or removed
    INCIDENT_OPENED = "operator:incident:opened"
    INCIDENT_ACTED = "operator:incident:changed"


class Outcome(StrEnum):
    """How it went; FHIR R4 AuditEvent.outcome in words."""

    SUCCESS = "success"  # 0
    REFUSED = "refused"  # 4, minor failure
    FAILED = "failed"  # 8, serious failure
