"""Connections: what every implementation of the network promises about dialling, listening, ends and cuts."""

import asyncio
from dataclasses import replace

import pytest

from ztm.errors import BrokenStreamError, CertificateError, ConflictError, DeadlineError, UnreachableError
from ztm.model import Address, Identity
from ztm.net.base import Network, Stream

from .parties import ANYWHERE, Ends, Parties, admitting, echo, listening, read_all, read_exactly, rest

ALERT = b"\x15"
"""The first byte of a TLS alert (RFC 8446 section 5.1)."""


async def test_what_is_written_is_read_at_the_other_end(net: Network) -> None:
    async with listening(net, echo) as address:
        stream = await net.dial(address)
        await stream.write(b"hello")
        assert await read_exactly(stream, 5) == b"hello"
        stream.end()
        assert await stream.read() == b""
        assert await stream.read() == b""
        await stream.ended()
        assert stream.is_over


async def test_a_name_is_resolved_to_addresses_that_can_be_dialled(net: Network) -> None:
    async with listening(net, echo) as address:
        assert "127.0.0.1" in await net.resolve("localhost")
        assert await net.resolve(address.host) == [address.host]
        stream = await net.dial(Address((await net.resolve(address.host))[0], address.port))
        stream.abort()
    with pytest.raises(UnreachableError):
        await net.resolve("x" * 70)  # no name at all: the longest label has 63 letters, so nobody is asked


async def test_each_side_knows_both_addresses(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        assert near.remote == far.local == address
        assert near.local == far.remote
        assert near.identity is None
        assert not near.is_own


async def test_the_dialler_ends_its_side_and_still_reads(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        await near.write(b"question")
        near.end()
        near.end()
        assert await read_all(far) == b"question"
        assert not far.is_over
        await far.write(b"answer")
        far.end()
        assert await read_all(near) == b"answer"
        await near.ended()
        await far.ended()


async def test_the_listener_ends_its_side_and_still_reads(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        await far.write(b"greeting")
        far.end()
        assert await read_all(near) == b"greeting"
        await near.write(b"reply")
        near.end()
        assert await read_all(far) == b"reply"


async def test_all_that_was_written_before_the_end_arrives(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        sent = bytes(range(256)) * 20_000
        near.write_now(sent)
        near.end()
        assert await read_all(far) == sent


async def test_a_cut_reaches_the_peer_as_a_broken_stream_and_not_as_an_end(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        await near.write(b"half of")
        assert await read_exactly(far, 7) == b"half of"
        near.abort("changed my mind")
        near.abort()
        assert near.is_over
        with pytest.raises(BrokenStreamError):
            await far.read()
        await far.ended()
        with pytest.raises(BrokenStreamError, match="changed my mind"):
            await near.read()
        with pytest.raises(BrokenStreamError):
            await near.write(b"more")


async def test_a_cut_wakes_a_writer_that_waits_for_room(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        writing = asyncio.ensure_future(write_for_ever(near))
        await far.read()
        far.abort()
        with pytest.raises(BrokenStreamError):
            await writing


async def write_for_ever(stream: Stream) -> None:
    while True:
        await stream.write(bytes(65536))


async def test_an_end_that_came_before_a_cut_is_still_read_as_an_end(net: Network, ends: Ends) -> None:
    async with listening(net, ends.accept) as address:
        near = await net.dial(address)
        far = await ends.next()
        await near.write(b"all of it")
        near.end()
        assert await far.read() == b"all of it"
        assert await far.read() == b""
        far.abort()
        assert await far.read() == b""


async def test_bytes_put_back_are_read_first(net: Network) -> None:
    async with listening(net, echo) as address:
        stream = await net.dial(address)
        await stream.write(b"abcdef")
        assert await read_exactly(stream, 6) == b"abcdef"
        stream.unread(b"def")
        stream.unread(b"abc")
        assert await stream.read() == b"abc"
        assert await stream.read() == b"def"


async def test_a_handler_that_returns_ends_the_stream_and_one_that_fails_cuts_it(
    net: Network, caplog: pytest.LogCaptureFixture
) -> None:
    async def accept(stream: Stream) -> None:
        if await stream.read() == b"fail":
            raise ValueError("told to")

    async with listening(net, accept) as address:
        good, bad = await net.dial(address), await net.dial(address)
        await good.write(b"return")
        assert await good.read() == b""
        await bad.write(b"fail")
        with pytest.raises(BrokenStreamError):
            await bad.read()
        assert "told to" in caplog.text


# ---------------------------------------------------------------------- refusals


async def test_a_port_where_nobody_listens_is_unreachable(net: Network) -> None:
    listener = await net.listen(ANYWHERE, echo)
    await listener.close()
    with pytest.raises(UnreachableError, match="nothing listens there"):
        await net.dial(listener.address)


async def test_a_port_in_use_is_a_conflict(net: Network) -> None:
    async with listening(net, echo) as address:
        with pytest.raises(ConflictError, match="in use"):
            await net.listen(address, echo)


async def test_an_address_of_another_machine_cannot_be_listened_on(net: Network) -> None:
    with pytest.raises(ConflictError, match="not one of this machine's"):
        await net.listen(Address("192.0.2.1", 0), echo)


async def test_a_name_that_does_not_resolve_is_unreachable(net: Network) -> None:
    with pytest.raises(UnreachableError, match="does not resolve"):
        await net.dial(Address("nobody.invalid", 80))


async def test_a_closed_listener_takes_no_more_and_harms_none_that_it_took(net: Network) -> None:
    listener = await net.listen(ANYWHERE, echo)
    stream = await net.dial(listener.address)
    await stream.write(b"before")
    assert await read_exactly(stream, 6) == b"before"
    await listener.close()
    with pytest.raises(UnreachableError):
        await net.dial(listener.address)
    await stream.write(b"after")
    assert await read_exactly(stream, 5) == b"after"
    stream.abort()


# ---------------------------------------------------------------------- TLS


async def test_both_sides_learn_who_the_other_is(net: Network, parties: Parties, ends: Ends) -> None:
    async with listening(net, ends.accept, parties.hub) as address:
        near = await net.dial(address, parties.alice)
        far = await ends.next()
        assert near.identity is not None
        assert near.identity.is_hub
        assert far.identity is not None
        assert far.identity.user == "alice"
        assert near.is_own
        assert far.is_own
        await near.write(b"secret")
        assert await far.read() == b"secret"
        await far.write(b"also")
        assert await near.read() == b"also"


async def test_with_tls_an_end_comes_after_all_bytes_and_ends_both_ways(
    net: Network, parties: Parties, ends: Ends
) -> None:
    async with listening(net, ends.accept, parties.hub) as address:
        near = await net.dial(address, parties.alice)
        far = await ends.next()
        sent = bytes(range(256)) * 4_000
        writing = asyncio.ensure_future(near.write(sent))
        assert await read_exactly(far, len(sent)) == sent
        await writing
        near.end()
        assert await far.read() == b""
        await far.ended()
        await near.ended()


async def test_with_tls_a_cut_ends_both_ways_at_once(net: Network, parties: Parties, ends: Ends) -> None:
    async with listening(net, ends.accept, parties.hub) as address:
        near = await net.dial(address, parties.alice)
        far = await ends.next()
        near.abort()
        assert near.is_over
        assert await rest(far) == b""  # TLS peers that close without a word are nothing unusual (spec 3)
        await far.ended()


async def test_a_server_of_another_mesh_is_refused_by_the_dialler(net: Network, parties: Parties, ends: Ends) -> None:
    async with listening(net, ends.accept, parties.foreign_hub) as address:
        with pytest.raises(CertificateError, match="no valid certificate"):
            await net.dial(address, parties.alice)
        assert ends.is_empty


async def test_a_user_cannot_pass_for_a_server(net: Network, parties: Parties, ends: Ends) -> None:
    async with listening(net, ends.accept, parties.alice) as address:
        with pytest.raises(CertificateError):
            await net.dial(address, parties.alice)
        assert ends.is_empty


async def test_a_dialler_can_refuse_the_server(net: Network, parties: Parties, ends: Ends) -> None:
    picky = admitting(parties.alice, lambda identity: "not my hub" if identity.is_hub else None)
    async with listening(net, ends.accept, parties.hub) as address:
        with pytest.raises(CertificateError, match="not my hub"):
            await net.dial(address, picky)


@pytest.mark.parametrize("client", ["stranger", "expired"])
async def test_a_client_without_a_valid_certificate_is_never_accepted(
    net: Network, parties: Parties, ends: Ends, client: str
) -> None:
    tls = getattr(parties, client)
    trusting = type(tls)(ca=parties.hub.ca, certificate=tls.certificate, key=tls.key)
    async with listening(net, ends.accept, parties.hub) as address:
        stream = await net.dial(address, trusting)  # TLS 1.3: the server judges after the client is done
        assert await rest(stream) == b""
        assert ends.is_empty


async def test_a_client_that_is_not_admitted_is_never_accepted(net: Network, parties: Parties, ends: Ends) -> None:
    seen: list[Identity] = []

    def admit(identity: Identity) -> str | None:
        seen.append(identity)
        return "evicted"

    async with listening(net, ends.accept, admitting(parties.hub, admit)) as address:
        stream = await net.dial(address, parties.alice)
        assert await rest(stream) == b""
        assert ends.is_empty
        assert [identity.user for identity in seen] == ["alice"]


async def test_plain_text_never_reaches_a_tls_listener(net: Network, parties: Parties, ends: Ends) -> None:
    async with listening(net, ends.accept, parties.hub) as address:
        stream = await net.dial(address)
        await stream.write(b"GET / HTTP/1.1\r\n\r\n")
        answer = await rest(stream)
        assert not answer or answer[:1] == ALERT
        assert ends.is_empty


async def test_dialling_a_plain_listener_with_tls_fails(net: Network, parties: Parties) -> None:
    async with listening(net, echo) as address:
        with pytest.raises(UnreachableError):
            await net.dial(address, parties.alice)


async def test_a_peer_that_never_answers_the_handshake_meets_the_deadline(
    net: Network, parties: Parties, ends: Ends
) -> None:
    async with listening(net, ends.accept) as address:
        with pytest.raises((DeadlineError, UnreachableError)) as raised:
            await net.dial(address, parties.alice, timeout=0.2)
        assert raised.type is DeadlineError


async def test_a_renewed_listener_shows_its_new_certificate(net: Network, parties: Parties, ends: Ends) -> None:
    listener = await net.listen(ANYWHERE, ends.accept, parties.foreign_hub)
    listener.renew(parties.hub)
    near = await net.dial(listener.address, parties.alice)
    assert near.identity is not None
    near.abort()
    await listener.close()


async def test_key_exchanges_that_are_named_are_kept_to_or_refused_at_once(
    net: Network, parties: Parties, ends: Ends
) -> None:
    hub, alice = replace(parties.hub, groups="ML-KEM-768"), replace(parties.alice, groups="ML-KEM-768")
    try:
        listener = await net.listen(ANYWHERE, ends.accept, hub)
    except CertificateError:
        async with listening(net, ends.accept, parties.hub) as address:
            with pytest.raises(CertificateError):
                await net.dial(address, alice)
            assert ends.is_empty
        return
    for other in (parties.alice, replace(alice, groups="ML-KEM-1024")):
        with pytest.raises(UnreachableError, match="handshake failure"):
            await net.dial(listener.address, other)
    near = await net.dial(listener.address, alice)
    far = await ends.next()
    assert (near.identity is not None, far.identity and far.identity.user) == (True, "alice")
    near.abort()
    await listener.close()


# ---------------------------------------------------------------------- UDP


async def test_datagrams_go_both_ways(net: Network) -> None:
    received: asyncio.Queue[tuple[bytes, Address]] = asyncio.Queue()
    answers: asyncio.Queue[bytes] = asyncio.Queue()
    port = await net.listen_datagrams(ANYWHERE, lambda data, source: received.put_nowait((data, source)))
    socket = await net.dial_datagrams(port.address, lambda data, source: answers.put_nowait(data))
    async with asyncio.timeout(5):
        socket.send(b"ping")
        data, source = await received.get()
        assert (data, source) == (b"ping", socket.address)
        port.send(b"pong", source)
        assert await answers.get() == b"pong"
    socket.close()
    socket.close()
    port.close()


async def test_a_udp_port_in_use_is_a_conflict(net: Network) -> None:
    port = await net.listen_datagrams(ANYWHERE, lambda data, source: None)
    with pytest.raises(ConflictError, match="in use"):
        await net.listen_datagrams(port.address, lambda data, source: None)
    port.close()


async def test_a_udp_port_that_was_closed_can_be_opened_again_at_once(net: Network) -> None:
    address = ANYWHERE
    for _ in range(30):
        opened = await net.listen_datagrams(address, lambda _data, _sender: None)
        address = opened.address
        opened.close()
        await asyncio.sleep(0)  # an event loop closes its own sockets in its next turn
