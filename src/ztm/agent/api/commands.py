"""``CONNECT .../apps/{provider}/{app}/cli``: a command of an app, run here for a caller on the local port.

v1's command line gets bare bytes; ours asks for frames, and gets standard error, the window's size and the exit
status as well. What a command does is the app's.

Source: spec agent-api 9 and cli 12.
"""

from typing import Protocol

import msgspec

from ztm.apps.base import App
from ztm.apps.command import Call, EndpointRef
from ztm.apps.consoles import serve_framed, serve_plain
from ztm.errors import UsageError
from ztm.model import check_uuid
from ztm.rest.message import Request
from ztm.wire.console import HEADER, VERSION

TOLD = ("TERM", "COLORTERM", "NO_COLOR", "LANG", "LC_ALL", "LC_CTYPE", "TZ")
"""Variables of the caller's environment that an app may see."""


class Here(Protocol):
    """What a call needs of the mesh it is for."""

    @property
    def endpoint_id(self) -> str:
        """The own endpoint's id."""

    @property
    def endpoint_name(self) -> str:
        """The own endpoint's name."""


async def serve_command(request: Request, app: App, here: Here) -> None:
    """Take over the request's stream, run the command, and tell how it ended.

    Raises:
        UsageError: the request is no CONNECT, or does not say what to run.
    """
    upgrade, call = request.upgrade, read_call(request, here)
    if request.headers.get(HEADER) == VERSION:
        await serve_framed(upgrade.accept([(HEADER, VERSION)]), app.command, call)
    else:
        await serve_plain(upgrade.accept(), app.command, call)


def read_call(request: Request, here: Here) -> Call:
    """What the query of a request says is to be run.

    Raises:
        UsageError: ``argv`` is missing or no JSON array of texts, or ``ep_id`` is no endpoint id.
    """
    query = request.query
    try:
        argv = msgspec.json.decode(query.get("argv", ""), type=list[str])
        environment = msgspec.json.decode(query.get("env") or "{}", type=dict[str, str])
    except msgspec.DecodeError as error:
        raise UsageError(f"argv must be a JSON array of texts, and env an object of texts: {error}") from error
    if not argv:
        raise UsageError("argv is empty: its first text is the program's name")
    id_ = check_uuid("endpoint", query["ep_id"]) if query.get("ep_id") else here.endpoint_id
    name = query.get("ep_name") or (here.endpoint_name if id_ == here.endpoint_id else id_)
    return Call(
        program=argv[0],
        words=tuple(argv[1:]),
        directory=query.get("cwd", ""),
        endpoint=EndpointRef(id_, name),
        environment={key: value for key, value in environment.items() if key in TOLD},
        is_typed=query.get("tty") != "0",
    )
