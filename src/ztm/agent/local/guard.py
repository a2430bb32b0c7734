"""Who may use the local API: holders of this agent's token, signed-in browsers, and this user on the Unix socket.

Everybody may have the web page and sign in; nothing else is answered, and no body is read, before it is known
who asks. A WebSocket, which says nothing in a header of the page's own, is known by its `Origin` besides the cookie.
The page of an app by others has an origin of its own and shows a pass in its path, which opens that app and nothing
else, whatever else comes with it. Names and origins are judged in `origins`, sign-ins in `login`, passes in `passes`.
"""

import asyncio
import hmac
import logging
from dataclasses import dataclass
from urllib.parse import unquote

from ztm.agent.local.ends import EndedError, Ends
from ztm.agent.local.headers import allow, contained, refuse, shielded
from ztm.agent.local.login import CSRF_HEADER, BrowserSession, Login, is_csrf
from ztm.agent.local.origins import OPAQUE, Origins, RawHeaders, Refusal, values
from ztm.agent.local.passes import MARK, METHODS, PASS, Shown, holder_of, shown_in
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
"""Scope extension, set here: ``socket``, ``open``, ``token``, ``cookie``, ``pass``, or nothing for who is not known."""
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
        self.ends = Ends()
        """What can be ended while it is open."""
        login.on_end = self.ends.end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or WebSocket, or say why not."""
        shown_pass = shown_in(scope["raw_path"])
        if shown_pass is not None:
            await self._serve_by_pass(scope, receive, send, shown_pass)
            return
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
            by_cookie = session if caller == "cookie" else None
            known = {CALLER: "" if lack else caller, SESSION: by_cookie, PASS: ""}
            within = {**scope, "headers": _bare(scope), "extensions": {**scope["extensions"], **known}}
            timed = receive if is_websocket(scope) else self._timed(receive, is_known=bool(known[CALLER]))
            await self._answer(within, timed, send, by_cookie)

    async def _serve_by_pass(self, scope: Scope, receive: Receive, send: Send, shown: Shown) -> None:
        """Serve a request of an app's page; nothing but the pass counts, and it goes to that app's prefix only."""
        headers: RawHeaders = scope["headers"]
        session = holder_of(shown, self._login.live())
        refusal = self._origins.misnamed(headers) or _pass_refusal(scope, shown, session)
        plainly = plain(scope, send)
        is_opaque = OPAQUE in values(headers, b"origin")
        if refusal is not None:
            await refuse(shielded(plainly, None, is_api=True), refusal, self._instance)
        elif is_opaque and method_of(scope) == "OPTIONS" and values(headers, b"access-control-request-method"):
            await allow(shielded(plainly, OPAQUE, is_api=True), b"*")
        else:
            segment = f"{MARK}{shown.given}"
            within = {
                **scope,
                **_path(shown.place.path.encode() + shown.rest),
                "headers": _bare(scope),
                "extensions": {**scope["extensions"], CALLER: "pass", SESSION: None, PASS: segment},
            }
            timed = receive if is_websocket(scope) else self._timed(receive, is_known=True)
            host = (values(headers, b"host") or [b""])[0].decode("latin-1")
            own = f"http://{host}{shown.place.path}/{segment}/" if host else ""
            await self._answer(within, timed, contained(plainly, own, is_opaque=is_opaque), session)

    def _caller(self, headers: RawHeaders, session: BrowserSession | None) -> str:
        """By what the caller is known; a wrong token is not made good by a cookie."""
        if self._doors.is_open:
            return "open"
        given = values(headers, b"authorization")
        if given:
            return "token" if len(given) == 1 and hmac.compare_digest(given[0], self._wanted) else ""
        return "cookie" if session is not None else ""

    async def _answer(self, scope: Scope, receive: Receive, send: Send, session: BrowserSession | None) -> None:
        """Let the API answer; a body that comes too slowly is refused while nothing is sent.

        What `session` has open ends with it.
        """
        is_started = is_open = False

        async def watched(message: Message) -> None:
            nonlocal is_started, is_open
            is_started, is_open = True, is_open or message["type"] == "websocket.accept"
            await send(message)

        try:
            if session is None and not is_websocket(scope):
                await self._api(scope, receive, watched)
                return
            left = None if session is None else self._login.seconds_left(session)
            async with self.ends.within(session, left, is_websocket=is_websocket(scope)):
                await self._api(scope, receive, watched)
        except ZtmError as error:
            if is_open and isinstance(error, EndedError):
                await send({"type": "websocket.close", "code": error.code, "reason": str(error)})
                return
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


def _pass_refusal(scope: Scope, shown: Shown, session: BrowserSession | None) -> Refusal | None:
    """Why a request that shows a pass is turned away, if it is.

    A browser says the origin of every page that asks by script, sends a form or opens a WebSocket: it is opaque.
    Without one it loads a page or a part of it, for which the pass is enough.
    """
    if any(origin != OPAQUE for origin in values(scope["headers"], b"origin")):
        return Refusal(403, "pages of other sites may not use this agent")
    if session is None:
        return Refusal(401, "this pass to an app's page is over: open the page anew, signed in by 'ztm gui'")
    if method_of(scope) not in METHODS:
        return Refusal(403, f"an app's page may not ask by {method_of(scope)[:20]}")
    return None if shown.rest else Refusal(404, "an app's page begins behind a slash")


def _path(raw: bytes) -> dict[str, object]:
    return {"raw_path": raw, "path": unquote(raw.decode("utf-8", "replace"))}


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
