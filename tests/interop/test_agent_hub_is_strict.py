"""That the scripted hub notices what would make a v1 hub close the connection: other tests rely on it."""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from pathlib import Path

import pytest
from v1_ca import authority, key, public
from v1_hub import V1Hub

from v1_http import DATA, END_STREAM, Fields, Http2, Wire

GET: Fields = [(":method", "GET"), (":scheme", "http"), (":path", "/api/zones")]


def late_data(http: Http2) -> None:
    stream = http.request("GET", "/api/zones")
    http.frame(DATA, END_STREAM, stream.number)


def padded(http: Http2) -> None:
    stream = http.open("GET", "/api/zones")
    http.frame(DATA, 8, stream.number, b"\1x\0")


def pushed(http: Http2) -> None:
    http.frame(5, 4, 1, b"\0\0\0\2")


def too_large(http: Http2) -> None:
    stream = http.open("POST", "/api/status")
    http.frame(DATA, 0, stream.number, bytes(16385))


def heads(*fields: tuple[str, str]) -> Callable[[Http2], None]:
    return lambda http: http.head(1, list(fields))


KILLERS = {
    "no scheme": heads((":method", "GET"), (":path", "/api/zones")),
    "a CONNECT by RFC 9113": heads((":method", "CONNECT"), (":authority", "x:1")),
    "an upper-case name": heads(*GET, ("X-Foo", "1")),
    "a hop's header": heads(*GET, ("connection", "keep-alive")),
    "te": heads(*GET, ("te", "gzip")),
    "content-length": heads(*GET, ("content-length", "0")),
    "a late frame": late_data,
    "padding": padded,
    "a push": pushed,
    "a large frame": too_large,
}


@pytest.mark.parametrize("name", KILLERS)
async def test_what_v1_closes_a_connection_for_is_noticed(tmp_path: Path, name: str) -> None:
    hub = V1Hub(authority(), tmp_path)
    await hub.open()
    http = Http2(await dial(hub, tmp_path), "client")
    KILLERS[name](http)
    await hub.until(lambda: hub.violations)
    await http.close()
    await hub.close()


async def test_what_v1_takes_is_taken(tmp_path: Path) -> None:
    hub = V1Hub(authority(), tmp_path)
    await hub.open()
    http = Http2(await dial(hub, tmp_path), "client")
    extra = [("te", "trailers"), ("user-agent", "x"), ("x-long", "y" * 20_000)]
    assert (await http.ask("GET", "/api/zones", b"", extra)).json == ["default"]
    assert hub.violations == []
    await http.close()
    await hub.close()


async def test_a_resumed_tls_session_is_noticed(tmp_path: Path) -> None:
    hub = V1Hub(authority(), tmp_path)
    hub.most = ssl.TLSVersion.TLSv1_2  # its tickets come in the handshake, so that nothing need be read first
    await hub.open()
    context = credentials(tmp_path)
    loop = asyncio.get_running_loop()
    await loop.run_in_executor(None, resume, context, hub.port)
    await hub.until(lambda: hub.violations)
    await hub.close()


def resume(context: ssl.SSLContext, port: int) -> None:
    """Dial twice, the second time with the first one's session."""
    session = None
    for _ in range(2):
        with socket.create_connection(("127.0.0.1", port)) as sock, contextlib.suppress(OSError):
            secured = context.wrap_socket(sock, session=session)
            session = secured.session
            secured.close()


def credentials(folder: Path) -> ssl.SSLContext:
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    made.check_hostname = False
    made.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", ssl.VerifyFlags(0))
    made.load_verify_locations(cadata=authority().certificate)
    own, chain = key("root", is_rsa=False), folder / "root.pem"
    chain.write_text(own + authority().sign("root", public(own)))
    made.load_cert_chain(chain)
    return made


async def dial(hub: V1Hub, folder: Path) -> Wire:
    return Wire(*await asyncio.open_connection("127.0.0.1", hub.port, ssl=credentials(folder), server_hostname=""))
