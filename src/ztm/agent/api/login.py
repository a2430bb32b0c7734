"""The local API's routes for browsers: signing in by a one-time link or the token, and out again.

Who may call is the guard's business; see `login` for the rules.
"""

from typing import Protocol

import msgspec

from ztm.agent.local.guard import CALLER, LOGIN, SESSION
from ztm.agent.local.login import BrowserSession, Login
from ztm.agent.local.passes import AppPlace, entrance
from ztm.errors import UsageError
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router

MAX_TOKEN = 4096
"""Bytes of a body that shows a token."""


class Host(Protocol):
    """What these routes need of the agent."""

    @property
    def login(self) -> Login:
        """Who is signed in."""

    @property
    def page(self) -> str:
        """The URL of the web page on this machine, without a slash at its end."""


class TokenShown(msgspec.Struct):
    """The agent's token, as pasted into the page."""

    token: str


class LoginView(msgspec.Struct, rename="camel", omit_defaults=True):
    """Whether the caller is signed in."""

    signed_in: bool
    csrf: str = ""
    """For a session by cookie: the value of the header ``x-ztm-csrf`` that changes need."""


class LinkView(msgspec.Struct):
    """A link that signs in one browser, once, within a minute."""

    url: str


class LoginRoutes:
    """Handlers below ``/api/login``."""

    def __init__(self, host: Host) -> None:
        self._host = host

    def mount(self, router: Router) -> None:
        """Add the routes."""
        add = router.add
        add(
            "GET",
            LOGIN,
            self.state,
            summary="Whether the caller is signed in",
            answer=LoginView,
            tag="login",
            is_open=True,
        )
        add(
            "POST",
            LOGIN,
            self.enter,
            summary="Sign a browser in by the token; the answer sets its cookie",
            body=TokenShown,
            answer=LoginView,
            statuses={400: "malformed", 401: "another token", 413: "too large", 429: "too many wrong ones lately"},
            headers={"set-cookie": "the session"},
            tag="login",
            is_open=True,
        )
        add("DELETE", LOGIN, self.leave, summary="Sign out", statuses={204: "signed out"}, tag="login")
        add(
            "POST",
            f"{LOGIN}/links",
            self.link,
            summary="Make a link that signs in one browser, once, within a minute",
            answer=LinkView,
            statuses={201: "made"},
            tag="login",
        )
        add(
            "GET",
            f"{LOGIN}/links/{{code}}",
            self.enter_by_link,
            summary="Sign a browser in by a link, and show the page",
            params=(Param("code", str, "as the link has it"),),
            query=(
                Param("mesh", str, "with `app`: show the page of an app of this mesh instead"),
                Param("app", str, "the app by others, as provider/name"),
            ),
            statuses={303: "signed in", 400: "malformed", 403: "used, too old or unknown"},
            headers={"set-cookie": "the session", "location": "the page"},
            tag="login",
            is_open=True,
        )

    async def state(self, request: Request) -> Response:
        """Whether the caller is signed in."""
        extensions = request.scope["extensions"]
        session: BrowserSession | None = extensions.get(SESSION)
        return _unkept(200, LoginView(bool(extensions.get(CALLER)), session.csrf if session else ""))

    async def enter(self, request: Request) -> Response:
        """Sign in by the token."""
        shown = await request.json(TokenShown, MAX_TOKEN)
        login = self._host.login
        id_ = login.enter_by_token(shown.token.strip())
        session = login.session([f"{login.cookie}={id_}"])
        return _unkept(200, LoginView(True, session.csrf if session else ""), ("set-cookie", login.set_cookie(id_)))

    async def enter_by_link(self, request: Request) -> Response:
        """Sign in by a link, and go on to the page; to that of an app with a pass, as the cookie is not sent yet."""
        place = _place(request.query.get("mesh", ""), request.query.get("app", ""))
        login = self._host.login
        id_ = login.enter_by_link(request.params["code"])
        session = login.session([f"{login.cookie}={id_}"])
        location = entrance(session, place) if session and place else "/"
        return _unkept(303, None, ("set-cookie", login.set_cookie(id_)), ("location", location))

    async def link(self, _request: Request) -> Response:
        """Make a link."""
        return _unkept(201, LinkView(f"{self._host.page}{LOGIN}/links/{self._host.login.link()}"))

    async def leave(self, request: Request) -> Response:
        """Sign out: the cookie is worth nothing any more, wherever a copy of it may be."""
        self._host.login.leave([request.headers.get("cookie", "")])
        return _unkept(204, None, ("set-cookie", self._host.login.drop_cookie()))


def _place(mesh: str, app: str) -> AppPlace | None:
    """The app whose page is to be shown; None for the agent's own.

    Raises:
        UsageError: it is not named as it should be.
    """
    if not mesh and not app:
        return None
    provider, _, name = app.partition("/")
    if not (mesh and provider and name) or "/" in name:
        raise UsageError("the page of an app is asked for by mesh=NAME&app=PROVIDER/NAME")
    return AppPlace(mesh, provider, name)


def _unkept(status: int, body: object, *headers: tuple[str, str]) -> Response:
    return Response(status, body, headers=[("cache-control", "no-store"), *headers])
