"""One TLS connection to the hub: who holds it by its certificate, and which endpoint it speaks for."""

from ztm.core.registry import Owner
from ztm.errors import ForbiddenError, NotFoundError
from ztm.model import Address, Identity
from ztm.net.base import Stream
from ztm.wire import paths

NO_SESSION = "No agent session established yet"
"""What v1 agents know as the answer (spec mesh-protocol 5)."""


class Link:
    """Facts of one connection; everything about its peer comes from the certificate."""

    __slots__ = ("_said", "_stream", "endpoint", "identity", "is_own", "local", "owner", "remote")

    def __init__(self, stream: Stream, identity: Identity) -> None:
        self._stream = stream
        self.identity = identity
        self.owner = Owner(identity.user, identity.key)
        self.remote = stream.remote or Address("0.0.0.0", 1)
        self.local = stream.local
        self.is_own = stream.is_own
        self.endpoint = ""
        """Id of the endpoint whose session this connection carries; empty before one was accepted."""
        self._said = ("", "")
        """The endpoint that `query` was asked for last, and its answer."""

    @property
    def user(self) -> str:
        """The common name of the certificate."""
        return self.identity.user

    def query(self, source: str) -> str:
        """What a target is told of its caller `source`, as the query of its request (spec mesh-protocol 7)."""
        if self._said[0] != source:
            remote = self.remote
            said: dict[str, str | int] = {"src": source, "ip": remote.host, "port": remote.port, "username": self.user}
            self._said = source, paths.encode_query(said)
        return self._said[1]

    def check_speaks_for(self, endpoint: str) -> None:
        """Return if the connection may carry a session of `endpoint`.

        Raises:
            ForbiddenError: it carries another one's already.
        """
        if self.endpoint not in ("", endpoint):
            raise ForbiddenError(f"this connection speaks for endpoint {self.endpoint}; open another one")

    def require_session(self) -> str:
        """The endpoint id.

        Raises:
            NotFoundError: no session was accepted on this connection.
        """
        if not self.endpoint:
            raise NotFoundError(NO_SESSION)
        return self.endpoint

    def end(self) -> None:
        """End the connection once all that was sent on it has left."""
        self._stream.end()

    def cut(self, reason: str) -> None:
        """End the connection and all that it carries."""
        self._stream.abort(reason)
