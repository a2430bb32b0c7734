"""A session with masses of small frames to take lets others have their turn, and loses none of them."""

import asyncio

from http2_peer import CONNECT, ForeignPeer, Requests, data, goaway
from ztm.net.http2.lenient import FRAMES_AT_ONCE
from ztm.testing import settle

MANY = FRAMES_AT_ONCE * 10


async def opened(requests: Requests) -> ForeignPeer:
    """A peer that has one stream open with the session."""
    peer = ForeignPeer("server", requests)
    peer.say(peer.head(1, CONNECT))
    await settle()
    requests.last.respond(200)
    await settle()
    return peer


async def test_a_mass_of_frames_is_taken_over_several_turns_of_the_loop() -> None:
    requests = Requests()
    peer = await opened(requests)
    peer.say(*[data(1, b"x")] * MANY)
    turns = 0
    while peer.session.held < MANY:
        turns += 1
        await asyncio.sleep(0)
    assert turns >= MANY // FRAMES_AT_ONCE - 1
    peer.session.close()
    await settle()


async def test_frames_that_came_before_the_end_of_the_connection_are_not_lost() -> None:
    peer = await opened(Requests())
    peer.say(*[data(1, b"x")] * MANY, goaway(reason=b"farewell"))
    peer.session.finish()
    assert "farewell" in await peer.session.closed()
    await settle()
