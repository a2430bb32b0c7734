"""Serving a client that speaks SOCKS: the handshake, and the answer that tells what became of its wish.

A success is told only once an exit has accepted. It parses nothing itself.

Source: RFC 1928, RFC 1929; https://www.openssh.com/txt/socks4.protocol and socks4a.protocol.
"""

import asyncio
from collections.abc import Awaitable

from ztm.apps.proxy.entry import socks4, socks5
from ztm.apps.proxy.entry.client import Client
from ztm.apps.proxy.entry.destination import Destination
from ztm.apps.proxy.entry.refusals import socks5_reply
from ztm.apps.proxy.entry.socks5 import MalformedError, Reply, Request
from ztm.errors import ZtmError
from ztm.net.base import Stream


async def serve_socks5(client: Client) -> None:
    """Serve one SOCKS5 client until it is done.

    Raises:
        BrokenStreamError: the client is gone.
    """
    request = await _in_time(client, _socks5_request(client))
    if request is None:
        return
    try:
        if request.command == socks5.ASSOCIATE:
            from ztm.apps.proxy.entry.association import Association  # few clients send datagrams

            await Association(client, request.port).run()
        elif request.command == socks5.CONNECT:
            await client.connect(Destination.of(request.host, request.port), socks5.answer(Reply.DONE))
        else:
            await client.refuse(socks5.answer(Reply.NO_COMMAND))
    except ZtmError as error:
        await _refuse(client, socks5.answer(socks5_reply(error)), error)


async def serve_socks4(client: Client) -> None:
    """Serve one SOCKS4 or SOCKS4a client until it is done; where a password is asked for, none can be.

    Raises:
        BrokenStreamError: the client is gone.
    """
    request = await _in_time(client, client.take(socks4.request))
    if request is None:
        return
    if client.credentials is not None:
        client.say("SOCKS4 has no passwords, and the proxy asks for one; use SOCKS5 or HTTP")
        await client.refuse(socks4.answer(socks4.REJECTED))
        return
    if request.command != socks4.CONNECT:
        await client.refuse(socks4.answer(socks4.REJECTED))
        return
    try:
        await client.connect(Destination.of(request.host, request.port), socks4.answer(socks4.DONE))
    except ZtmError as error:
        await _refuse(client, socks4.answer(socks4.REJECTED), error)


async def _refuse(client: Client, answer: bytes, error: ZtmError) -> None:
    """Tell the client of an error, unless it is gone."""
    stream: Stream = client.stream
    if not stream.is_over:
        client.say(str(error))
        await client.refuse(answer)


async def _in_time(client: Client, handshake: Awaitable[Request | None]) -> Request | None:
    """What the client wants; None if it left, came too slowly, or is no SOCKS client; it was told then."""
    seconds = client.limits.head_seconds
    try:
        async with asyncio.timeout(seconds):
            return await handshake
    except TimeoutError:
        client.say(f"no whole SOCKS request within {seconds:g} seconds")
        client.stream.abort("too slow")
    except MalformedError as error:
        client.say(f"malformed SOCKS: {error}")
        await client.refuse(error.answer)
    return None


async def _socks5_request(client: Client) -> Request | None:
    greeting = await client.take(socks5.greeting)
    if greeting is None:
        return None
    wanted = socks5.NO_LOGIN if client.credentials is None else socks5.PASSWORD
    if wanted not in greeting.methods:
        raise MalformedError("it offers no way to log in that the proxy takes", socks5.method_answer(socks5.NO_METHOD))
    client.stream.write_now(socks5.method_answer(wanted))
    if wanted == socks5.PASSWORD and not await _log_in(client):
        return None
    return await client.take(socks5.request)


async def _log_in(client: Client) -> bool:
    login = await client.take(socks5.login)
    if login is None:
        return False
    is_right = await client.may_pass(login.user, login.password)
    if not is_right:
        client.note_wrong_password("connect", "")
        await client.refuse(socks5.login_answer(is_right=False))
        return False
    client.stream.write_now(socks5.login_answer(is_right=True))
    return True
