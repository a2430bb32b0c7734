"""Requests to the local agent's HTTP API: with the right token, and refusals as errors.

It retries nothing but a refused token, and never decides what an answer means to a command.
"""

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from ztm import errors
from ztm.cli.talk import INSTANCE_HEADER, Answer, Line, Opened
from ztm.cli.tokens import VARIABLE, Credential, credentials
from ztm.model import Address

TIMEOUT = 30.0
"""Seconds without a byte from the agent before a request is given up."""


class AgentClient:
    """The API of one agent."""

    def __init__(
        self, address: Address | Path, *, timeout: float = TIMEOUT, time_left: Callable[[], float | None] = lambda: None
    ) -> None:
        self.address = address
        """Its port, or its Unix socket, where no token is needed."""
        self._line = Line(address)
        self._timeout = timeout
        self._time_left = time_left
        self._credential: Credential | None = None
        self._is_chosen = False

    def request(self, method: str, path: str, body: object = None, *, timeout: float | None = None) -> Any:
        """Send one request; a text body is sent as it is, anything else but None as JSON.

        Returns the decoded JSON, the text of any other answer, or None for an empty one. `timeout` is
        seconds without a byte.

        Raises:
            AgentUnreachableError: nothing listens at the address.
            DeadlineError: no answer came in time.
            UnauthorizedError: no token of this user is the agent's.
            RefusedError: the agent called the request malformed, or answered a status of no other class.
            ZtmError: any other refusal, as the class of its status.
        """
        text = self.request_text(method, path, body, timeout=timeout)
        if not text:
            return None
        try:
            return json.loads(text)
        except ValueError:
            return text

    def request_text(self, method: str, path: str, body: object = None, *, timeout: float | None = None) -> str:
        """As `request`, and returns the body as it was sent.

        Raises:
            ZtmError: as `request`.
        """
        payload = body if isinstance(body, str) or body is None else json.dumps(body)
        limit = self._time_left() or timeout or self._timeout

        def exchange(credential: Credential | None) -> Answer:
            return self._line.whole(self._line.begin(method, path, payload, limit, credential), limit)

        answer = exchange(self._choose(""))
        if answer.status == 401:
            answer = exchange(self._choose(answer.instance))
        if answer.status >= 400:
            raise self._failure(answer)
        return answer.text

    def connect(self, path: str, headers: dict[str, str]) -> tuple[socket.socket, dict[str, str], bytes]:
        """Open a raw stream by CONNECT, whose target is a path here (spec agent-api 9).

        Returns the socket, the answer's header fields (names in lower case), and what came behind its head.

        Raises:
            ZtmError: as `request`.
        """
        limit = self._time_left() or self._timeout
        opened, answer, rest = self._line.tunnel(path, headers, limit, self._choose(""))
        if answer.status == 401:
            opened.close()
            opened, answer, rest = self._line.tunnel(path, headers, limit, self._choose(answer.instance))
        if not 200 <= answer.status < 300:
            opened.close()
            raise self._failure(answer)
        return opened, answer.fields, rest

    def _choose(self, instance: str) -> Credential | None:
        """The credential to show: the only one at once, of several the one the agent asks for."""
        if isinstance(self.address, Path):
            return None
        if instance or not self._is_chosen:
            known = credentials(self.address)
            named = [one for one in known if one.instance == instance]
            self._credential = named[0] if named else known[0] if len(known) == 1 else None
            self._is_chosen = True
        return self._credential

    def open(self, path: str, *, timeout: float | None = None) -> Opened:
        """Begin a GET whose answer goes on and on; reading it has no time limit. `timeout` is seconds for its head.

        Raises:
            ZtmError: as `request`.
        """
        limit = self._time_left() or timeout or self._timeout
        opened = self._line.begin("GET", path, None, limit, self._choose(""))
        if opened.response.status == 401:
            instance = opened.response.headers.get(INSTANCE_HEADER, "")
            opened.close()
            opened = self._line.begin("GET", path, None, limit, self._choose(instance))
        if opened.response.status >= 400:
            raise self._failure(self._line.whole(opened, limit))
        opened.socket.settimeout(None)
        return opened

    def upload(self, path: str, pieces: Iterable[bytes], size: int | None) -> None:
        """Send a POST whose body is made as it goes, and read the answer; see `offer`.

        Raises:
            ZtmError: as `offer`.
        """
        self._line.whole(self.offer(path, pieces, size), self._time_left() or self._timeout)

    def offer(self, path: str, pieces: Iterable[bytes], size: int | None) -> Opened:
        """Send a POST whose body is made as it goes: `size` bytes, or as many as come where that is None.

        Nothing of the body is sent, nor taken from `pieces`, before the agent has said that it wants it. Gives the
        answer, whose body is for the caller to read.

        Raises:
            ZtmError: as `request`; or what `pieces` raises, and then the agent has taken nothing.
        """
        limit = self._time_left() or self._timeout
        begun: list[bool] = []

        def body() -> Iterator[bytes]:
            begun.append(True)
            yield from pieces

        opened = self._line.offer(path, body(), size, limit, self._choose(""))
        if opened.response.status == 401 and not begun:
            instance = opened.response.headers.get(INSTANCE_HEADER, "")
            opened.close()
            opened = self._line.offer(path, body(), size, limit, self._choose(instance))
        if opened.response.status >= 400:
            raise self._failure(self._line.whole(opened, limit))
        return opened

    def _failure(self, answer: Answer) -> errors.ZtmError:
        if answer.status == 401:
            return errors.UnauthorizedError(self._unauthorized())
        if answer.status == 400:
            return errors.RefusedError(answer.message, answer=400)
        return errors.from_status(answer.status, answer.message)

    def _unauthorized(self) -> str:
        where = f"the agent at {self.address}"
        if self._credential:
            return f"{where} refused this user's token: it was replaced, or another agent listens there now"
        return (
            f"{where} wants a token that this user does not have: it runs as another user or was started with "
            f"another HOME; run ztm as that user, or set {VARIABLE} to the text of api.token in its data directory"
        )
