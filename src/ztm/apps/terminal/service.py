"""The terminals of one endpoint: what is set, who may have one, and those under way.

A change is checked and saved before it is acknowledged, and ends the sessions that it no longer allows. It knows
nothing of HTTP.

Source: spec apps-network 3; section 7 rules 8 and 9.
"""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from ztm.apps.audit import Trail, audited
from ztm.apps.base import AppContext
from ztm.apps.callers import check_owner
from ztm.apps.guard import SHELL, Guard
from ztm.apps.terminal.accounts import Account, account_for, check_accounts, check_system, own_name
from ztm.apps.terminal.forms import ConfigBody, ConfigShown, config_shown, read_settings, stored
from ztm.apps.terminal.launch import NOT_RUNNABLE, LaunchError, prepare, shell_words
from ztm.apps.terminal.links import Link
from ztm.apps.terminal.model import Ask, Settings
from ztm.apps.terminal.program import Program, start
from ztm.apps.terminal.recording import Recording, open_recording
from ztm.apps.terminal.session import Session
from ztm.core.access import check_use, judge, may_use
from ztm.errors import LimitError
from ztm.model import Peer
from ztm.wire.console import Frame, Kind, status_frame

CONFIG = "config.json"
RECORDINGS = "recordings"

Accept = Callable[[], Link]
"""Tells the caller that there is a session, and gives its link."""


@dataclass(frozen=True, slots=True, eq=False)
class _Live:
    """A session under way."""

    session: Session
    user: str
    serving: "asyncio.Task[Any] | None"


class Terminals:
    """The terminals of this endpoint."""

    def __init__(self, context: AppContext) -> None:
        self.settings = Settings()
        self._context = context
        self._live: set[_Live] = set()
        self.sessions = 0
        """Those, and the ones that are being started."""
        self.total = 0
        """Sessions since the app was started."""
        self._serving: set[asyncio.Task[None]] = set()
        self._programs: set[asyncio.Task[int]] = set()
        """One for each program that is not reaped yet."""
        self._guard = Guard()

    async def start(self) -> None:
        """Take up what is stored.

        Raises:
            StorageError: it cannot be read.
        """
        data = self._context.files.read_local(CONFIG)
        self.settings = read_settings(data) if data else Settings()

    async def stop(self) -> None:
        """End all sessions; returns when every program has ended."""
        for live in self._live:
            live.session.cut("the terminal app stops")
        while waited := self._serving | self._programs:
            await asyncio.wait(waited)
        await self._guard.close()

    # ------------------------------------------------------------------ settings

    def shown(self) -> ConfigShown:
        """All that is set."""
        return config_shown(self.settings, own_name(), self.sessions)

    def change(self, body: ConfigBody, peer: Peer) -> ConfigShown:
        """Set what `body` says, for `peer`.

        Raises:
            UsageError: a part is malformed, or there is no such operating system user.
            ForbiddenError: the peer is not the owner, or the agent cannot run programs as that user.
            StorageError: it could not be saved; nothing changed.
        """
        trail = Trail(side="exit", peer=peer, action="configure", subject="terminals")
        with audited(self._context.audit, trail):
            trail.decide(judge(self._context.user, (), peer.user))
            self.check_owner(peer)
            settings = body.applied(self.settings)
            if settings.shell:
                shell_words(settings.shell)
            if settings.accounts != self.settings.accounts:
                check_system()
                check_accounts(settings.accounts)
            self._context.files.write_local(CONFIG, stored(settings))
            self.settings = settings
        for live in self._live:
            if not may_use(self._context.user, settings.users, live.user):
                live.session.cut(f"user {live.user} is not allowed here any more")
        return self.shown()

    def check_owner(self, peer: Peer) -> None:
        """Make sure that a peer may see and change what is set.

        Raises:
            ForbiddenError: it may not.
        """
        check_owner(self._context.user, peer)

    # ------------------------------------------------------------------ sessions

    async def serve(self, ask: Ask, peer: Peer, accept: Accept) -> None:
        """Have `peer` what it asks for, if it may, until that has ended.

        Raises:
            ForbiddenError: it may not; nothing was accepted.
            LimitError: there are too many sessions; nothing was accepted.
            UnreachableError: this system has no terminals; nothing was accepted.
            StorageError: it cannot be recorded, as it must be; nothing was accepted.
        """
        serving = asyncio.get_running_loop().create_task(self._audited(ask, peer, accept))
        self._serving.add(serving)
        serving.add_done_callback(self._served)
        try:
            await asyncio.shield(serving)
        except asyncio.CancelledError:
            self._leave(serving)
            raise

    def _served(self, serving: "asyncio.Task[None]") -> None:
        self._serving.discard(serving)
        if not serving.cancelled():
            serving.exception()  # told to whoever asked, who may be gone

    def _leave(self, serving: "asyncio.Task[None]") -> None:
        """Whoever asked for it waits no longer: end it, so that it can still be noted how."""
        for live in self._live:
            if live.serving is serving:
                live.session.leave()
                return
        serving.cancel()

    async def _audited(self, ask: Ask, peer: Peer, accept: Accept) -> None:
        trail = Trail(side="exit", peer=peer, action=ask.action, subject="terminal")
        with audited(self._context.audit, trail), self._counted():
            account = self._admit(peer, trail)
            with self._recorded(ask, peer) as recording:
                trail.reason = await self._serve(ask, account, accept(), trail, recording)

    def _admit(self, peer: Peer, trail: Trail) -> Account:
        owner, users = self._context.user, self.settings.users
        trail.decide(judge(owner, users, peer.user))
        check_use(owner, users, peer.user, f"the terminals of endpoint {self._context.place.name}")
        check_system()
        if self.sessions > self.settings.max_sessions:
            raise LimitError(f"endpoint {self._context.place.name} has {self.settings.max_sessions} sessions, its most")
        return account_for(self.settings, owner, peer.user)

    async def _serve(self, ask: Ask, account: Account, link: Link, trail: Trail, recording: Recording | None) -> str:
        try:
            launch = prepare(ask, self.settings.shell, account)
            trail.target = f"{launch.executable} as {account.name}"
            self._check_guard()
            program = start(launch, ask.window if ask.has_terminal else None)
        except LaunchError as error:
            await link.send(Frame(Kind.STDERR, f"ztm: {error}\n".encode()))
            await link.send(status_frame(error.exit_status))
            return f"exit status {error.exit_status}: {error}"
        self._own(program)
        session = Session(link, program, trail.meter, idle_seconds=self.settings.idle_seconds, recording=recording)
        live = _Live(session, trail.peer.user, asyncio.current_task())
        self._live.add(live)
        self.total += 1
        try:
            return await session.run()
        finally:
            self._live.discard(live)

    def _own(self, program: Program) -> None:
        def released(task: "asyncio.Task[int]") -> None:
            self._programs.discard(task)
            self._guard.release(program.pid)

        self._guard.watch(program.pid)
        task = asyncio.get_running_loop().create_task(program.ended())
        self._programs.add(task)
        task.add_done_callback(released)

    def _check_guard(self) -> None:
        """Make sure that programs end with the agent, whatever becomes of it.

        Raises:
            LaunchError: nothing can be started here.
        """
        try:
            self._guard.ready()
        except OSError as error:
            raise LaunchError(f"{SHELL}: cannot be started: {error.strerror}", NOT_RUNNABLE) from None

    @contextmanager
    def _counted(self) -> Iterator[None]:
        self.sessions += 1
        try:
            yield
        finally:
            self.sessions -= 1

    @contextmanager
    def _recorded(self, ask: Ask, peer: Peer) -> Iterator[Recording | None]:
        if not self.settings.is_recorded:
            yield None
            return
        network, directory = self._context.network, self._context.directory() / RECORDINGS
        recording = open_recording(directory, peer.user, ask.window, ask.term, network.wall(), network.now)
        try:
            yield recording
        finally:
            recording.close()
