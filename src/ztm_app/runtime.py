"""One app running on one host: its applications for user, peers and neighbours, its commands, its start and end.

It is the same in an app's process and in tests.
"""

import logging
from collections.abc import Coroutine
from typing import Any, TypeVar
from urllib.parse import quote

from ztm.apps.command import Console
from ztm.errors import ConflictError, ForbiddenError, ZtmError
from ztm.net.reply import error_body
from ztm.net.scope import ASGIApp, Receive, Scope, Send, is_websocket
from ztm.net.scope import Message as AsgiMessage
from ztm.rest.router import Router
from ztm_app.app import HERE, App
from ztm_app.commands import run_command
from ztm_app.host import Host
from ztm_app.lifespan import Lifespan
from ztm_app.routes import router_of
from ztm_app.tasks import Tasks

T = TypeVar("T")


class Runtime:
    """An app in the places where requests come from."""

    def __init__(self, app: App, host: Host, log: logging.Logger) -> None:
        self._app = app
        self._host = host
        self.log = log
        self.tasks = Tasks(log)
        applications = [one for one in (app.user_asgi, app.peer_asgi) if one is not None]
        self._lifespans = {id(one): Lifespan(one, log) for one in applications}
        user, peer = router_of(app.user, host.network, None), router_of(app.peer, host.network, host.owner)
        self.user_api = self._within(self._either(user, app.user_asgi))
        """Serves the local user."""
        has_peers = bool(app.peer.specs) or app.peer_asgi is not None
        self.peer_api = self._within(self._either(peer, app.peer_asgi) if has_peers else _refuse_peers)
        """Serves other endpoints."""
        self.self_api = self._within(router_of(app.self, host.network, None))
        """Serves other apps here."""

    # ------------------------------------------------------------------ start and end

    async def start(self) -> None:
        """Do what comes before the first request.

        Raises:
            ConflictError: the app does not start; the message says why.
        """
        token = HERE.set((self._host, self.tasks))
        try:
            for lifespan in self._lifespans.values():
                await lifespan.start()
            for hook in self._app.starting:
                await hook()
        except ZtmError:
            raise
        except Exception as error:
            self.log.exception("the app does not start")
            raise ConflictError(f"on_start failed: {type(error).__name__}: {error}") from error
        finally:
            HERE.reset(token)

    async def stop(self) -> None:
        """End the background tasks, and do what comes last. What fails is logged."""
        token = HERE.set((self._host, self.tasks))
        try:
            await self.tasks.close()
            for hook in self._app.stopping:
                await self._logged(hook())
            for lifespan in self._lifespans.values():
                await self._logged(lifespan.stop())
        finally:
            HERE.reset(token)

    async def _logged(self, work: Any) -> None:
        try:
            await work
        except Exception:
            self.log.exception("the app does not stop well")

    # ------------------------------------------------------------------ serving

    async def command(self, console: Console) -> int:
        """Run one of the app's commands; its exit status.

        Raises:
            BrokenStreamError: the caller went away.
        """
        return await self.here(run_command(console, self._app.commands, self._app.mesh, self.log))

    async def here(self, work: Coroutine[Any, Any, T]) -> T:
        """Run `work` as the app's on this host."""
        token = HERE.set((self._host, self.tasks))
        try:
            return await work
        finally:
            HERE.reset(token)

    def _within(self, app: ASGIApp) -> ASGIApp:
        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            token = HERE.set((self._host, self.tasks))
            try:
                await app(scope, receive, send)
            finally:
                HERE.reset(token)

        return serve

    def _either(self, router: Router, app: ASGIApp | None) -> ASGIApp:
        """The routes first, and a foreign application where none fits."""
        if app is not None:
            router.mount("", self._whole(app))
        return router

    def _whole(self, app: ASGIApp) -> ASGIApp:
        """A foreign application with the paths that ASGI says: `root_path`, and `path` with it in front."""
        state = self._lifespans[id(app)].state

        async def serve(scope: Scope, receive: Receive, send: Send) -> None:
            root = scope["root_path"]
            whole = {
                **scope,
                "path": root + scope["path"],
                "raw_path": quote(root).encode() + scope["raw_path"],
                "state": dict(state),
            }
            await app(whole, receive, send)

        return serve

    def shown_routes(self) -> list[str]:
        """For people: what it answers."""
        user = [spec.shown() for spec in self._app.user.specs]
        peer = [f"peer {spec.shown()} ({', '.join(('owner', *spec.users))})" for spec in self._app.peer.specs]
        local = [f"self {spec.shown()}" for spec in self._app.self.specs]
        foreign = ["* (ASGI)"] * (self._app.user_asgi is not None) + ["peer * (ASGI)"] * (
            self._app.peer_asgi is not None
        )
        return [*user, *peer, *local, *foreign]


async def _refuse_peers(scope: Scope, receive: Receive, send: Send) -> None:  # noqa: ARG001
    """For an app that has nothing for peers."""
    kind = "websocket.http.response" if is_websocket(scope) else "http.response"
    head: AsgiMessage = {
        "type": f"{kind}.start",
        "status": ForbiddenError.status,
        "headers": [(b"content-type", b"application/json")],
    }
    await send(head)
    body = error_body(ForbiddenError.status, "this app answers no other endpoint")
    await send({"type": f"{kind}.body", "body": body})
