"""Who may use the local API: holders of this agent's token, from this machine's own programs.

A web page of elsewhere is turned away by its `Origin` or by the name it calls us (DNS rebinding), a program
of another user by the token, which only the agent's own user can read.
"""

import hmac
import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

from ztm.model import Address
from ztm.net.asgi import ASGIApp, Receive, Scope, Send
from ztm.store.files import secure_directory, write_private

TOKEN_FILE = "api.token"  # noqa: S105 (its name, not a secret)
LOOPBACK = ("localhost", "127.0.0.1", "[::1]")
CROSS_SITE = frozenset({"cross-site", "same-site"})
"""Values of `Sec-Fetch-Site` by which a browser says that another site's page is asking."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """This run's token, and the name by which its owner finds it."""

    instance: str
    token: str = field(repr=False)
    pointer: Path

    @classmethod
    def issue(cls, data: Path, pointers: Path, address: Address) -> "Credentials":
        """Make a token, and write it where the same OS user finds it: in the data directory, with a pointer
        to that in `pointers`.

        Raises:
            StorageError: one of the two cannot be written.
        """
        instance = secrets.token_hex(8)
        made = cls(instance, secrets.token_urlsafe(32), pointers / f"{instance}.json")
        write_private(data / TOKEN_FILE, made.token)
        secure_directory(pointers)
        made._drop_stale(data)
        where = {"instance": instance, "address": str(address), "data": str(data.resolve())}
        write_private(made.pointer, json.dumps(where))
        return made

    def _drop_stale(self, data: Path) -> None:
        """Remove the pointers of earlier runs on the same data directory, which a kill left behind."""
        for pointer in self.pointer.parent.glob("*.json"):
            try:
                if json.loads(pointer.read_text())["data"] == str(data.resolve()):
                    pointer.unlink(missing_ok=True)
            except (OSError, ValueError, KeyError, TypeError):
                continue

    def withdraw(self) -> None:
        """Remove the pointer; the token dies with the process."""
        self.pointer.unlink(missing_ok=True)


class Guard:
    """An ASGI application that lets the right requests through to another."""

    def __init__(self, app: ASGIApp, credentials: Credentials, address: Address) -> None:
        self._app = app
        self._instance = credentials.instance.encode()
        self._wanted = f"Bearer {credentials.token}".encode()
        hosts = {*LOOPBACK}
        if address.host not in ("0.0.0.0", "::"):
            hosts.add(f"[{address.host}]" if ":" in address.host else address.host)
        self._hosts = {f"{host}:{address.port}".encode() for host in hosts} | {host.encode() for host in LOOPBACK}
        port = b"" if address.port == 80 else b":%d" % address.port  # another port is another origin
        self._origins = {b"http://%b%b" % (host.encode(), port) for host in hosts}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or say why not."""
        headers = dict(scope["headers"])
        refusal = self._refusal(headers)
        if refusal is None:
            await self._app(scope, receive, send)
            return
        status, message = refusal
        body = json.dumps({"status": status, "message": message}).encode()
        fields = [(b"content-type", b"application/json"), (b"ztm-agent", self._instance)]
        await send({"type": "http.response.start", "status": status, "headers": fields})
        await send({"type": "http.response.body", "body": body})

    def _refusal(self, headers: dict[bytes, bytes]) -> tuple[int, str] | None:
        host = headers.get(b"host", b"").lower()
        if host and host not in self._hosts:
            return 403, "this is an agent's local API: it answers to localhost only"
        origin = headers.get(b"origin")
        if (origin is not None and origin.lower() not in self._origins) or (
            headers.get(b"sec-fetch-site", b"").decode("latin-1") in CROSS_SITE
        ):
            return 403, "pages of other sites may not use this agent"
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._wanted):
            return 401, "the agent's token is missing or wrong: it is in api.token in the agent's data directory"
        return None
