"""Requests to the local agent's HTTP API, on the standard library alone so that commands start fast.

It retries nothing but a refused token, and never decides what an answer means to a command.
"""

import http.client
import json
import socket
from dataclasses import dataclass
from typing import Any

from ztm import errors
from ztm.cli.failures import AgentUnreachableError
from ztm.cli.tokens import VARIABLE, Credential, credentials
from ztm.model import Address

TIMEOUT = 30.0
"""Seconds without a byte from the agent before a request is given up."""
INSTANCE_HEADER = "ztm-agent"
"""An agent that refuses a token names its instance in this header of the 401."""


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    reason: str
    kind: str
    instance: str
    text: str

    @property
    def message(self) -> str:
        """What went wrong, for people: the JSON message, else the text, else the reason phrase."""
        try:
            message = json.loads(self.text)["message"]
        except (ValueError, TypeError, KeyError):
            message = self.text.strip() if self.kind == "text/plain" else ""
        return str(message or self.reason or f"status {self.status}")


class AgentClient:
    """The API of one agent."""

    def __init__(self, address: Address, *, timeout: float = TIMEOUT) -> None:
        self.address = address
        self._timeout = timeout
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
        limit = timeout or self._timeout
        answer = self._exchange(method, path, payload, limit, self._choose(""))
        if answer.status == 401:
            answer = self._exchange(method, path, payload, limit, self._choose(answer.instance))
        if answer.status >= 400:
            raise self._failure(answer)
        return answer.text

    def _choose(self, instance: str) -> Credential | None:
        """The credential to show: the only one at once, of several the one the agent asks for."""
        if instance or not self._is_chosen:
            known = credentials(self.address)
            named = [one for one in known if one.instance == instance]
            self._credential = named[0] if named else known[0] if len(known) == 1 else None
            self._is_chosen = True
        return self._credential

    def _exchange(
        self, method: str, path: str, body: str | None, timeout: float, credential: Credential | None
    ) -> _Answer:
        headers = {"Connection": "close"}
        if body is not None:
            headers["Content-Type"] = "text/plain" if body.startswith("-----BEGIN") else "application/json"
        if credential:
            headers["Authorization"] = f"Bearer {credential.token}"
        connection = self._connect(timeout)
        try:
            connection.request(method, path, body.encode() if body is not None else None, headers)
            response = connection.getresponse()
            text = response.read().decode("utf-8", "replace")
        except TimeoutError:
            raise errors.DeadlineError(f"the agent at {self.address} did not answer within {timeout:g} s") from None
        except http.client.BadStatusLine as error:
            if isinstance(error, OSError):
                raise errors.BrokenStreamError(f"the agent at {self.address} closed without an answer") from None
            raise errors.BrokenStreamError(f"what listens at {self.address} is not a ztm agent") from None
        except (OSError, http.client.HTTPException) as error:
            raise errors.BrokenStreamError(f"the agent at {self.address} was lost: {error}") from None
        finally:
            connection.close()
        kind = response.headers.get_content_type()
        return _Answer(response.status, response.reason, kind, response.headers.get(INSTANCE_HEADER, ""), text)

    def _connect(self, timeout: float) -> http.client.HTTPConnection:
        connection = http.client.HTTPConnection(self.address.host, self.address.port, timeout=timeout)
        try:
            connection.connect()
        except OSError as error:
            why = "cannot be resolved" if isinstance(error, socket.gaierror) else error.strerror or str(error)
            raise AgentUnreachableError(
                f"cannot reach the agent at {self.address} ({why}): start it with 'ztm run agent', "
                "or name another with 'ztm config --agent host:port'"
            ) from None
        return connection

    def _failure(self, answer: _Answer) -> errors.ZtmError:
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
