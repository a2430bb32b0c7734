"""What an error of the way becomes in each protocol that clients speak.

It decides no more than codes; the reason goes with them where a protocol has room for one.
"""

from ztm.apps.proxy.entry.socks5 import Reply
from ztm.errors import (
    DeadlineError,
    ForbiddenError,
    LimitError,
    NotFoundError,
    RefusedError,
    UnreachableError,
    UsageError,
    ZtmError,
)

_SOCKS5: dict[type[ZtmError], Reply] = {
    ForbiddenError: Reply.FORBIDDEN,
    NotFoundError: Reply.HOST_UNREACHABLE,
    RefusedError: Reply.REFUSED,
    DeadlineError: Reply.LATE,
    UnreachableError: Reply.NETWORK_UNREACHABLE,
    UsageError: Reply.HOST_UNREACHABLE,
}
_HTTP: dict[type[ZtmError], int] = {
    ForbiddenError: 403,
    NotFoundError: 502,  # a 404 would be taken for the origin's own
    RefusedError: 502,
    DeadlineError: 504,
    UnreachableError: 503,
    LimitError: 503,
}


def socks5_reply(error: ZtmError) -> Reply:
    """The reply of SOCKS5 that comes nearest. Source: RFC 1928 section 6."""
    return next((reply for kind, reply in _SOCKS5.items() if isinstance(error, kind)), Reply.FAILED)


def http_status(error: ZtmError) -> int:
    """The status of a proxy's own answer. Source: RFC 9110 sections 15.5 and 15.6."""
    if isinstance(error, UsageError):
        return error.status
    return next((status for kind, status in _HTTP.items() if isinstance(error, kind)), 502)
