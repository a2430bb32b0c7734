"""What the options of hub and agent say, each read and checked by itself.

It starts nothing and stores nothing; what only an unusual option needs is imported when it is given.

Source: spec cli.md section 7.
"""

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from ztm.apps.grammar import Arguments
from ztm.cli.options import DATA, STUN_PORT
from ztm.errors import NotFoundError, UsageError

if TYPE_CHECKING:
    from ztm.hub.ca_service import CaService
    from ztm.logs import LogOptions
    from ztm.model import Address
    from ztm.net.proxy import Proxy

PROXY_VARIABLE = "ZTM_PROXY"
"""A proxy's address with its password, which in an argument everybody on the machine could read."""
CA_TOKEN_VARIABLE = "ZTM_CA_TOKEN"  # noqa: S105 (the name of a variable)
UNIX = "unix:"
DRAIN = 10.0
LONGEST_DRAIN = 3600.0
"""Seconds; service managers wait for about as long at the very most."""
MAX_SOCKET_PATH = 107
"""Bytes of a Unix socket's path that Linux takes (unix(7)); others take fewer."""
_ORIGIN = re.compile(r"[a-z][a-z0-9+.-]*://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(:[0-9]{1,5})?")


def default_data() -> Path:
    """``~/.ztm``; for root that of the machine's services, where there is one and nothing in ``~/.ztm``."""
    from ztm.cli.services.manager import is_root
    from ztm.cli.services.unit import SYSTEM_DATA

    own = Path(DATA).expanduser()
    is_used = any((own / name).exists() for name in ("ztm.db", "ztm-hub.db"))
    return SYSTEM_DATA if is_root() and not is_used and SYSTEM_DATA.is_dir() else own


def data_directory(arguments: Arguments) -> Path:
    """Where `--data` says that everything is stored.

    Raises:
        UsageError: there is a file of that name.
    """
    given = arguments.value("--data")
    path = Path(given).expanduser() if given else default_data()
    if path.is_file():
        raise arguments.error(f"directory path already exists as a regular file: {path}")
    return path


def hub_names(arguments: Arguments) -> "tuple[Address, ...]":
    """The addresses that `--names` gives.

    Raises:
        UsageError: there is none, or one is malformed.
    """
    from ztm.model import Address

    names = tuple(Address.parse(name, "") for name in arguments.values("--names"))
    if not names:
        raise arguments.error("at least one hub address (host:port) is required (with option --names)")
    for name in names:
        if not name.host:
            raise arguments.error(f"the hub address '{name.port}' has no host (write host:port)")
    return names


def listens(arguments: Arguments, default: str) -> "tuple[Address, Path | None]":
    """The port of an agent's local API, and the Unix socket that may stand beside it.

    Raises:
        UsageError: one is malformed, or there is more than one of a kind.
    """
    from ztm.model import Address

    given = arguments.values("--listen")
    sockets = [text.removeprefix(UNIX) for text in given if text.startswith(UNIX)]
    ports = [text for text in given if not text.startswith(UNIX)]
    if len(ports) > 1 or len(sockets) > 1:
        raise arguments.error("option --listen takes one port and one unix:path")
    address = Address.parse(ports[0] if ports else default, "127.0.0.1")
    return address, _socket(arguments, sockets[0]) if sockets else None


def _socket(arguments: Arguments, text: str) -> Path:
    path = Path(text).expanduser()
    if not text or not path.is_absolute() or "\0" in text:
        raise arguments.error(f"not the path of a socket: {text!r} (write unix:/absolute/path)")
    if len(os.fsencode(path)) > MAX_SOCKET_PATH:
        raise arguments.error(f"the path of the socket is too long: {path} ({MAX_SOCKET_PATH} bytes are allowed)")
    return path


def origins(arguments: Arguments) -> tuple[str, ...]:
    """The foreign origins that `--allow-origin` names, in lower case.

    Raises:
        UsageError: one is malformed (``*`` as well: it would be every page there is).
    """
    found = tuple(text.lower().rstrip("/") for text in arguments.values("--allow-origin"))
    for origin in found:
        if not _ORIGIN.fullmatch(origin):
            raise arguments.error(f"not an origin: {origin!r} (write scheme://host or scheme://host:port)")
    return found


def port(arguments: Arguments, option: str, default: int) -> int:
    """The port number given with `option`.

    Raises:
        UsageError: it is none.
    """
    from ztm.model import MAX_PORT

    found = arguments.number(option, default, 1)
    if found > MAX_PORT:
        raise arguments.error(f"invalid value '{found}' for option {option} (a port, 1 to {MAX_PORT})")
    return found


def stun_servers(arguments: Arguments) -> "tuple[Address, ...]":
    """The addresses that `--stun-server` names; the port may be left out.

    Raises:
        UsageError: one is malformed.
    """
    from ztm.model import Address

    found = []
    for text in arguments.values("--stun-server"):
        bare = text.endswith("]") if text.startswith("[") else ":" not in text
        found.append(Address.parse(f"{text}:{STUN_PORT}" if bare else text, ""))
        if not found[-1].host:
            raise arguments.error(f"not a STUN server: {text!r} (write host or host:port)")
    return tuple(found)


def proxy(arguments: Arguments) -> "Proxy | None":
    """The proxy that hubs are dialled through: `--proxy`, or else the environment's.

    Raises:
        UsageError: its address is malformed or of an unknown kind.
    """
    text = arguments.value("--proxy") or os.environ.get(PROXY_VARIABLE, "")
    if not text:
        return None
    from ztm.net.proxy import Proxy

    return Proxy.parse(text)


def drain(arguments: Arguments) -> float:
    """Seconds for which streams may go on when a stop is asked for.

    Raises:
        UsageError: it is no number of seconds.
    """
    text = arguments.value("--drain")
    if text is None:
        return DRAIN
    if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,3})?", text) and float(text) <= LONGEST_DRAIN:
        return float(text)
    raise arguments.error(f"invalid value {text!r} for option --drain (seconds, 0 to {LONGEST_DRAIN:g})")


def metrics(arguments: Arguments) -> "Address | None":
    """Where metrics are served, or None: loopback unless another ip is named.

    Raises:
        UsageError: it is malformed.
    """
    from ztm.model import Address

    text = arguments.value("--metrics")
    return None if text is None else Address.parse(text, "127.0.0.1")


def log_options(arguments: Arguments) -> "LogOptions":
    """How this process is to log.

    Raises:
        UsageError: a form or level is unknown.
    """
    from ztm.logs import FORMATS, LEVELS, LogOptions

    return LogOptions(
        format=_choice(arguments, "--log-format", FORMATS, "text"),
        level=_choice(arguments, "--log-level", LEVELS, "info"),
    )


def _choice(arguments: Arguments, option: str, known: tuple[str, ...], default: str) -> str:
    found = arguments.value(option)
    if found is None:
        return default
    for name in known:
        if found.lower() == name.lower():
            return name
    raise arguments.error(f"invalid value {found!r} for option {option} (one of {', '.join(known)})")


def key_exchange(arguments: Arguments) -> str:
    """The only key exchange that `--pqc-key-exchange` leaves; empty for the usual ones.

    Raises:
        UsageError: the algorithm is unknown.
        ZtmError: it is known, and not to be had here.
    """
    if not arguments.flag("--pqc-key-exchange"):
        return ""
    from ztm.net.pqc import KEY_EXCHANGES, check_key_exchange

    return check_key_exchange(_choice(arguments, "--pqc-key-exchange", KEY_EXCHANGES, ""))


def signature(arguments: Arguments) -> str:
    """The kind of new keys that `--pqc-signature` asks for; empty for the usual one.

    Raises:
        UsageError: the algorithm is unknown.
        ZtmError: it is known, and not to be had here.
    """
    if not arguments.flag("--pqc-signature"):
        return ""
    from ztm.net.pqc import SIGNATURES, check_signature

    return check_signature(_choice(arguments, "--pqc-signature", SIGNATURES, ""))


def ca_service(arguments: Arguments) -> "CaService | None":
    """The external CA service that `--ca` names, or None.

    Raises:
        UsageError: its address is malformed, or plain http to another machine.
        NotFoundError: a file that goes with it cannot be read.
    """
    url = arguments.value("--ca")
    if url is None:
        for option in ("--ca-cert", "--ca-token-file", "--insecure-ca"):
            if arguments.flag(option):
                raise arguments.error(f"option {option} needs --ca")
        return None
    from ztm.hub.ca_service import CaService

    trust = arguments.value("--ca-cert")
    return CaService.parse(
        url,
        trust=_read(trust) if trust else "",
        token=_token(arguments),
        is_plain_allowed=arguments.flag("--insecure-ca"),
    )


def _token(arguments: Arguments) -> str:
    name = arguments.value("--ca-token-file")
    token = _read(name).strip() if name else os.environ.get(CA_TOKEN_VARIABLE, "").strip()
    if name and not token:
        raise UsageError(f"the token file {name} is empty")
    return token


def _read(name: str) -> str:
    from ztm.cli.files import read_text

    if name == "-":
        raise NotFoundError("cannot open file: - (standard input is not read here)")
    return read_text(name)
