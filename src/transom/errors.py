"""The error tree, and which of it a client may see.

    TransomError
    ├── ConfigError                a declared file is wrong: file, line, what, remedy
    │   └── ConfigErrors           several of them, found in one reading
    ├── StartError                 the process cannot start here (port, home, database): what, remedy
    ├── StorageError               the database or the object store failed or is too slow
    ├── LedgerError                the ledger, a key of it or an entry is not as it must be: what, remedy
    └── Refusal                    an answer to a caller: status, type, code, message in the dialect's shape
        ├── InvalidRequest   400   the body, or a field of it, cannot be understood
        ├── BodyTooLarge     413
        ├── BodyTimeout      408   the body did not arrive in time
        ├── Unidentified     401   no key, or one that is not known, expired or revoked
        ├── Forbidden        403   policy forbids; names the policies
        ├── Blocked          403   a safeguard blocks; names the safeguard and the kind of finding
        ├── NotFound         404   no such route, model (or none this caller may see) or decision
        ├── MethodNotAllowed 405
        ├── TooMany          429   a rate is used up; names the limit
        ├── UpstreamFailed   502   no upstream of the route could answer
        ├── UpstreamTimeout  504   the last upstream of the route did not answer in time
        ├── NotDurable       503   the decision could not be made durable, so no answer may leave
        └── Internal         500   anything else; says nothing but the decision's id

Only a `Refusal` reaches a client with its text. Every other exception becomes `Internal`.
"""

from typing import ClassVar


class TransomError(Exception):
    """Something Transom itself raised."""


class ConfigError(TransomError):
    """A declared file is wrong.

    `str()` is one line a person can act on, `file:line:column: what. Remedy.`; several problems, several lines.
    """

    def __init__(
        self, what: str, *, file: str | None = None, line: int | None = None, column: int | None = None
    ) -> None:
        self.what = what
        self.file = file
        self.line = line
        self.column = column
        place = ":".join(str(part) for part in (file, line, column) if part is not None)
        super().__init__(f"{place}: {what}" if place else what)


class ConfigErrors(ConfigError):
    """Several problems of one reading, each with its own place."""

    def __init__(self, problems: list[ConfigError]) -> None:
        self.problems = problems
        super().__init__("\n".join(str(problem) for problem in problems))


class StartError(TransomError):
    """The process cannot start here. The text says what is in the way and what to do."""


class StorageError(TransomError):
    """The database or the object store failed, or did not answer in time."""


class LedgerError(TransomError):
    """The ledger, a key of it, or an entry is not as it must be. The text says what, where and what to do."""


class Refusal(TransomError):
    """An answer to a caller that is not what was asked for. Its text is shown to the caller.

    `type`, `code` and `param` are those of OpenAI's error object; `retry_after` is in whole seconds.
    """

    status: ClassVar[int] = 500
    type: ClassVar[str] = "api_error"
    default_code: ClassVar[str | None] = None

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        param: str | None = None,
        retry_after: int | None = None,
        policies: tuple[str, ...] = (),
        allow: str | None = None,
    ) -> None:
        self.message = message
        self.code = code or self.default_code
        self.param = param
        self.retry_after = retry_after
        self.policies = policies
        self.allow = allow
        self.decision: str | None = None
        """The decision that recorded it, once there is one."""
        super().__init__(message)


class InvalidRequest(Refusal):
    """The body, or a field of it, cannot be understood."""

    status = 400
    type = "invalid_request_error"


class BodyTooLarge(Refusal):
    """The body is longer than this door takes."""

    status = 413
    type = "invalid_request_error"
    default_code = "request_too_large"


class BodyTimeout(Refusal):
    """The body did not arrive in time."""

    status = 408
    type = "invalid_request_error"
    default_code = "request_timeout"


class Unidentified(Refusal):
    """No key, or one that is not known, expired or revoked."""

    status = 401
    type = "authentication_error"
    default_code = "invalid_api_key"


class Forbidden(Refusal):
    """Policy forbids it; the text names the policies."""

    status = 403
    type = "permission_error"
    default_code = "policy_forbids"


class Blocked(Refusal):
    """A safeguard blocks it; the text names the safeguard and the kind of finding."""

    status = 403
    type = "permission_error"
    default_code = "safeguard_blocked"


class NotFound(Refusal):
    """No such route, decision, or model that this caller may see."""

    status = 404
    type = "invalid_request_error"
    default_code = "not_found"


class MethodNotAllowed(Refusal):
    """The route exists, but not with this method."""

    status = 405
    type = "invalid_request_error"
    default_code = "method_not_allowed"


class TooMany(Refusal):
    """A rate is used up; the text names the limit, `retry_after` says when it is worth another try."""

    status = 429
    type = "rate_limit_error"
    default_code = "rate_limit_exceeded"


class UpstreamFailed(Refusal):
    """No upstream of the route could answer."""

    status = 502
    type = "upstream_error"
    default_code = "upstream_failed"


class UpstreamTimeout(Refusal):
    """The last upstream of the route did not answer in time."""

    status = 504
    type = "upstream_error"
    default_code = "upstream_timeout"


class NotDurable(Refusal):
    """The decision could not be made durable, so no answer may leave."""

    status = 503
    type = "api_error"
    default_code = "not_durable"


class Internal(Refusal):
    """Anything else; the text says nothing but where to look."""

    status = 500
    type = "api_error"
    default_code = "internal_error"
