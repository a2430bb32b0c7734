"""By which names the local port may be called, and which pages may call it.

A page of elsewhere is turned away by its `Origin`, or by the name it calls us (DNS rebinding). It says nothing
about who is calling.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ztm.model import Address

RawHeaders = Iterable[tuple[bytes, bytes]]

LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
CROSS_SITE = frozenset({b"cross-site", b"same-site"})
"""Values of `Sec-Fetch-Site` by which a browser says that another site's page is asking."""


OPAQUE = b"null"
"""The origin of a page in a sandbox (https://html.spec.whatwg.org, serialization of an opaque origin)."""


def values(headers: RawHeaders, name: bytes) -> list[bytes]:
    """All values that a header field was sent with."""
    return [value for field, value in headers if field == name]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: int
    message: str


class Origins:
    """The names of one listening address, and the origins of its own page and of those explicitly allowed."""

    def __init__(self, address: Address, allowed: Sequence[str] = ()) -> None:
        hosts = {*LOOPBACK}
        if address.host not in ("0.0.0.0", "::"):
            hosts.add(f"[{address.host}]" if ":" in address.host else address.host)
        self._hosts = {f"{host}:{address.port}".encode() for host in hosts} | {host.encode() for host in LOOPBACK}
        port = b"" if address.port == 80 else b":%d" % address.port  # another port is another origin
        self._own = {b"http://%b%b" % (host.encode(), port) for host in hosts}
        self._allowed = {origin.lower().encode() for origin in allowed}

    def allowed(self, headers: RawHeaders) -> bytes | None:
        """The foreign origin that asks and that was explicitly allowed, or None."""
        origins = values(headers, b"origin")
        return origins[0] if len(origins) == 1 and origins[0].lower() in self._allowed else None

    def misnamed(self, headers: RawHeaders, *, by_socket: bool = False) -> Refusal | None:
        """Why a request that calls us so is turned away, if it is."""
        hosts = values(headers, b"host")
        if len(hosts) > 1:
            return Refusal(400, "a request has one Host")
        if not by_socket and hosts and hosts[0] and hosts[0].lower() not in self._hosts:
            return Refusal(403, "this is an agent's local API: it answers to localhost only")
        return None

    def refusal(self, headers: RawHeaders, *, by_socket: bool = False, is_entrance: bool = False) -> Refusal | None:
        """Why a request with these headers is turned away, if it is.

        A Unix socket has no name to be called by. An entrance, which tells nothing and needs no sign-in or a
        secret of its own, may be opened by a link from anywhere, such as the file by which `ztm gui` opens it.
        """
        headers = list(headers)
        misnamed = self.misnamed(headers, by_socket=by_socket)
        if misnamed is not None:
            return misnamed
        if self.allowed(headers) is not None:
            return None
        is_foreign = any(origin.lower() not in self._own for origin in values(headers, b"origin"))
        is_linked = any(value.lower() in CROSS_SITE for value in values(headers, b"sec-fetch-site"))
        if is_foreign or (is_linked and not is_entrance):
            return Refusal(403, "pages of other sites may not use this agent")
        return None
