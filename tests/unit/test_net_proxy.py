"""Dialling through HTTP CONNECT and SOCKS 5, and what is said when that fails."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable

import pytest

from proxies import running, serving
from ztm.errors import DeadlineError, UnreachableError, UsageError
from ztm.model import Address
from ztm.net.proxy import Proxy

HUB = "hub.inside.example"
"""A name that resolves nowhere but at the proxy."""


@pytest.mark.parametrize(
    ("text", "kind", "address"),
    [
        ("http://p:3128", "http", Address("p", 3128)),
        ("http://p", "http", Address("p", 8080)),
        ("socks://p:1", "socks5", Address("p", 1)),
        ("socks5://[::1]", "socks5", Address("::1", 1080)),
        ("socks5h://p/", "socks5", Address("p", 1080)),
    ],
)
def test_the_forms_of_a_proxys_address(text: str, kind: str, address: Address) -> None:
    proxy = Proxy.parse(text)
    assert (proxy.kind, proxy.address, proxy.user, proxy.password) == (kind, address, "", "")


@pytest.mark.parametrize(
    "text",
    [
        *("https://p:1", "ftp://p", "p:8080", "", "http://", "http://p:0x1", "http://p:99999", "http://p/path"),
        *("http://p?x", "http://:pw@p", "http://a%3Ab:pw@p", "http://a%0d%0a:pw@p", f"http://{'u' * 256}:pw@p"),
    ],
)
def test_other_addresses_are_refused_without_repeating_a_password(text: str) -> None:
    with pytest.raises(UsageError) as refused:
        Proxy.parse(text)
    assert "pw" not in str(refused.value)


def test_user_and_password_are_shown_nowhere() -> None:
    proxy = Proxy.parse("http://me:p%40ss@proxy:1")
    assert (proxy.user, proxy.password) == ("me", "p@ss")
    for shown in (str(proxy), repr(proxy)):
        assert "me" not in shown
        assert "p@ss" not in shown


@contextlib.asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """The port of a server that speaks first, and then sends back what it is sent."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"hello:")
        writer.write(await reader.read())

    async with serving(answer) as port:
        yield port


async def said(sock: socket.socket) -> bytes:
    """What comes back for ``ping``."""
    reader, writer = await asyncio.open_connection(sock=sock)
    writer.write(b"ping")
    writer.write_eof()
    try:
        return await asyncio.wait_for(reader.read(), 10)
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("kind", ["http", "socks"])
@pytest.mark.parametrize("login", ["", "me:p@ss wörd"])
@pytest.mark.parametrize("host", [HUB, "127.0.0.1"])
async def test_a_proxy_leads_to_the_hub_and_resolves_its_name(kind: str, login: str, host: str) -> None:
    user, _, password = login.partition(":")
    async with echo() as port, running(kind, login) as proxy:
        way = Proxy("http" if kind == "http" else "socks5", Address("127.0.0.1", proxy.port), user, password)
        assert await said(await way.connect(Address(host, port))) == b"hello:ping"
        assert proxy.targets == [(host, port)]


@pytest.mark.parametrize("kind", ["http", "socks"])
async def test_a_proxy_that_wants_a_password_is_named_and_says_so(kind: str) -> None:
    async with running(kind, "me:right") as proxy:
        with pytest.raises(UnreachableError, match=f"{proxy.url} does not lead to .*wants a user and password"):
            await Proxy.parse(proxy.url).connect(Address(HUB, 1))
        wrong = proxy.url.replace("://", "://me:wrong@")
        with pytest.raises(UnreachableError, match="does not take this user and password") as refused:
            await Proxy.parse(wrong).connect(Address(HUB, 1))
    assert "wrong" not in str(refused.value)


async def test_a_proxy_that_is_not_there_is_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        with pytest.raises(UnreachableError, match=f"cannot connect to the proxy socks://127.0.0.1:{port}"):
            await Proxy.parse(f"socks://127.0.0.1:{port}").connect(Address(HUB, 1))
    with pytest.raises(UnreachableError, match=r"proxy http://nowhere\.invalid:1: the name does not resolve"):
        await Proxy.parse("http://nowhere.invalid:1").connect(Address(HUB, 1))


@contextlib.asynccontextmanager
async def saying(*answers: bytes, hold: bool = False) -> AsyncIterator[int]:
    """The port of a false proxy that gives these answers, one for each piece it is sent, and leaves."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for one in answers:
            await reader.read(1000)
            writer.write(one)
        if hold:
            await reader.read()

    async with serving(answer) as port:
        yield port


@pytest.mark.parametrize(
    ("scheme", "answers", "why"),
    [
        ("http", [b"HTTP/1.1 403 Forbidden\r\n\r\n"], "403 Forbidden"),
        ("http", [b"HTTP/1.1 502 Bad\x1b[2J\r\n\r\n"], "502"),
        ("http", [b"SSH-2.0-x\r\n\r\n"], "does not speak HTTP"),
        ("http", [b"HTTP/1.1 \xb2\xb2\xb2\r\n\r\n"], "does not speak HTTP|answered"),
        ("http", [b"HTTP/1.1 200 OK\r\n"], "closed the connection"),
        ("http", [b"HTTP/1.1 200 " + b"x" * 20000], "has no end"),
        ("http", [b""], "closed the connection"),
        ("socks", [b"HT"], "does not speak SOCKS 5"),
        ("socks", [b"\x05\x00", b"\x05\x02\x00\x01"], "rules do not allow"),
        ("socks", [b"\x05\x00", b"\x05\x05\x00\x01"], "connection refused"),
        ("socks", [b"\x05\x00", b"\x05\x77\x00\x01"], "answered 119"),
        ("socks", [b"\x05\xff"], "wants a user"),
        ("socks", [b"\x05\x02"], "wants a user"),
        ("socks", [b"\x05\x00", b"\x05\x00\x00\x03\x05ab"], "closed the connection"),
    ],
)
async def test_what_a_proxy_says_instead_of_a_way_is_passed_on(scheme: str, answers: list[bytes], why: str) -> None:
    async with saying(*answers) as port:
        with pytest.raises(UnreachableError, match=why) as refused:
            await Proxy.parse(f"{scheme}://127.0.0.1:{port}").connect(Address(HUB, 1))
    assert "\x1b" not in str(refused.value)


@pytest.mark.parametrize("form", [b"\x01" + bytes(4), b"\x03\x05proxy", b"\x04" + bytes(16)])
async def test_what_follows_the_proxys_answer_belongs_to_the_hub(form: bytes) -> None:
    async with saying(b"\x05\x00", b"\x05\x00\x00" + form + b"\x00\x01" + b"from the hub", hold=True) as port:
        sock = await Proxy.parse(f"socks://127.0.0.1:{port}").connect(Address(HUB, 1))
        assert await said(sock) == b"from the hub"


async def test_a_silent_proxy_is_given_up_in_time() -> None:
    async with saying(b"HTTP/1.1 2", hold=True) as port:
        with pytest.raises(DeadlineError, match="no answer from the proxy http://127"):
            await Proxy.parse(f"http://127.0.0.1:{port}").connect(Address(HUB, 1), timeout=0.2)


async def test_a_dial_that_is_given_up_leaves_no_socket_behind() -> None:
    opened: list[socket.socket] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ztm.net.proxy.socket.socket", _noting(opened))
        async with saying(b"\x05\x00", hold=True) as port:
            dial = asyncio.ensure_future(Proxy.parse(f"socks://127.0.0.1:{port}").connect(Address(HUB, 1)))
            while not opened:
                await asyncio.sleep(0)
            dial.cancel()
            await asyncio.gather(dial, return_exceptions=True)
    assert [sock.fileno() for sock in opened] == [-1]


def _noting(opened: list[socket.socket]) -> Callable[..., socket.socket]:
    make = socket.socket

    def made(*words: int) -> socket.socket:
        opened.append(make(*words))
        return opened[-1]

    return made
