"""How a command fails: the exit statuses, and the one error that only the command line knows."""

from ztm.errors import CertificateError, UnreachableError, UsageError, ZtmError

FAILED = 1
WRONG_USAGE = 2
NO_AGENT = 3
INTERRUPTED = 130
"""As shells report SIGINT."""
NO_READER = 141
"""As shells report SIGPIPE."""


class AgentUnreachableError(UnreachableError):
    """Nothing answers at the agent's address."""


def status_of(error: ZtmError) -> int:
    """The exit status that stands for `error`.

    A bad permit or key is a file's fault, not that of the words typed, so it is no usage error.
    """
    if isinstance(error, AgentUnreachableError):
        return NO_AGENT
    if isinstance(error, UsageError) and not isinstance(error, CertificateError):
        return WRONG_USAGE
    return FAILED
