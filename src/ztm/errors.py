"""Every deliberate error of ztm, as one tree; each class names the HTTP status it becomes.

Messages are for people: who, what, why and, where it helps, what to do next. They never hold key material.
"""

from typing import ClassVar


class ZtmError(Exception):
    """Any failure that ztm means to report; `status` is what it becomes on HTTP."""

    status: ClassVar[int] = 500

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message

    def __str__(self) -> str:
        return self.message or type(self).__name__


class UsageError(ZtmError):
    """What was asked is not well formed; asking again the same way cannot help."""

    status = 400


class CertificateError(UsageError):
    """A key, certificate or permit is malformed, expired, or not of this mesh."""


class UnauthorizedError(ZtmError):
    """The caller did not prove who it is."""

    status = 401


class ForbiddenError(ZtmError):
    """The caller is known, and may not do this."""

    status = 403


class NotFoundError(ZtmError):
    """What was named does not exist, or is hidden from the caller."""

    status = 404


class MethodError(ZtmError):
    """The path exists, and does not take this method."""

    status = 405


class SlowBodyError(ZtmError):
    """The caller began a body and did not go on with it in time."""

    status = 408


class ConflictError(ZtmError):
    """The request contradicts what is there (a port in use, a name taken)."""

    status = 409


class TooLargeError(ZtmError):
    """A body, header or datagram exceeds its stated bound."""

    status = 413


class UnusableError(ZtmError):
    """What was given is well formed, and cannot be used here (an app of another kind, a package by a stranger)."""

    status = 422


class LimitError(ZtmError):
    """A stated limit is reached; the same request may succeed later."""

    status = 429


class BrokenStreamError(ZtmError):
    """The stream was cut before its end, by either side or by the network."""

    status = 502


class RefusedError(ZtmError):
    """The next hop answered, and said no; `answer` is the status it gave."""

    status = 502

    def __init__(self, message: str = "", answer: int = 502) -> None:
        super().__init__(message)
        self.answer = answer


class UnreachableError(ZtmError):
    """The thing exists, and no session or connection leads to it now."""

    status = 503


class DeadlineError(ZtmError):
    """No answer came in the time that was set."""

    status = 504


class StorageError(ZtmError):
    """The disk or database did not take what it was given; nothing was acknowledged."""

    status = 507


BY_STATUS: dict[int, type[ZtmError]] = {
    400: UsageError,
    401: UnauthorizedError,
    403: ForbiddenError,
    404: NotFoundError,
    405: MethodError,
    408: SlowBodyError,
    409: ConflictError,
    413: TooLargeError,
    422: UnusableError,
    429: LimitError,
    503: UnreachableError,
    504: DeadlineError,
    507: StorageError,
}


def from_status(status: int, message: str) -> ZtmError:
    """The error that an HTTP answer with `status` stands for."""
    kind = BY_STATUS.get(status)
    return kind(message) if kind else RefusedError(message, answer=status)
