"""Starting, stopping and reaching the apps of one mesh."""

import asyncio
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from ztm.agent.apps.host import AppHost
from ztm.apps.base import AppContext
from ztm.errors import NotFoundError, StorageError, UnreachableError
from ztm.model import Peer
from ztm.net.aio import AioNetwork
from ztm.net.scope import Receive, Scope, Send, Upgrade
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange

ROOT, BOB = Peer("root", "ep", "10.1.2.3", 777), Peer("bob")


class FakeContext:
    def __init__(self, log: "logging.LoggerAdapter[logging.Logger]") -> None:
        self.log = log
        self.is_closed = False

    async def close(self) -> None:
        self.is_closed = True


class FakeApp:
    """Counts its starts and stops."""

    def __init__(self, context: AppContext, fails: Exception | None = None) -> None:
        self.context = context
        self.fails = fails
        self.starts = self.stops = 0

    async def start(self) -> None:
        self.starts += 1
        await asyncio.sleep(0)  # others run meanwhile
        self.context.log.info("started")
        if self.fails is not None:
            raise self.fails

    async def stop(self) -> None:
        self.stops += 1

    async def user_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    async def peer_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError


class Bench:
    """A host with one app, ``x``; each start of it makes a new object."""

    def __init__(self, store: AgentStore) -> None:
        self.store = store
        self.apps: list[FakeApp] = []
        self.contexts: list[FakeContext] = []
        self.fails: Exception | None = None
        self.host = self.restarted()

    def restarted(self) -> AppHost:
        """A host on the same store."""
        return AppHost("m", lambda: "root", self.store, AioNetwork(), {"x": self._app}, cast("Any", self._context))

    def _app(self, context: AppContext) -> Any:
        self.apps.append(FakeApp(context, self.fails))
        return self.apps[-1]

    def _context(self, provider: str, name: str, log: "logging.LoggerAdapter[logging.Logger]") -> FakeContext:
        assert (provider, name) == ("ztm", "x")
        self.contexts.append(FakeContext(log))
        return self.contexts[-1]

    @property
    def state(self) -> str:
        """As on disk."""
        return next((row.state for row in self.store.apps("m")), "")

    async def connect(self, peer: Peer, provider: str | None = "ztm", name: str = "x") -> None:
        """Reach for the app as a peer; raises what that raises before the stream is accepted."""
        upgrade = cast("Upgrade", NotAccepting())
        await self.host.connect(provider, name, peer, upgrade)


class AcceptedError(Exception):
    """The stream was accepted."""


class NotAccepting:
    def accept(self) -> None:
        raise AcceptedError


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    store = AgentStore(tmp_path)
    yield Bench(store)
    store.close()


# ---------------------------------------------------------------------- starting and stopping


async def test_a_started_app_runs_once_and_again_after_a_restart(bench: Bench) -> None:
    await bench.host.start("ztm", "x")
    await bench.host.start("ztm", "x")
    assert [app.starts for app in bench.apps] == [1]
    assert bench.host.app("ztm", "x").is_running
    await bench.host.close()
    assert (bench.apps[0].stops, bench.contexts[0].is_closed, bench.state) == (1, True, "running")
    again = bench.restarted()
    await again.start_wanted()
    assert again.app("ztm", "x").is_running


@pytest.mark.parametrize("change", [AppChange(is_running=False), AppChange(is_disabled=True)])
async def test_a_stopped_or_disabled_app_does_not_start_with_the_agent(bench: Bench, change: AppChange) -> None:
    await bench.host.start("ztm", "x")
    await bench.host.change("ztm", "x", change)
    assert (bench.apps[0].stops, bench.contexts[0].is_closed) == (1, True)
    again = bench.restarted()
    await again.start_wanted()
    assert not again.app("ztm", "x").is_running
    assert again.app("ztm", "x").is_disabled == (change.is_disabled is True)


async def test_an_app_that_was_never_touched_does_not_start_with_the_agent(bench: Bench) -> None:
    await bench.host.start_wanted()
    assert bench.apps == []
    assert bench.host.log_entries("ztm", "x") is None


@pytest.mark.parametrize(
    ("change", "is_running", "state"),
    [
        (AppChange(), False, "disabled"),
        (AppChange(is_running=False), False, "disabled"),
        (AppChange(is_disabled=False), False, "stopped"),
        (AppChange(is_running=True, is_disabled=False), True, "running"),
        (AppChange(is_running=True), True, "running"),
    ],
)
async def test_a_disabled_app_is_changed_by(bench: Bench, change: AppChange, is_running: bool, state: str) -> None:
    await bench.host.change("ztm", "x", AppChange(is_disabled=True))
    await bench.host.change("ztm", "x", change)
    assert (bench.host.app("ztm", "x").is_running, bench.state) == (is_running, state)


async def test_an_app_that_fails_to_start_is_closed_and_can_be_tried_again(bench: Bench) -> None:
    bench.fails = StorageError("damaged")
    with pytest.raises(StorageError):
        await bench.host.start("ztm", "x")
    assert (bench.contexts[0].is_closed, bench.host.app("ztm", "x").is_running, bench.state) == (True, False, "")
    bench.fails = None
    await bench.host.start("ztm", "x")
    assert bench.host.app("ztm", "x").is_running


async def test_an_app_that_fails_does_not_keep_the_agent_from_starting(bench: Bench) -> None:
    await bench.host.start("ztm", "x")
    bench.fails = StorageError("damaged")
    await bench.restarted().start_wanted()


async def test_its_log_is_kept_while_it_is_stopped(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ztm.app")
    await bench.host.start("ztm", "x")
    await bench.host.stop("ztm", "x")
    entries = bench.host.log_entries("ztm", "x")
    assert entries is not None
    assert [one.message for one in entries] == ["started"]


async def test_a_closed_host_hears_no_log_lines_any_more(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "ztm.app")
    await bench.host.start("ztm", "x")
    await bench.host.close()
    again = bench.restarted()
    await again.start("ztm", "x")
    assert len(bench.host.log_entries("ztm", "x") or []) == 1
    await again.close()


@pytest.mark.parametrize(("provider", "name"), [("ztm", "y"), ("other", "x"), ("ztm", "x@1")])
async def test_another_name_is_not_found(bench: Bench, provider: str, name: str) -> None:
    with pytest.raises(NotFoundError):
        bench.host.app(provider, name)
    with pytest.raises(NotFoundError):
        bench.host.log_entries(provider, name)
    with pytest.raises(NotFoundError):
        await bench.host.change(provider, name, AppChange(is_running=True))
    with pytest.raises(NotFoundError):
        await bench.host.running(provider, name)
    with pytest.raises(NotFoundError):
        await bench.connect(ROOT, provider, name)


# ---------------------------------------------------------------------- reaching


@pytest.mark.parametrize("provider", ["ztm", None])
async def test_its_owner_starts_an_app_by_using_it(bench: Bench, provider: str | None) -> None:
    with pytest.raises(AcceptedError):
        await bench.connect(ROOT, provider)
    assert bench.state == "running"


async def test_another_user_does_not_start_it_but_may_reach_it_when_it_runs(bench: Bench) -> None:
    with pytest.raises(NotFoundError):
        await bench.connect(BOB)
    await bench.host.start("ztm", "x")
    with pytest.raises(AcceptedError):
        await bench.connect(BOB)


async def test_nobody_reaches_a_disabled_app(bench: Bench) -> None:
    await bench.host.change("ztm", "x", AppChange(is_disabled=True))
    with pytest.raises(NotFoundError):
        await bench.connect(ROOT)
    with pytest.raises(UnreachableError, match="disabled"):
        await bench.host.running("ztm", "x")
    assert bench.apps == []


async def test_the_local_user_starts_an_app_by_using_it(bench: Bench) -> None:
    assert await bench.host.running("ztm", "x") is bench.apps[0]
    assert bench.state == "running"


async def test_many_first_uses_at_once_start_it_once(bench: Bench) -> None:
    await asyncio.gather(*(bench.host.running("ztm", "x") for _ in range(10)))
    assert [app.starts for app in bench.apps] == [1]
