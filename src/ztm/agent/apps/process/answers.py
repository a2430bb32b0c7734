"""What an app's process says for its answers, made sure to be some: it may send anything, and no honest one does.

It judges the form only. What would speak for the agent to a browser is kept back; see `forward`.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any

from ztm.errors import BrokenStreamError
from ztm.net.base import Headers

_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")
"""Source: RFC 9110 section 5."""
_KINDS: Mapping[str, Mapping[str, type]] = {
    "websocket.accept": {"subprotocol": str, "headers": list},
    "websocket.send": {"text": str, "bytes": bytes},
    "websocket.close": {"code": int, "reason": str},
    "websocket.http.response.start": {"status": int, "headers": list},
    "websocket.http.response.body": {"body": bytes, "more_body": bool},
}
"""The messages of a WebSocket's application, and the fields that each may have (ASGI, WebSocket message format 2.4)."""


def check_answer(app: str, status: int, headers: Headers) -> None:
    """Return if these make the head of a final answer.

    Raises:
        BrokenStreamError: they do not.
    """
    if not 200 <= status <= 599:
        raise BrokenStreamError(f"app {app} answered with what is no HTTP: status {status}")
    for name, value in headers:
        if not name.startswith(":") and not is_field(name, value):
            raise BrokenStreamError(f"app {app} answered with what is no HTTP: the header field {name[:40]!r}")


def is_field(name: str, value: str) -> bool:
    """Whether these are one header field, and not the beginning of another one."""
    return bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))


def check_message(app: str, message: Mapping[str, Any]) -> None:
    """Return if this is a message that a WebSocket's application may send, every field of its own type.

    Raises:
        BrokenStreamError: it is none.
    """
    kind = message["type"]
    fields = _KINDS.get(kind)
    if fields is None:
        raise BrokenStreamError(f"app {app} sent what no WebSocket does: {kind[:40]!r}")
    for name, value in message.items():
        if name != "type" and type(value) is not fields.get(name):
            raise BrokenStreamError(f"app {app} sent what no WebSocket does: {kind} with the field {name[:40]!r}")
    check_answer(app, message.get("status", 200), _fields(app, message.get("headers", ())))


def _fields(app: str, headers: Iterable[object]) -> Headers:
    found = []
    for field in headers:
        if not (isinstance(field, list) and len(field) == 2 and all(type(part) is bytes for part in field)):
            raise BrokenStreamError(f"app {app} sent what no WebSocket does: a malformed header field")
        found.append((field[0].decode("latin-1"), field[1].decode("latin-1")))
    return found
