"""One exchange with the agent over HTTP/1.1, on the standard library alone so that commands start fast.

Which credential to show, and what a refusal means, is the caller's.
"""

import contextlib
import http.client
import io
import json
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ztm import errors
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.local import LocalConnection
from ztm.cli.tokens import Credential
from ztm.model import Address

CONTINUING = 1.0
"""Seconds for an agent to say that it wants a body; v1's may never say so (RFC 9110 section 10.1.1)."""
STORING = 600.0
"""Seconds for an agent to bring an uploaded file onto its disk."""
MAX_HEAD = 64 << 10
"""Bytes of the head of an answer to a CONNECT."""
INSTANCE_HEADER = "ztm-agent"
"""An agent that refuses a token names its instance in this header of the 401."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer with its body."""

    status: int
    reason: str
    kind: str
    instance: str
    text: str
    fields: dict[str, str] = field(default_factory=dict)

    @property
    def message(self) -> str:
        """What went wrong, for people: the JSON message, else the text, else the reason phrase."""
        try:
            message = json.loads(self.text)["message"]
        except (ValueError, TypeError, KeyError):
            message = self.text.strip() if self.kind == "text/plain" else ""
        return str(message or self.reason or f"status {self.status}")


@dataclass(frozen=True, slots=True)
class Opened:
    """An answer whose body is not read yet."""

    connection: http.client.HTTPConnection
    socket: socket.socket
    response: http.client.HTTPResponse

    def close(self) -> None:
        """Give it up, read or not."""
        self.response.close()
        self.connection.close()


class Line:
    """Exchanges with one agent: each on a connection of its own.

    Every method raises `AgentUnreachableError` where nothing listens, `DeadlineError` where nothing is said in
    time, and `BrokenStreamError` where the exchange is cut, or is not HTTP.
    """

    def __init__(self, address: Address | Path) -> None:
        self.address = address

    def begin(self, method: str, path: str, body: str | None, timeout: float, credential: Credential | None) -> Opened:
        """Send a request, and read the head of its answer."""
        headers = {"Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "text/plain" if body.startswith("-----BEGIN") else "application/json"
        if credential:
            headers["Authorization"] = f"Bearer {credential.token}"
        connection = self._connect(timeout)
        opened: socket.socket = connection.sock
        try:
            with self._talking(timeout):
                connection.request(method, path, body.encode() if body is not None else None, headers)
                return Opened(connection, opened, connection.getresponse())
        except errors.ZtmError:
            connection.close()
            raise

    def whole(self, opened: "Opened", timeout: float) -> Answer:
        """An answer with its body, which is read to its end."""
        response = opened.response
        try:
            with self._talking(timeout):
                text = response.read().decode("utf-8", "replace")
        finally:
            opened.close()
        kind = response.headers.get_content_type()
        return Answer(response.status, response.reason, kind, response.headers.get(INSTANCE_HEADER, ""), text)

    def offer(
        self, path: str, pieces: Iterable[bytes], size: int | None, limit: float, credential: Credential | None
    ) -> Opened:
        """Send the head of a POST, its body if that is wanted, and read the head of the answer."""
        length = ("Transfer-Encoding", "chunked") if size is None else ("Content-Length", str(size))
        fields = {"Connection": "close", "Content-Type": "application/octet-stream", "Expect": "100-continue"}
        if credential:
            fields["Authorization"] = f"Bearer {credential.token}"
        connection = self._connect(limit)
        opened: socket.socket = connection.sock
        try:
            with self._talking(limit):
                connection.putrequest("POST", path, skip_accept_encoding=True)
                for name, value in (*fields.items(), length):
                    connection.putheader(name, value)
                connection.endheaders()
                if _is_wanted(opened):
                    _send_body(opened, pieces, is_chunked=size is None)
                    opened.settimeout(STORING)
                return Opened(connection, opened, connection.getresponse())
        except errors.ZtmError:
            connection.close()
            raise

    def tunnel(
        self, path: str, headers: dict[str, str], limit: float, credential: Credential | None
    ) -> tuple[socket.socket, Answer, bytes]:
        """Ask for a raw stream by CONNECT; its socket, the answer, and what came behind the head of that.

        `limit` is seconds.
        """
        fields = {"Host": "localhost" if isinstance(self.address, Path) else str(self.address), **headers}
        if credential:
            fields["Authorization"] = f"Bearer {credential.token}"
        opened: socket.socket = self._connect(limit).sock
        try:
            head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
            opened.sendall(f"CONNECT {path} HTTP/1.1\r\n{head}\r\n".encode())
            answer, rest = _read_answer(opened)
        except TimeoutError:
            opened.close()
            raise errors.DeadlineError(f"the agent at {self.address} did not answer within {limit:g} s") from None
        except (OSError, ValueError, http.client.HTTPException) as error:
            opened.close()
            raise errors.BrokenStreamError(f"the agent at {self.address} was lost: {error}") from None
        return opened, answer, rest

    @contextmanager
    def _talking(self, timeout: float) -> Iterator[None]:
        """Name the ways in which a request can be lost."""
        try:
            yield
        except TimeoutError:
            raise errors.DeadlineError(f"the agent at {self.address} did not answer within {timeout:g} s") from None
        except http.client.BadStatusLine as error:
            if isinstance(error, OSError):
                raise errors.BrokenStreamError(f"the agent at {self.address} closed without an answer") from None
            raise errors.BrokenStreamError(f"what listens at {self.address} is not a ztm agent") from None
        except (OSError, http.client.HTTPException) as error:
            raise errors.BrokenStreamError(f"the agent at {self.address} was lost: {error}") from None

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        where = self.address
        connection = (
            LocalConnection(where, timeout=timeout)
            if isinstance(where, Path)
            else http.client.HTTPConnection(where.host, where.port, timeout=timeout)
        )
        try:
            connection.connect()
        except OSError as error:
            why = "cannot be resolved" if isinstance(error, socket.gaierror) else error.strerror or str(error)
            raise AgentUnreachableError(
                f"cannot reach the agent at {self.address} ({why}): start it with 'ztm run agent', "
                "or name another with 'ztm config --agent host:port'"
            ) from None
        return connection


def _is_wanted(opened: socket.socket) -> bool:
    """Whether a body that was announced is to be sent; False if the answer has come without it."""
    ready, _, _ = select.select([opened], [], [], CONTINUING)
    return not ready or opened.recv(12, socket.MSG_PEEK).startswith(b"HTTP/1.1 100")


def _send_body(opened: socket.socket, pieces: Iterable[bytes], *, is_chunked: bool) -> None:
    """Send a body; one that is refused half-way is left, as the answer says why."""
    with contextlib.suppress(ConnectionError):
        for piece in pieces:
            opened.sendall(b"%x\r\n%b\r\n" % (len(piece), piece) if is_chunked else piece)
        if is_chunked:
            opened.sendall(b"0\r\n\r\n")


def _read_answer(opened: socket.socket) -> tuple[Answer, bytes]:
    """The answer to a CONNECT, with its body if it is a refusal, and what came behind the head of a success.

    Raises:
        OSError: the socket failed.
        ValueError: it is no HTTP answer.
        http.client.HTTPException: its header fields are malformed.
    """
    data = b""
    while b"\r\n\r\n" not in data:
        more = opened.recv(MAX_HEAD)
        if not more or len(data) > MAX_HEAD:
            raise ValueError("it closed without an answer" if not more else "its answer is too long")
        data += more
    head, _, rest = data.partition(b"\r\n\r\n")
    line, _, lines = head.partition(b"\r\n")
    _version, status, *reason = line.decode("latin-1").split(" ", 2)
    headers = http.client.parse_headers(io.BytesIO(lines + b"\r\n\r\n"))
    fields = {name.lower(): value for name, value in headers.items()}
    is_refusal = not 200 <= int(status) < 300
    missing = int(fields.get("content-length", "0")) - len(rest) if is_refusal else 0
    while missing > 0 and (more := opened.recv(min(missing, MAX_HEAD))):
        rest, missing = rest + more, missing - len(more)
    text = rest.decode("utf-8", "replace") if is_refusal else ""
    kind, instance = headers.get_content_type(), fields.get(INSTANCE_HEADER, "")
    return Answer(int(status), "".join(reason), kind, instance, text, fields), rest
