"""An app by others, as its agent's host sees it: an `App` whose work is done in a process of its own.

Nothing of the app's code runs here. What it asks is checked by `calls`, and what others ask of it goes by `forward`;
both end with the process.
"""

from collections.abc import Mapping
from urllib.parse import quote

from ztm.agent.apps.installed import Installed
from ztm.agent.apps.process.calls import Calls
from ztm.agent.apps.process.child import Child
from ztm.agent.apps.process.commands import carry_command
from ztm.agent.apps.process.forward import Forward
from ztm.agent.apps.process.limits import LIMITS, ProcessLimits
from ztm.agent.apps.process.load import Load
from ztm.agent.apps.process.refusals import Permissions
from ztm.agent.apps.process.supervisor import Supervisor
from ztm.agent.apps.process.websockets import WebSockets
from ztm.apps.audit import Trail, audited
from ztm.apps.base import App, AppContext, AppFactory, Condition
from ztm.apps.command import Console
from ztm.errors import ForbiddenError
from ztm.model import Peer
from ztm.net.base import Session
from ztm.net.scope import PEER, Receive, Scope, Send, is_websocket, method_of
from ztm.wire import processes
from ztm.wire.processes import Ready

CONFINED = "confined: its own files, and what its permissions allow"
UNCONFINED = "unconfined: whatever the agent's own user may do"


def process_app(installed: Installed, limits: ProcessLimits = LIMITS, *, is_confined: bool = True) -> AppFactory:
    """What makes an installed app; without `is_confined` nothing keeps it from the agent's own files."""

    def make(context: AppContext) -> App:
        return ProcessApp(installed, context, limits, is_confined=is_confined)

    return make


class ProcessApp:
    """One app by others on one endpoint; see `apps.base.App`."""

    def __init__(self, installed: Installed, context: AppContext, limits: ProcessLimits, *, is_confined: bool) -> None:
        self.installed = installed
        self.is_confined = is_confined
        """Whether its process is kept from all but its own files."""
        self._context = context
        self._limits = limits
        self._name = f"{installed.provider}/{installed.manifest.name}"
        held = CONFINED if is_confined else UNCONFINED
        self._supervisor = Supervisor(self._name, context, limits, self._launch, held)
        self._permissions: Permissions | None = None
        self._load = Load(limits.under_way)
        self._websockets = WebSockets(self._name, limits.websockets, self._load)
        self._served = 0

    # ------------------------------------------------------------------ how it is doing

    @property
    def condition(self) -> Condition:
        """See `apps.base.Supervised`."""
        return self._supervisor.condition

    @property
    def ready(self) -> Ready | None:
        """What the app said of itself when it started: its routes and commands; None while it does not run."""
        child = self._supervisor.child
        return child.ready if child is not None else None

    @property
    def pid(self) -> int | None:
        """Of its process, while one runs."""
        child = self._supervisor.child
        return child.pid if child is not None else None

    def figures(self) -> Mapping[str, float]:
        """See `apps.base.Measured`."""
        child = self._supervisor.child
        return {
            "streams": float(child.streams if child is not None else 0),
            "requests_total": float(self._served),
            "refused_total": float(self._permissions.refused if self._permissions is not None else 0),
            "restarts_total": float(self.condition.restarts),
        }

    # ------------------------------------------------------------------ start and stop

    async def start(self) -> None:
        """Start the process; the app is ready when this returns. One that has failed is started anew.

        Raises:
            UnreachableError: it does not start; the message says why.
        """
        if not self.is_confined:
            self._context.log.warning("this app is not confined: it may do whatever the agent's own user may")
        await self._supervisor.start()

    async def stop(self) -> None:
        """Cut all streams, end the process and whatever it has started."""
        await self._supervisor.stop()

    async def _launch(self) -> Child:
        if self._permissions is None:
            self._permissions = Permissions(self.installed.manifest, self._context)
        calls = Calls(self._context, self._permissions, self._session, self._limits, self._load)
        return await Child.start(
            self.installed, self._context, calls.application(), self._limits, is_confined=self.is_confined
        )

    def _session(self) -> Session:
        """The session to the process.

        Raises:
            UnreachableError: none is ready.
        """
        return self._supervisor.running().session

    # ------------------------------------------------------------------ being asked

    async def user_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `apps.base.App`."""
        await self._serve(processes.USER, scope, receive, send)

    async def self_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `apps.base.Neighbourly`."""
        await self._serve(processes.SELF, scope, receive, send)

    async def peer_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See `apps.base.App`: who calls is what the hub verified; the app decides, and both is audited here."""
        peer = scope["extensions"].get(PEER)
        if not isinstance(peer, Peer) or not peer.user:
            raise ForbiddenError("only a known user may ask an app")
        method = method_of(scope)
        subject = f"{method} {quote(scope['path'])}"[:500]
        trail = Trail(
            side="exit", peer=peer, action="connect" if method == "CONNECT" else "request", subject=subject, rule="none"
        )
        with audited(self._context.audit, trail):
            await self._serve(processes.PEER, scope, receive, send, peer, trail)

    async def _serve(
        self,
        door: str,
        scope: Scope,
        receive: Receive,
        send: Send,
        peer: Peer | None = None,
        trail: Trail | None = None,
    ) -> None:
        self._served += 1
        told = processes.peer_headers(peer) if peer is not None else ()
        if is_websocket(scope):
            await self._websockets.carry(self._session(), door, scope, receive, send, told)
        else:
            forward = Forward(self._name, self._context.network, self._session)
            await forward.serve(door, scope, receive, send, told=told, trail=trail)

    async def command(self, console: Console) -> int:
        """Run one of the app's commands; its exit status.

        Raises:
            UnreachableError: no process is ready, or it ended.
            BrokenStreamError: the caller went away.
        """
        return await carry_command(self._session(), console)
