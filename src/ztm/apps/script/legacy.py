"""Running a PipyJS file on an endpoint of v1: one POST by HTTP/1.1, whose answer is passed on as it comes.

v1 tells no exit status and mixes both outputs. Source: spec apps-network 4.2.
"""

import contextlib
from collections.abc import Iterator

import h11

from ztm.apps.script.client import Client
from ztm.apps.script.model import Order
from ztm.errors import BrokenStreamError, UnreachableError, from_status
from ztm.net.base import Meter, Stream

LOST = "was lost before the script had ended"
MAX_REASON = 500
"""Bytes of a refusal's text that are quoted."""


async def run_legacy(stream: Stream, endpoint: str, order: Order, script: bytes, client: Client, meter: Meter) -> int:
    """Have `script` run on a fresh stream; 0, since v1 says no more. Cancelling it leaves the stream to its owner.

    Raises:
        ZtmError: the endpoint refused.
        UnreachableError: it was lost.
        BrokenStreamError: the client went away.
    """
    lost = UnreachableError(f"endpoint {endpoint} {LOST}")
    head = f"POST {order.target} HTTP/1.1\r\nconnection: keep-alive\r\ncontent-length: {len(script)}\r\n\r\n".encode()
    with _losing(lost):
        await stream.write(head + script)
    connection = _awaiting_answer()
    status, reason = 0, b""
    try:
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                with _losing(lost):
                    connection.receive_data(await stream.read())
            elif isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data) and 200 <= status < 300:
                meter.received += len(event.data)
                await client.out(bytes(event.data))
            elif isinstance(event, h11.Data):
                reason = (reason + bytes(event.data))[:MAX_REASON]
            elif isinstance(event, h11.EndOfMessage | h11.ConnectionClosed):
                break
    except h11.RemoteProtocolError as error:
        raise lost from error
    if not 200 <= status < 300:
        said = reason.decode("utf-8", "replace").strip()
        raise from_status(status, said or f"the endpoint refused the script with status {status}")
    return 0


@contextlib.contextmanager
def _losing(lost: UnreachableError) -> Iterator[None]:
    """Around what is done with the stream: its end is the endpoint's, not the client's."""
    try:
        yield
    except BrokenStreamError:
        raise lost from None


def _awaiting_answer() -> h11.Connection:
    """A parser that has seen a request go out."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="POST", target="/", headers=[("host", ""), ("content-length", "0")]))
    connection.send(h11.EndOfMessage())
    return connection
