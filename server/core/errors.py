"""The errors Lightbox raises, and what each means to a caller.

    ServerError                 500  something went wrong on our side
    ├─ InvalidInput             400  the request cannot be understood
    │  └─ UnknownParameter      400  a parameter nobody here knows
    ├─ NotAuthenticated         401  no token, or a dead one
    ├─ Forbidden                403  a specification demands that the refusal shows
    │  └─ InsufficientScope     403  a living token without the scope (RFC 6750, 3.1)
    ├─ NotFound                 404  does not exist, or may not be seen
    ├─ NotAllowed               405
    ├─ NotAcceptable            406
    ├─ Conflict                 409
    │  └─ AlreadyStored         409
    ├─ Gone                     410
    ├─ PreconditionFailed       412
    ├─ TooLarge                 413
    ├─ UnsupportedMediaType     415
    ├─ RangeNotSatisfiable      416
    ├─ Unprocessable            422  parsed, but a rule is broken
    ├─ TooManyRequests          429
    ├─ Unavailable              503  try the same again later
    │  └─ StorageUnavailable    503
    └─ OutOfSpace               507

The text given when raising is shown to the caller: one sentence, without health data; a class's docstring is the
sentence used when none is given. Each surface's `problem.py` turns these into its own language, in one place.
"""


class ServerError(Exception):
    """Something went wrong on our side; it has been noted."""

    status = 500
    issue = "exception"  # FHIR IssueType (http://hl7.org/fhir/R4/valueset-issue-type.html)

    def __init__(self, sentence: str | None = None, *, expression: str | None = None) -> None:
        super().__init__(sentence or (type(self).__doc__ or "").strip())
        self.expression = expression  # FHIRPath of the element at fault, where one is

    @property
    def headers(self) -> dict[str, str]:
        """What an answer that tells of it says in its headers, on every surface."""
        return {}


class InvalidInput(ServerError):
    """The request cannot be understood."""

    status = 400
    issue = "invalid"


class UnknownParameter(InvalidInput):
    """The search parameter is not supported."""

    issue = "not-supported"


class NotAuthenticated(ServerError):
    """A valid access token or sign-in is needed."""

    status = 401
    issue = "login"


class Forbidden(ServerError):
    """This is not permitted."""

    status = 403
    issue = "forbidden"


class InsufficientScope(Forbidden):
    """The access token has no scope for this."""


class NotFound(ServerError):
    """There is nothing here that you may see."""

    status = 404
    issue = "not-found"


class NotAllowed(ServerError):
    """This method is not possible here."""

    status = 405
    issue = "not-supported"

    def __init__(self, sentence: str | None = None, *, allow: str | None = None) -> None:
        super().__init__(sentence)
        self._allow = allow  # what is possible, where the routes of the address do not tell

    @property
    def headers(self) -> dict[str, str]:
        return {} if self._allow is None else {"Allow": self._allow}  # RFC 9110, 15.5.6


class NotAcceptable(ServerError):
    """None of the representations asked for can be made."""

    status = 406
    issue = "not-supported"


class Conflict(ServerError):
    """Another change got there first, or something still depends on it."""

    status = 409
    issue = "conflict"


class AlreadyStored(Conflict):
    """This is already stored."""

    issue = "duplicate"


class Gone(ServerError):
    """This was deleted."""

    status = 410
    issue = "deleted"


class PreconditionFailed(ServerError):
    """The condition of the request does not hold."""

    status = 412
    issue = "conflict"


class TooLarge(ServerError):
    """The request is too large."""

    status = 413
    issue = "too-long"


class UnsupportedMediaType(ServerError):
    """The media type of the request is not supported."""

    status = 415
    issue = "not-supported"


class RangeNotSatisfiable(ServerError):
    """The range asked for lies outside of the content."""

    status = 416
    issue = "invalid"

    def __init__(self, size: int) -> None:
        super().__init__(f"The range lies outside of the content, which has {size} bytes.")
        self.size = size

    @property
    def headers(self) -> dict[str, str]:
        return {"Content-Range": f"bytes */{self.size}"}  # RFC 9110, 15.5.17


class Unprocessable(ServerError):
    """The content breaks a rule."""

    status = 422
    issue = "processing"


class TooManyRequests(ServerError):
    """Too many requests; try again later."""

    status = 429
    issue = "throttled"

    def __init__(self, sentence: str | None = None, *, retry_after: int = 60) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after  # seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class Unavailable(ServerError):
    """This cannot be answered right now; try the same again later."""

    status = 503
    issue = "transient"

    def __init__(self, sentence: str | None = None, *, retry_after: int = 5) -> None:
        super().__init__(sentence)
        self.retry_after = retry_after  # seconds

    @property
    def headers(self) -> dict[str, str]:
        return {"Retry-After": str(self.retry_after)}


class StorageUnavailable(Unavailable):
    """The storage does not answer right now; try the same again later."""


class OutOfSpace(ServerError):
    """There is no room left to store this; nothing of it was kept."""

    status = 507
    issue = "no-store"
