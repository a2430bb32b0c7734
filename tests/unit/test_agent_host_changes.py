"""Changes of an app that meet: none waits for ever, none is left half done, and all who wait have the outcome."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest

from ztm.agent.apps.host import AppHost
from ztm.agent.apps.names import AppName
from ztm.agent.apps.uses import StoppedError
from ztm.apps.base import AppContext, Condition
from ztm.errors import StorageError, UnreachableError
from ztm.net.aio import AioNetwork
from ztm.net.scope import Receive, Scope, Send
from ztm.store.agent import AgentStore
from ztm.wire.records import AppChange

Step = Callable[[], Awaitable[object]]


class Context:
    """As an agent makes one; counts its ends."""

    def __init__(self, provider: str, app: str) -> None:
        self.name = AppName.parse(provider, app)
        self.log = logging.LoggerAdapter(logging.getLogger("test"), {})
        self.closed = 0

    async def close(self) -> None:
        self.closed += 1


class Bench:
    """A host with apps ``x``, ``y`` and ``z``; what each does when it starts and stops is put in by the test."""

    def __init__(self, store: AgentStore) -> None:
        self.store = store
        self.starting: dict[str, Step] = {}
        self.stopping: dict[str, Step] = {}
        self.made: list[Scripted] = []
        self.contexts: list[Context] = []
        self.host = AppHost(
            "m", lambda: "root", store, AioNetwork(), dict.fromkeys("xyz", self._app), cast("Any", self._context)
        )

    def _context(self, provider: str, app: str, _log: object) -> Context:
        self.contexts.append(Context(provider, app))
        return self.contexts[-1]

    def _app(self, context: AppContext) -> Any:
        self.made.append(Scripted(self, cast("Any", context).name.name))
        return self.made[-1]

    def starts(self, app: str) -> int:
        return sum(one.starts for one in self.made if one.name == app)

    def state(self, app: str) -> str:
        """As on disk."""
        return next((row.state for row in self.store.apps("m") if row.name == app), "")

    async def ask(self, asker: str, asked: str, then: Step | None = None) -> str:
        """What one app is answered by another, which does `then` meanwhile."""

        async def answered(_app: object) -> str:
            if then is not None:
                await then()
            return f"{asked} answers"

        return await self.host.use("ztm", asked, answered, asker=AppName("ztm", asker))


class Scripted:
    """An app that does what the test says."""

    def __init__(self, bench: Bench, name: str) -> None:
        self.name = name
        self.starts = self.stops = 0
        self._bench = bench

    async def start(self) -> None:
        self.starts += 1
        if self.name in self._bench.starting:
            await self._bench.starting[self.name]()

    async def stop(self) -> None:
        self.stops += 1
        if self.name in self._bench.stopping:
            await self._bench.stopping[self.name]()

    async def user_api(self, scope: Scope, receive: Receive, send: Send) -> None:
        raise NotImplementedError

    peer_api = user_api


class Gate:
    """Where an app waits until the test lets it pass."""

    def __init__(self, error: Exception | None = None) -> None:
        self.reached = asyncio.Event()
        self.open = asyncio.Event()
        self.is_passed = False
        self.error = error

    async def __call__(self) -> None:
        self.reached.set()
        await self.open.wait()
        self.is_passed = True
        if self.error is not None:
            raise self.error


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    store = AgentStore(tmp_path)
    made = Bench(store)
    async with asyncio.timeout(5):
        yield made
        made.stopping.clear()
        await made.host.close()
    store.close()


# ---------------------------------------------------------------------- callers who leave


async def test_a_stop_whose_caller_leaves_is_finished_nevertheless(bench: Bench) -> None:
    gate = bench.stopping["x"] = Gate()
    await bench.host.start("ztm", "x")
    stopping = asyncio.create_task(bench.host.stop("ztm", "x"))
    await gate.reached.wait()
    stopping.cancel()
    await asyncio.gather(stopping, return_exceptions=True)
    gate.open.set()
    await bench.host.start("ztm", "x")
    assert gate.is_passed
    assert (bench.contexts[0].closed, bench.made[0].stops, bench.starts("x")) == (1, 1, 2)


async def test_a_first_use_whose_caller_leaves_starts_it_for_the_others(bench: Bench) -> None:
    gate = bench.starting["x"] = Gate()
    first, second = (asyncio.create_task(bench.host.running("ztm", "x")) for _ in range(2))
    await gate.reached.wait()
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    gate.open.set()
    assert await second is bench.made[0]
    assert bench.starts("x") == 1


async def test_a_request_that_has_its_own_app_stopped_elsewhere_is_cut_and_the_stop_is_whole(bench: Bench) -> None:
    """As a page's request does by the local API: the order comes in another task, and is given up with the request."""

    async def stop(_app: object) -> None:
        await asyncio.create_task(bench.host.stop("ztm", "x"))

    with pytest.raises(StoppedError):
        await bench.host.use("ztm", "x", stop)
    await bench.host.start("ztm", "x")
    assert (bench.contexts[0].closed, bench.made[0].stops) == (1, 1)


async def test_an_app_that_has_its_asker_stopped_is_no_deadlock(bench: Bench) -> None:
    async def ask(_app: object) -> str:
        return await bench.ask("x", "y", lambda: bench.host.stop("ztm", "x"))

    with pytest.raises(StoppedError, match="app ztm/x was stopped"):
        await bench.host.use("ztm", "x", ask)
    assert await bench.ask("z", "y") == "y answers"
    assert bench.contexts[0].closed == 1
    assert bench.state("x") == "stopped"


# ---------------------------------------------------------------------- starts that fail


async def test_all_who_wait_for_a_start_that_fails_have_that_one_failure(bench: Bench) -> None:
    gate = bench.starting["x"] = Gate(StorageError("damaged"))
    waiting = [asyncio.create_task(bench.host.running("ztm", "x")) for _ in range(20)]
    await gate.reached.wait()
    gate.open.set()
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {str(outcome) for outcome in outcomes} == {"damaged"}
    assert bench.starts("x") == 1
    del bench.starting["x"]
    assert await bench.host.running("ztm", "x") is bench.made[1]


async def test_a_stop_cuts_a_start_short_that_does_not_come_to_an_end(bench: Bench) -> None:
    gate = bench.starting["x"] = Gate()
    waiting = [asyncio.create_task(bench.host.start("ztm", "x")), asyncio.create_task(bench.host.running("ztm", "x"))]
    await gate.reached.wait()
    await bench.host.stop("ztm", "x")
    outcomes = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(outcome) for outcome in outcomes} == {StoppedError}
    assert [one.closed for one in bench.contexts] == [1]
    assert not bench.host.app("ztm", "x").is_running


async def test_an_app_with_a_fault_in_its_start_keeps_no_other_from_starting(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    for app in "xyz":
        await bench.host.start("ztm", app)
    await bench.host.close()
    again = Bench(bench.store)

    async def fault() -> None:
        raise ValueError("a mistake")

    again.starting["x"] = fault
    await again.host.start_wanted()
    assert [again.host.app("ztm", app).is_running for app in "xyz"] == [False, True, True]
    assert "app ztm/x of mesh m does not start: a mistake" in caplog.text
    await again.host.close()


# ---------------------------------------------------------------------- stops that fail, and the end


async def test_an_app_with_a_fault_in_its_stop_is_stopped_and_keeps_no_other_from_it(bench: Bench) -> None:
    async def fault() -> None:
        raise ValueError("a mistake")

    bench.stopping["x"] = fault
    for app in "xy":
        await bench.host.start("ztm", app)
    with pytest.raises(ValueError, match="a mistake"):
        await bench.host.stop("ztm", "x")
    assert (bench.contexts[0].closed, bench.state("x")) == (1, "stopped")
    await bench.host.start("ztm", "x")
    await bench.host.close()
    assert [one.closed for one in bench.contexts] == [1, 1, 1]


async def test_nothing_starts_any_more_when_the_host_is_closed(bench: Bench) -> None:
    bench.stopping["x"] = lambda: bench.ask("x", "y")
    await bench.host.start("ztm", "x")
    await bench.host.close()
    for wanted in (bench.host.running, bench.host.start):
        with pytest.raises(UnreachableError, match="stopping"):
            await wanted("ztm", "y")
    assert bench.starts("y") == 0


async def test_a_close_does_not_wait_for_a_start_without_end(bench: Bench) -> None:
    gate = bench.starting["x"] = Gate()
    starting = asyncio.create_task(bench.host.start("ztm", "x"))
    await gate.reached.wait()
    await bench.host.close()
    with pytest.raises(StoppedError):
        await starting


async def test_a_use_that_meets_a_disable_does_not_start_it_again(bench: Bench) -> None:
    gate = bench.stopping["x"] = Gate()
    await bench.host.start("ztm", "x")
    disabling = asyncio.create_task(bench.host.change("ztm", "x", AppChange(is_disabled=True)))
    await gate.reached.wait()
    using = asyncio.create_task(bench.host.running("ztm", "x"))
    await asyncio.sleep(0)
    gate.open.set()
    await disabling
    with pytest.raises(UnreachableError, match="disabled"):
        await using
    assert (bench.starts("x"), bench.state("x")) == (1, "disabled")


# ---------------------------------------------------------------------- apps that ask one another


@pytest.mark.parametrize("when", ["starting", "stopping"])
async def test_an_app_that_asks_itself_while_it_starts_or_stops_is_refused_at_once(bench: Bench, when: str) -> None:
    told: list[str] = []

    async def ask() -> None:
        with pytest.raises(UnreachableError) as refused:
            await bench.ask("x", "x")
        told.append(str(refused.value))

    getattr(bench, when)["x"] = ask
    await bench.host.start("ztm", "x")
    await bench.host.stop("ztm", "x")
    wanted = "app ztm/x cannot ask app ztm/x now, which waits for it while it is started or stopped"
    assert told == [wanted]


async def test_two_apps_that_ask_one_another_as_they_start_do_not_wait_for_ever(bench: Bench) -> None:
    refused: list[str] = []

    def asks(asker: str, asked: str) -> Step:
        async def ask() -> None:
            try:
                await bench.ask(asker, asked)
            except UnreachableError:
                refused.append(asker)

        return ask

    bench.starting = {"x": asks("x", "y"), "y": asks("y", "x")}
    await asyncio.gather(bench.host.start("ztm", "x"), bench.host.start("ztm", "y"))
    assert len(refused) == 1


@pytest.mark.parametrize("when", ["starting", "stopping"])
async def test_a_circle_of_apps_through_one_that_runs_is_refused(bench: Bench, when: str) -> None:
    await bench.host.start("ztm", "y")
    await bench.host.start("ztm", "z")
    refusals: list[Exception] = []

    async def back() -> None:
        with pytest.raises(UnreachableError, match="app ztm/z cannot ask app ztm/x now") as refused:
            await bench.ask("z", "x")
        refusals.append(refused.value)

    getattr(bench, when)["x"] = lambda: bench.ask("x", "y", lambda: bench.ask("y", "z", back))
    await bench.host.start("ztm", "x")
    await bench.host.stop("ztm", "x")
    assert len(refusals) == 1


async def test_apps_that_run_may_ask_one_another_back(bench: Bench) -> None:
    await bench.host.start("ztm", "x")
    assert await bench.ask("x", "y", lambda: bench.ask("y", "x", lambda: bench.ask("x", "y"))) == "y answers"


async def test_an_app_that_starts_may_be_waited_for_by_those_it_does_not_wait_for(bench: Bench) -> None:
    gate = bench.starting["x"] = Gate()
    asking = [asyncio.create_task(bench.ask(asker, "x")) for asker in "yz"]
    await gate.reached.wait()
    gate.open.set()
    assert await asyncio.gather(*asking) == ["x answers"] * 2


# ---------------------------------------------------------------------- processes that fail


class Failing(Scripted):
    """An app with a process of its own, which the test has fail."""

    condition = Condition("running")

    async def start(self) -> None:
        self.condition = Condition("starting")
        await super().start()
        self.condition = Condition("running")


@pytest.fixture
async def failing(bench: Bench) -> Failing:
    app = Failing(bench, "x")
    bench.host.add(AppName("ztm", "x"), lambda _context: cast("Any", app))
    await bench.host.start("ztm", "x")
    return app


@pytest.mark.parametrize("state", ["failed", "restarting"])
async def test_an_order_to_start_revives_a_process_that_has_failed_or_waits(
    bench: Bench, failing: Failing, state: str
) -> None:
    failing.condition = Condition(state, "it crashed")
    await bench.host.change("ztm", "x", AppChange(is_running=True))
    assert (failing.starts, failing.condition.state) == (2, "running")
    assert len(bench.contexts) == 1


@pytest.mark.parametrize("state", ["running", "starting"])
async def test_an_order_to_start_leaves_a_process_that_runs_alone(bench: Bench, failing: Failing, state: str) -> None:
    failing.condition = Condition(state)
    await bench.host.start("ztm", "x")
    assert failing.starts == 1


async def test_two_orders_at_once_revive_it_once(bench: Bench, failing: Failing) -> None:
    failing.condition = Condition("failed")
    await asyncio.gather(*(bench.host.start("ztm", "x") for _ in range(3)))
    assert failing.starts == 2


async def test_a_use_alone_does_not_revive_it(bench: Bench, failing: Failing) -> None:
    failing.condition = Condition("failed")
    assert await bench.host.running("ztm", "x") is cast("Any", failing)
    assert failing.starts == 1


async def test_a_failed_process_does_not_count_as_running_and_says_why(bench: Bench, failing: Failing) -> None:
    failing.condition = Condition("failed", "it crashed 5 times")
    shown = bench.host.app("ztm", "x")
    assert not shown.is_running
    assert shown.process is not None
    assert (shown.process.state, shown.process.reason) == ("failed", "it crashed 5 times")
    assert bench.state("x") == "running"  # so that the agent tries again when it starts
    failing.condition = Condition("restarting", "it crashed")
    assert bench.host.app("ztm", "x").is_running


async def test_a_revival_that_fails_is_told_and_leaves_it_failed(bench: Bench, failing: Failing) -> None:
    async def fail() -> None:
        failing.condition = Condition("failed", "still broken")
        raise UnreachableError("app ztm/x does not start: still broken")

    failing.condition = Condition("failed")
    bench.starting["x"] = fail
    with pytest.raises(UnreachableError, match="still broken"):
        await bench.host.start("ztm", "x")
    assert not bench.host.app("ztm", "x").is_running
    await bench.host.stop("ztm", "x")
    assert failing.stops == 1
