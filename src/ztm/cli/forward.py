"""`ztm forward`: a port of another endpoint here, without any configuration, until Ctrl-C.

The local port is this process's own; each connection is one stream through the agent. Nothing is left behind.
"""

from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import Context
from ztm.errors import UsageError

if TYPE_CHECKING:
    from ztm.model import Address

LOCAL = "127.0.0.1"


def forward(context: Context, arguments: Arguments) -> int:
    """Listen here and carry every connection to a target that an endpoint dials; ends at Ctrl-C or SIGTERM.

    Raises:
        UsageError: an address is malformed.
        NotFoundError: there is no such endpoint.
        ConflictError: the local port cannot be listened on.
    """
    from ztm.cli.forwarding import Forwarding
    from ztm.model import Address
    from ztm.net.aio import run

    target = Address.parse(arguments.word("host:port"), LOCAL)
    word = arguments.word("local")
    listen = _local(word) if word else Address(LOCAL, target.port)
    endpoint = context.find_endpoint(arguments.word("endpoint"))
    return run(Forwarding(context, endpoint, target).serve(listen))


def _local(word: str) -> "Address":
    """Where to listen; port 0 is any free one."""
    from ztm.model import Address

    host, _, port = word.rpartition(":")
    if port == "0":
        return Address(host.strip("[]") or LOCAL, 0)
    address = Address.parse(word, LOCAL)
    if not address.host:
        raise UsageError(f"not an address to listen on: {word!r}")
    return address


COMMANDS = (
    Command(
        usage="forward <endpoint> <host:port> [local]",
        title="Reach a port of an endpoint's network here, until Ctrl-C",
        run=forward,
        notes="""The endpoint dials <host:port> (a port alone: its own 127.0.0.1), and must be one of yours.
It is listened on 127.0.0.1 and the same port, unless [local] ([ip:]port) says otherwise; port 0 takes a free one.""",
    ),
)
