"""The bus of live events: who gets what, what is replayed, and that nothing grows."""

import asyncio
import logging
from collections.abc import Iterator

import pytest

from ztm.agent.api.events import EventRoutes
from ztm.agent.events.bus import KEPT, QUEUED, READERS, Bus, Event, Filter
from ztm.agent.events.logtap import MESSAGE, LogTap
from ztm.agent.events.watch import EndpointWatch, changes
from ztm.agent.state import Health, State
from ztm.errors import LimitError, UnreachableError
from ztm.model import Endpoint
from ztm.net.scope import Message
from ztm.rest.router import Router

ALL = Filter()


@pytest.fixture
def bus() -> Bus:
    return Bus(lambda: 0.0)


def mesh(state: str, name: str = "m") -> Event:
    return Event(type="mesh", mesh=name, state=state)


async def taken(reader: object) -> list[Event]:
    """All that waits for a reader."""
    found = []
    while (told := await reader.next(0.0)) is not None:  # type: ignore[attr-defined]
        found.append(told.event)
    return found


async def test_readers_get_what_they_want_and_nothing_from_before(bus: Bus) -> None:
    bus.publish(mesh("old"))
    everything, logs = bus.read(ALL), bus.read(Filter(frozenset({"log"})))
    other = bus.read(Filter(mesh="other"))
    bus.publish(mesh("a"))
    bus.publish(Event(type="log", mesh="other", message="b"))
    assert [event.type for event in await taken(everything)] == ["mesh", "log"]
    assert [event.message for event in await taken(logs)] == ["b"]
    assert [event.message for event in await taken(other)] == ["b"]


async def test_a_reader_that_comes_back_goes_on_where_it_was(bus: Bus) -> None:
    first = bus.read(ALL)
    for number in range(5):
        bus.publish(mesh(str(number)))
    told = [await first.next(1.0) for _ in range(3)]
    first.close()
    bus.publish(mesh("5"))
    assert told[-1] is not None
    again = bus.read(ALL, after=told[-1].id)
    assert [event.state for event in await taken(again)] == ["3", "4", "5"]


async def test_what_is_no_longer_kept_is_said_to_be_lost(bus: Bus) -> None:
    before = bus.last_id
    for number in range(KEPT + 10):
        bus.publish(mesh(str(number)))
    found = await taken(bus.read(ALL, after=before))
    assert (found[0].type, found[0].count) == ("lost", 10)
    assert [event.state for event in found[1:]] == [str(number) for number in range(10, KEPT + 10)]


@pytest.mark.parametrize("after", ["0badc0de-1", "x", "-", "-1", "é-9", "9" * 400])
async def test_an_id_of_another_run_or_of_no_run_means_that_all_may_be_lost(bus: Bus, after: str) -> None:
    bus.publish(mesh("a"))
    found = await taken(bus.read(ALL, after=after))
    assert [(event.type, event.count) for event in found] == [("lost", None)]


async def test_an_id_from_the_future_is_not_believed(bus: Bus) -> None:
    run = bus.last_id.partition("-")[0]
    assert [event.type for event in await taken(bus.read(ALL, after=f"{run}-99"))] == ["lost"]


async def test_a_reader_that_does_not_read_loses_events_and_is_told_how_many(bus: Bus) -> None:
    slow = bus.read(ALL)
    for number in range(QUEUED * 3 + 5):
        bus.publish(mesh(str(number)))
    found = await taken(slow)
    assert (found[0].type, found[0].count) == ("lost", QUEUED * 3)
    assert [event.state for event in found[1:]] == [str(QUEUED * 3 + number) for number in range(5)]


async def test_readers_are_bounded_and_leave_room_when_they_go(bus: Bus) -> None:
    readers = [bus.read(ALL) for _ in range(READERS)]
    with pytest.raises(LimitError):
        bus.read(ALL)
    readers[0].close()
    bus.read(ALL)


async def test_closing_wakes_who_waits(bus: Bus) -> None:
    reader = bus.read(ALL)
    waiting = asyncio.ensure_future(reader.next(60.0))
    await asyncio.sleep(0)
    bus.close()
    assert await waiting is None
    assert not reader.is_open


async def test_an_event_has_the_time_and_leaves_out_what_it_does_not_have(bus: Bus) -> None:
    reader = bus.read(ALL)
    bus.publish(mesh("connected"))
    told = await reader.next(1.0)
    assert told is not None
    assert told.event.time == "1970-01-01T00:00:00.000Z"


# ---------------------------------------------------------------------- endpoints


def endpoint(name: str, *, online: bool = True) -> Endpoint:
    return Endpoint(name, name, "root", online=online)


def seen(*endpoints: Endpoint) -> dict[str, Endpoint]:
    return {each.id: each for each in endpoints}


def test_only_what_changed_is_a_change() -> None:
    a, b, off = endpoint("a"), endpoint("b"), endpoint("b", online=False)
    assert list(changes(seen(a, b), seen(a, b))) == []
    assert list(changes(seen(a), seen(a, b))) == [(b, True)]
    assert list(changes(seen(a, b), seen(a, off))) == [(off, False)]
    assert list(changes(seen(a, off), seen(a, b))) == [(b, True)]
    assert list(changes(seen(a, b), seen(a))) == [(b, False)]
    assert list(changes(seen(a, off), seen(a))) == []
    assert list(changes(seen(a), seen(a, off))) == []


class ListedMesh:
    def __init__(self, name: str = "m") -> None:
        self.name = name
        self.health = Health(State.CONNECTED)
        self.asked = asyncio.Semaphore(0)
        self.listed: list[Endpoint] = []
        self.is_failing = False

    async def endpoints(self, **query: str | int) -> list[Endpoint]:
        self.asked.release()
        if self.is_failing:
            raise UnreachableError("no hub")
        return self.listed[int(query["offset"]) :][: int(query["limit"])]


async def test_the_hub_is_asked_only_while_somebody_wants_to_know(bus: Bus) -> None:
    listed = ListedMesh()
    watch = EndpointWatch(bus, lambda: [listed], every=0.0)  # type: ignore[list-item]
    logs = bus.read(Filter(frozenset({"log"})))
    await asyncio.sleep(0.01)
    assert listed.asked.locked()
    reader = bus.read(Filter(frozenset({"endpoint"})))
    async with asyncio.timeout(5):
        await listed.asked.acquire()
        listed.listed = [endpoint("a")]
        told = await reader.next(5.0)
        assert told is not None
        assert (told.event.name, told.event.online) == ("a", True)
        listed.is_failing = True  # says nothing about any endpoint
        for _ in range(3):
            await listed.asked.acquire()
        listed.is_failing, listed.listed = False, []
        told = await reader.next(5.0)
    assert told is not None
    assert (told.event.name, told.event.online) == ("a", False)
    reader.close()
    await asyncio.sleep(0)
    listed.asked = asyncio.Semaphore(0)
    await asyncio.sleep(0.01)
    assert listed.asked.locked()
    logs.close()
    await watch.close()


# ---------------------------------------------------------------------- logs


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    made = logging.getLogger("ztm.agent.mesh.log_events")
    made.setLevel(logging.INFO)
    yield made
    made.setLevel(logging.NOTSET)


async def test_log_lines_of_a_mesh_and_of_its_apps_are_events(bus: Bus, logger: logging.Logger) -> None:
    tap, reader = LogTap(bus, "log.events"), bus.read(ALL)
    tap.attach()
    logger.warning("a %s", "b")
    app = logging.getLogger("ztm.app.log_events.tunnel")
    app.error("x" * (MESSAGE + 1))
    logging.getLogger("ztm.agent.mesh.other").error("not ours")
    await asyncio.to_thread(logger.error, "from a thread")
    await asyncio.sleep(0)
    tap.detach()
    logger.error("after")
    found = await taken(reader)
    assert [(event.mesh, event.app, event.level, event.message[:20]) for event in found] == [
        ("log.events", "", "info", "a b"),
        ("log.events", "ztm/tunnel", "error", "x" * 20),
        ("log.events", "", "error", "from a thread"),
    ]
    assert len(found[1].message) == MESSAGE


# ---------------------------------------------------------------------- as a stream


class Caller:
    """One request for events; `gone` is set when the caller leaves."""

    def __init__(self, bus: Bus, query: str = "", method: str = "GET", headers: dict[str, str] | None = None) -> None:
        router = Router(local=True)
        EventRoutes(bus, heartbeat=0.01).mount(router)
        self.gone = asyncio.Event()
        self.sent: asyncio.Queue[Message] = asyncio.Queue()
        self._is_told = False
        scope = {
            "type": "http", "method": method, "path": "/api/events", "raw_path": b"/api/events", "root_path": "",
            "query_string": query.encode(), "extensions": {},
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }  # fmt: skip
        self.task = asyncio.ensure_future(router(scope, self._receive, self._send))

    async def _receive(self) -> Message:
        if not self._is_told:
            self._is_told = True
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: Message) -> None:
        self.sent.put_nowait(message)

    async def status(self) -> int:
        async with asyncio.timeout(5):
            return int((await self.sent.get())["status"])

    async def text(self) -> str:
        async with asyncio.timeout(5):
            return bytes((await self.sent.get()).get("body", b"")).decode()


async def test_a_stream_begins_with_where_it_is_and_beats_while_all_is_quiet(bus: Bus) -> None:
    caller = Caller(bus)
    assert await caller.status() == 200
    assert await caller.text() == f"retry: 2000\nid: {bus.last_id}\n\n"
    assert (await caller.text()).startswith(": ")
    bus.publish(mesh("connected"))
    while (text := await caller.text()).startswith(":"):
        pass
    time = "1970-01-01T00:00:00.000Z"
    assert text == (
        f'event: mesh\ndata: {{"type":"mesh","time":"{time}","mesh":"m","state":"connected"}}\nid: {bus.last_id}\n\n'
    )
    caller.gone.set()
    async with asyncio.timeout(5):
        await caller.task
    assert not bus.is_wanted("mesh")


async def test_a_stream_goes_on_behind_the_last_event_that_was_seen(bus: Bus) -> None:
    bus.publish(mesh("a"))
    seen_id = bus.last_id
    bus.publish(mesh("b"))
    caller = Caller(bus, headers={"last-event-id": seen_id})
    assert await caller.status() == 200
    assert await caller.text() == "retry: 2000\n\n"
    assert '"state":"b"' in await caller.text()
    bus.close()
    await caller.task


async def test_a_caller_that_leaves_before_the_first_line_is_forgotten(bus: Bus) -> None:
    caller = Caller(bus)
    caller.gone.set()
    async with asyncio.timeout(5):
        await caller.task
    assert not bus.is_wanted("mesh")


async def test_unknown_types_and_one_reader_too_many_are_refused(bus: Bus) -> None:
    assert await Caller(bus, "types=mesh,nonsense").status() == 400
    readers = [bus.read(ALL) for _ in range(READERS)]
    assert await Caller(bus).status() == 429
    assert await Caller(bus, method="HEAD").status() == 200
    assert len(readers) == READERS
