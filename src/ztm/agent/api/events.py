"""`GET /api/events`: the agent's live events as a stream of text.

Source: server-sent events, https://html.spec.whatwg.org/multipage/server-sent-events.html.
"""

import asyncio
from collections.abc import AsyncIterator

import msgspec

from ztm.agent.events.bus import TYPES, Bus, Event, Filter, Reader, Told
from ztm.errors import UsageError
from ztm.rest.message import Request, Response
from ztm.rest.route import Param
from ztm.rest.router import Router

EVENTS = "/api/events"
EVENT_STREAM = "text/event-stream"
HEARTBEAT = 15.0
"""Seconds of silence after which a comment is sent, so that nobody on the way takes the stream for dead."""
RETRY_MS = 2000
"""For a browser to come back after it lost the stream."""

_encode = msgspec.json.Encoder().encode


class EventRoutes:
    """The handler of `EVENTS`."""

    def __init__(self, bus: Bus, heartbeat: float = HEARTBEAT) -> None:
        self._bus = bus
        self._heartbeat = heartbeat

    def mount(self, router: Router) -> None:
        """Add the route."""
        router.add(
            "GET",
            EVENTS,
            self.events,
            summary="Live events, one JSON object each; Last-Event-ID goes on where a reader was cut off",
            answer=Event,
            answer_type=EVENT_STREAM,
            query=(
                Param("mesh", str, "only events of this mesh"),
                Param("types", str, f"only these, separated by commas: {', '.join(TYPES)}"),
            ),
            statuses={400: "an unknown type", 429: "too many readers"},
            tag="agent",
        )

    async def events(self, request: Request) -> Response:
        """Tell events until the caller leaves or the agent stops."""
        wanted = Filter(_types(request.query.get("types", "")), request.query.get("mesh", ""))
        if request.method == "HEAD":
            return Response(200, None, EVENT_STREAM)
        reader = self._bus.read(wanted, request.headers.get("last-event-id", ""))
        gone = asyncio.ensure_future(request.gone())
        gone.add_done_callback(lambda done: _left(done, reader))
        headers = [("cache-control", "no-store"), ("x-accel-buffering", "no")]
        return Response(200, self._stream(reader, gone), EVENT_STREAM, headers)

    async def _stream(self, reader: Reader, gone: "asyncio.Future[None]") -> AsyncIterator[bytes]:
        try:
            yield b"retry: %d\n%b" % (RETRY_MS, _id(self._bus.last_id) if reader.is_fresh else b"\n")
            while reader.is_open:
                told = await reader.next(self._heartbeat)
                if told is not None:
                    yield _line(told)
                elif reader.is_open:
                    yield b": all is quiet\n\n"
        finally:
            reader.close()
            gone.cancel()


def _left(done: "asyncio.Future[None]", reader: Reader) -> None:
    """The caller has gone away, in whichever way; that is no failure."""
    if not done.cancelled():
        done.exception()
    reader.close()


def _types(given: str) -> frozenset[str]:
    types = frozenset(given.split(",")) if given else frozenset(TYPES)
    for unknown in types - {*TYPES}:
        raise UsageError(f"no events of type {unknown[:32]!r} (types: {', '.join(TYPES)})")
    return types


def _id(id_: str) -> bytes:
    return b"id: %b\n\n" % id_.encode()


def _line(told: Told) -> bytes:
    """One event; JSON in one line, so that one data field holds it."""
    event = told.event
    return b"event: %b\ndata: %b\n%b" % (event.type.encode(), _encode(event), _id(told.id))
