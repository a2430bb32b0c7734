"""Every URL of the mesh once, used both to serve and to request, and the rules for filling and matching them.

It does not know methods, bodies or who may call; the agent's local API is not listed here.

In a template ``{x}`` stands for one segment and a final ``*`` for the rest of the path, whose parameter
name is ``rest``. What is filled in is percent-encoded; what is matched is given raw (see `decode`).
Source: spec mesh-protocol 4.6, 5, 10; spec apps-network 1.3.
"""

import re
from collections.abc import Mapping
from functools import cache, lru_cache
from urllib.parse import quote, unquote

from ztm.errors import UsageError

LOG = "/api/log"
"""On a hub its own log, on an agent the log of the mesh."""

# Served by a hub (spec mesh-protocol 5).
HUB_STATUS = "/api/status"
SIGN = "/api/sign/{user}"
EVICTIONS = "/api/evictions"
EVICTION = "/api/evictions/{user}"
PERMITS = "/api/permits"
"""Ours, as is the next one: what this hub signed."""
PERMIT = "/api/permits/{permit}"
ZONES = "/api/zones"
ZONE_HUBS = "/api/zones/{zone}/hubs"
ENDPOINTS = "/api/endpoints"
ENDPOINT = "/api/endpoints/{ep}"
ENDPOINT_FILE = "/api/endpoints/{ep}/file-data/{hash}"
ENDPOINT_APP = "/api/endpoints/{ep}/apps/{provider}/{app}"
ENDPOINT_APP_ANY = "/api/endpoints/{ep}/apps/{app}"
USERS = "/api/users"
FILES = "/api/filesystem"
FILE = "/api/filesystem/*"
ACLS = "/api/acl"
ACL = "/api/acl/*"
STATS = "/api/stats/endpoints"
ENDPOINT_STATS = "/api/stats/endpoints/{ep}"
ENDPOINT_PING = "/api/ping/endpoints/{ep}"
FORWARD = "/api/forward/{ep}/*"
P2P_INFO = "/api/p2p/connection-info"
P2P_REQUEST = "/api/p2p/request-connection/{ep}"

# Served by an agent to its hub (spec mesh-protocol 10).
PING = "/api/ping"
SESSION = "/api/sessions/{sid}"
AUDIT = "/api/audit"
"""Ours: the endpoint's audit log."""
LABELS = "/api/labels"
HUB = "/api/hubs/{hub}"
FILE_DATA = "/api/file-data/{hash}"
APPS = "/api/apps"
APP = "/api/apps/{provider}/{app}"
APP_ANY = "/api/apps/{app}"
APP_LOG = "/api/apps/{provider}/{app}/log"

# Served by the tunnel app to its peers, inside an app stream (spec apps-network 1.3).
TUNNEL_CONFIG = "/api/config"
INBOUNDS = "/api/inbound"
INBOUND = "/api/inbound/{proto}/{name}"
OUTBOUNDS = "/api/outbound"
OUTBOUND = "/api/outbound/{proto}/{name}"
FORWARD_TCP = "/api/forward/tcp/{target}"
"""Ours: a stream of the same user to ``host:port``, dialled there."""

# Served by the terminal app to its peers, inside an app stream (spec apps-network 3.2).
TERMINAL_CONFIG = "/api/config"
SHELL = "/api/shell"

# Served by the proxy app to its peers, likewise (spec apps-network 2.3).
PROXY_CONFIG = "/api/config"
PROXY_CA = "/api/ca"
PROXY_EXITS = "/api/exits"
"""Ours: the exits that an entry knows."""
PROXY_TARGETS = "/api/targets/{target}"
PROXY_DATAGRAMS = "/api/datagrams/{target}"
"""Ours: frames of datagrams to ``host:port``."""

# Served by the script app to its peers, likewise (spec apps-network 4.2).
SCRIPT_CONFIG = "/api/config"
SCRIPT = "/api/script"

# Served by the port app to its peers, likewise (spec apps-network 6).
PORT_CONFIG = "/api/config"
PORTS = "/api/ports"
PORT_TARGET = "/api/targets/{proto}/{target}"

REST = "rest"
"""The parameter that a final ``*`` fills and gives."""

_SAFE = "-_.!~*'()@"
"""What encodeURIComponent leaves alone besides letters and digits (ECMA-262 19.2.6.4)."""
_is_plain = re.compile(rf"[A-Za-z0-9{re.escape(_SAFE)}]*").fullmatch
"""What most texts are; asking costs a fifth of `quote`."""
_PARAM = re.compile(r"\{(\w+)\}")


def encode(text: str) -> str:
    """Percent-encode `text` as one path segment or query value, as encodeURIComponent does."""
    return text if _is_plain(text) else quote(text, safe=_SAFE)


def decode(text: str) -> str:
    """Undo `encode`; ``+`` is not a space and an incomplete escape stays as it is.

    Raises:
        UsageError: the decoded bytes are not UTF-8.
    """
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError as error:
        raise UsageError(f"not UTF-8 when percent-decoded: {text[:80]!r}") from error


def fill(template: str, query: Mapping[str, str | int] | None = None, **params: str) -> str:
    """The request target that `template` makes with `params`, and `query` behind it.

    Every parameter becomes one encoded segment. `rest` may hold slashes, of which a leading one is
    dropped; its segments are encoded one by one. A query value of ``""`` is written as the bare key.

    Raises:
        UsageError: a parameter is missing or empty.
    """
    path = _path(template, tuple(params.items()))
    return f"{path}?{encode_query(query)}" if query else path


def encode_query(query: Mapping[str, str | int]) -> str:
    """`query` as it stands behind the ``?`` of a request target."""
    return "&".join([f"{key}={encode(str(value))}" if value != "" else key for key, value in query.items()])


@lru_cache(256)
def _path(template: str, given: tuple[tuple[str, str], ...]) -> str:
    """The path alone; the same few are asked for with every stream."""
    params = dict(given)
    path = _PARAM.sub(lambda found: encode(_given(template, params, found.group(1))), template)
    if template.endswith("/*"):
        rest = _given(template, params, REST).removeprefix("/")
        path = path[:-1] + "/".join(encode(segment) for segment in rest.split("/"))
    return path


def _given(template: str, params: Mapping[str, str], name: str) -> str:
    value = params.get(name)
    if not value or (name == REST and value == "/"):
        raise UsageError(f"{name!r} is empty in {template}")
    return value


def split(target: str) -> tuple[str, dict[str, str]]:
    """The path of a request target, raw, and its query with the values percent-decoded.

    The first value of a key wins, and a key without ``=`` has the value ``""``.

    Raises:
        UsageError: a query value is not UTF-8 when decoded.
    """
    path, _, text = target.partition("?")
    query: dict[str, str] = {}
    for pair in text.split("&"):
        key, _, value = pair.partition("=")
        if key:
            query.setdefault(key, decode(value))
    return path, query


class Template:
    """A template as a server sees it: matches paths and says what stood for its parameters."""

    __slots__ = ("_has_rest", "_segments", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        segments = text.split("/")[1:]
        self._has_rest = segments[-1] == "*"
        self._segments = tuple(segments[:-1] if self._has_rest else segments)

    def match(self, path: str) -> dict[str, str] | None:
        """The raw parameters of `path`, or None if it is no such path.

        Literal segments are compared without regard to case, an empty segment does not match, and one
        trailing slash is ignored. The rest is taken as it is, and is never empty.
        Source: spec mesh-protocol 4.6.
        """
        if not path.startswith("/"):
            return None
        count = len(self._segments)
        if self._has_rest:
            found = path[1:].split("/", count)
            rest = found.pop() if len(found) > count else ""
            params = self._params(found)
            return params | {REST: rest} if params is not None and rest else None
        return self._params(path[1:].removesuffix("/").split("/", count))

    def _params(self, found: list[str]) -> dict[str, str] | None:
        if len(found) != len(self._segments):
            return None
        params: dict[str, str] = {}
        for wanted, segment in zip(self._segments, found, strict=True):
            if not segment:
                return None
            if wanted[0] == "{":
                params[wanted[1:-1]] = segment
            elif wanted.lower() != segment.lower():
                return None
        return params


@cache
def _compiled(template: str) -> Template:
    return Template(template)


def match(template: str, path: str) -> dict[str, str] | None:
    """`Template.match` for a template given as text."""
    return _compiled(template).match(path)
