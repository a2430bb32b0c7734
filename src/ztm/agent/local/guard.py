"""Who may use the local API: holders of this agent's token, signed-in browsers, and this user on the Unix socket.

Everybody may have the web page and sign in; nothing else is answered, and no body is read, before it is known
who asks. A WebSocket, which says nothing in a header of the page's own, is known by its `Origin` besides the cookie.
Names and origins are judged in `origins`, sign-ins in `login`.
"""

import asyncio
import hmac
import logging
from dataclasses import dataclass

from ztm.agent.local.headers import allow, refuse, shielded
from ztm.agent.local.login import CSRF_HEADER, BrowserSession, Login, is_csrf
from ztm.agent.local.origins import Origins, RawHeaders, Refusal, values
from ztm.agent.local.token import TOKEN_FILE, Credentials
from ztm.errors import SlowBodyError, ZtmError
from ztm.net.asgi import ASGIApp, Message, Receive, Scope, Send, is_websocket, method_of, plain

__all__ = ["CALLER", "SESSION", "SOCKET", "TOKEN_FILE", "Credentials", "Doors", "Guard"]

log = logging.getLogger("ztm.http")

SOCKET = "ztm.socket"
"""Scope extension, set by who accepted: the request came by the Unix socket, from this user or root."""
SESSION = "ztm.session"
"""Scope extension, set here: the `BrowserSession` of a request by cookie, or None."""
CALLER = "ztm.caller"
"""Scope extension, set here: ``socket``, ``open``, ``token``, ``cookie``, or nothing for who is not known."""
SAFE = ("GET", "HEAD", "OPTIONS")
"""Methods that change nothing, which a cookie alone may ask (RFC 9110 section 9.2.1)."""
LOGIN = "/api/login"
LINKS = b"/api/login/links/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Doors:
    """What stands open at the local port."""

    is_open: bool = False
    """Whether no token is asked for (`--insecure-open-api`)."""
    body_seconds: float = 300.0
    """For the next piece of a known caller's body; a slower one is refused. 0 is no bound."""
    unknown_seconds: float = 10.0
    """For the whole body of a caller who is not known yet, and signs in."""


class Guard:
    """An ASGI application that lets the right requests through to the API, and everybody to the pages."""

    def __init__(
        self,
        api: ASGIApp,
        pages: ASGIApp,
        credentials: Credentials,
        login: Login,
        origins: Origins,
        doors: Doors | None = None,
    ) -> None:
        self._api = api
        self._pages = pages
        self._instance = credentials.instance.encode()
        self._wanted = f"Bearer {credentials.token}".encode()
        self._login = login
        self._origins = origins
        self._doors = doors or Doors()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket, or say why not."""
        headers = scope["headers"]
        by_socket = bool(scope["extensions"].get(SOCKET))
        is_api = scope["path"].lstrip("/").partition("/")[0].lower() == "api"  # all else has the pages only
        is_entrance = _is_get(scope) and (not is_api or scope["raw_path"].startswith(LINKS))
        refusal = self._origins.refusal(headers, by_socket=by_socket, is_entrance=is_entrance)
        origin = self._origins.allowed(headers)
        shown = shielded(plain(scope, send), origin, is_api=is_api)
        if refusal is not None:
            await refuse(shown, refusal, self._instance)
        elif origin is not None and method_of(scope) == "OPTIONS" and values(headers, b"access-control-request-method"):
            await allow(shown)
        elif not is_api and is_websocket(scope):
            await refuse(
                shown, Refusal(404, "no WebSocket is here: those of apps are below /api/meshes"), self._instance
            )
        elif not is_api:
            await self._pages(scope, receive, shown)
        else:
            await self._serve(scope, receive, shown, is_foreign=origin is not None, by_socket=by_socket)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, *, is_foreign: bool, by_socket: bool) -> None:
        headers: RawHeaders = scope["headers"]
        session = None if is_foreign else self._login.session(_texts(headers, b"cookie"))
        caller = "socket" if by_socket else self._caller(headers, session)
        lack = _lack(scope, session) if caller == "cookie" else ""
        if lack and not _is_public(scope):
            await refuse(send, Refusal(403, lack), self._instance)
        elif not caller and not _is_public(scope):
            why = "the agent's token is missing or wrong: it is in api.token in the agent's data directory"
            await refuse(send, Refusal(401, why), self._instance)
        else:
            known = {CALLER: "" if lack else caller, SESSION: session if caller == "cookie" else None}
            within = {**scope, "headers": _bare(scope), "extensions": {**scope["extensions"], **known}}
            timed = receive if is_websocket(scope) else self._timed(receive, is_known=bool(known[CALLER]))
            await self._answer(within, timed, send)

    def _caller(self, headers: RawHeaders, session: BrowserSession | None) -> str:
        """By what the caller is known; a wrong token is not made good by a cookie."""
        if self._doors.is_open:
            return "open"
        given = values(headers, b"authorization")
        if given:
            return "token" if len(given) == 1 and hmac.compare_digest(given[0], self._wanted) else ""
        return "cookie" if session is not None else ""

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let the API answer; a body that comes too slowly is refused while nothing is sent."""
        is_started = False

        async def watched(message: Message) -> None:
            nonlocal is_started
            is_started = True
            await send(message)

        try:
            await self._api(scope, receive, watched)
        except ZtmError as error:
            if is_started or method_of(scope) == "CONNECT":
                raise
            log.info("%s %s: %s", method_of(scope), scope["path"], error)
            await refuse(send, Refusal(error.status, str(error)), self._instance)

    def _timed(self, receive: Receive, *, is_known: bool) -> Receive:
        """`receive` with a deadline for the body, and none for what comes behind it."""
        loop = asyncio.get_running_loop()
        end = None if is_known else loop.time() + self._doors.unknown_seconds
        piece = self._doors.body_seconds or None
        is_complete = False

        async def timed() -> Message:
            nonlocal is_complete
            until = end if end is not None else loop.time() + piece if piece else None
            try:
                async with asyncio.timeout_at(None if is_complete else until):
                    message = await receive()
            except TimeoutError:
                raise SlowBodyError("the rest of the body did not come in time") from None
            is_complete = not message.get("more_body", False)
            return message

        return timed


def _is_public(scope: Scope) -> bool:
    """Whether this is about signing in, which is for those who are not known yet; as written, not decoded."""
    if scope["raw_path"] == LOGIN.encode():
        return _is_get(scope) or method_of(scope) in ("HEAD", "POST")
    return _is_get(scope) and bool(scope["raw_path"].startswith(LINKS))


def _is_get(scope: Scope) -> bool:
    return method_of(scope) == "GET" and not is_websocket(scope)


def _bare(scope: Scope) -> list[tuple[bytes, bytes]]:
    """The headers without what opened this door: no app and no other endpoint has any use for it."""
    secret = (b"authorization",) if scope["raw_path"] == LOGIN.encode() else (b"authorization", b"cookie")
    return [field for field in scope["headers"] if field[0] not in secret]


def _lack(scope: Scope, session: BrowserSession | None) -> str:
    """What a caller by cookie must show besides, and does not; nothing where the cookie is enough.

    A foreign Origin was turned away before, so what is there is the own page's; every browser sends one with a
    WebSocket, and cannot set another header (https://websockets.spec.whatwg.org).
    """
    if is_websocket(scope):
        has_origin = bool(values(scope["headers"], b"origin"))
        return "" if has_origin else "a WebSocket by cookie needs the Origin of the agent's own page"
    if method_of(scope) in SAFE or _has_csrf(scope["headers"], session):
        return ""
    return f"a change by cookie needs the header {CSRF_HEADER}, whose value GET {LOGIN} tells"


def _has_csrf(headers: RawHeaders, session: BrowserSession | None) -> bool:
    return session is not None and is_csrf(session, _texts(headers, CSRF_HEADER.encode()))


def _texts(headers: RawHeaders, name: bytes) -> list[str]:
    return [value.decode("latin-1") for value in values(headers, name)]
