"""TLS that is opened at an exit: certificates of its own authority, verified origins, secrets that stay put."""

import asyncio
import datetime
import json
import logging
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from app_mesh import LOOPBACK, free_port, read_exactly
from cryptography import x509
from proxy_mesh import ProxyMesh, proxies
from tls_origin import ANSWER, Origin, origin

from ztm.apps.proxy.interception.hello import Hello, NoHelloError, read_hello
from ztm.apps.proxy.interception.intercept import HELLO_SECONDS
from ztm.apps.proxy.interception.mint import Mint
from ztm.errors import BrokenStreamError, CertificateError, NotFoundError
from ztm.net.base import Stream
from ztm.net.flow import FlowStream
from ztm.net.secured import SecuredStream, secured

NAME = "www.origin.test"
REQUEST = b"GET / HTTP/1.1\r\nhost: www.origin.test\r\n\r\n"


@asynccontextmanager
async def opened(tmp_path: Path, *names: str, **config: Any) -> AsyncIterator[tuple[ProxyMesh, Origin]]:
    """An entry, an exit that opens TLS and trusts the origin's authority, and the origin."""
    async with origin(tmp_path, *(names or (NAME,))) as served, proxies(tmp_path) as mesh:
        mesh.names[NAME] = [LOOPBACK]
        await mesh.join("entry")
        await mesh.join("exit")
        body = {"targets": ["*", "0.0.0.0/0"], "generateCert": True, "originCa": str(served.ca)}
        await mesh.configure("exit", **{**body, **config})
        yield mesh, served


async def trusting(mesh: ProxyMesh, *alpn: str) -> ssl.SSLContext:
    """A client that trusts the exit's authority and nobody else."""
    status, _, pem = await mesh.ask_as("exit", "GET", "/api/ca", "anyone")
    assert status == 200
    made = ssl.create_default_context(cadata=pem.decode())
    if alpn:
        made.set_alpn_protocols(list(alpn))
    return made


async def connected(mesh: ProxyMesh, served: Origin, *alpn: str, host: str = NAME, name: str = NAME) -> SecuredStream:
    stream, _ = await mesh.reach("entry", host, served.port)
    return await secured(flow(stream), await trusting(mesh, *alpn), server_name=name)


def flow(stream: Stream) -> FlowStream:
    assert isinstance(stream, FlowStream)
    return stream


def shown(stream: SecuredStream) -> x509.Certificate:
    der = stream._tls.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der)


async def test_a_client_sees_a_short_lived_certificate_of_the_exit_and_the_origin_its_own_name(tmp_path: Path) -> None:
    async with opened(tmp_path) as (mesh, served):
        stream = await connected(mesh, served)
        await stream.write(REQUEST)
        assert await read_exactly(stream, len(ANSWER)) == ANSWER
        leaf = shown(stream)
        assert leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value.get_values_for_type(
            x509.DNSName
        ) == [NAME]
        assert leaf.not_valid_after_utc - leaf.not_valid_before_utc < datetime.timedelta(days=7, hours=2)
        assert served.server_names == [NAME]
        assert served.requests == [REQUEST]
        stream.abort()


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
async def test_curl_trusts_the_exit_s_authority_and_reads_the_page(tmp_path: Path) -> None:
    async with opened(tmp_path, log={"file": {}}) as (mesh, served):
        port = free_port()
        await mesh.configure("entry", listen=f"{LOOPBACK}:{port}")
        authority = tmp_path / "authority.pem"
        authority.write_bytes((await mesh.ask_as("exit", "GET", "/api/ca", "anyone"))[2])
        for scheme in ("http", "socks5h"):
            words = ["-sS", "-x", f"{scheme}://{LOOPBACK}:{port}", "--cacert", str(authority), "--max-time", "8"]
            curl = await asyncio.create_subprocess_exec(
                "curl", *words, f"https://{NAME}:{served.port}/page", stdout=asyncio.subprocess.PIPE
            )
            assert (await curl.communicate())[0] == b"hello"
        assert served.alpn == ["http/1.1", "http/1.1"]


async def test_an_origin_that_cannot_be_verified_is_not_led_to(tmp_path: Path) -> None:  # P11
    async with opened(tmp_path, originCa="") as (mesh, served):
        with pytest.raises(BrokenStreamError, match="BAD_CERTIFICATE"):
            await connected(mesh, served)
        assert served.requests == []
        await mesh.audited("exit", 1)
        assert "shows no valid certificate" in mesh.trails("exit")[0].reason


async def test_an_origin_of_another_name_is_not_led_to(tmp_path: Path) -> None:
    async with opened(tmp_path, "other.test") as (mesh, served):
        with pytest.raises(BrokenStreamError, match="BAD_CERTIFICATE"):
            await connected(mesh, served)
        assert served.requests == []


async def test_an_address_without_a_server_name_has_its_certificate_too(tmp_path: Path) -> None:
    async with opened(tmp_path, LOOPBACK) as (mesh, served):
        stream = await connected(mesh, served, host=LOOPBACK, name=LOOPBACK)
        await stream.write(REQUEST)
        assert await read_exactly(stream, len(ANSWER)) == ANSWER
        assert served.server_names == [None]
        stream.abort()


@pytest.mark.parametrize(
    ("offered", "agreed"),
    [((), None), (("http/1.1",), "http/1.1"), (("h2", "http/1.1"), "http/1.1"), (("h2",), "h2")],
)
async def test_both_sides_agree_on_one_protocol_and_on_one_that_can_be_logged_if_there_is(
    tmp_path: Path, offered: tuple[str, ...], agreed: str | None
) -> None:
    async with opened(tmp_path) as (mesh, served):
        stream = await connected(mesh, served, *offered)
        await stream.write(REQUEST)
        await read_exactly(stream, len(ANSWER))
        assert (stream.alpn, served.alpn) == (agreed, [agreed])
        stream.abort()


async def test_a_name_inside_of_tls_is_put_to_the_same_rules(tmp_path: Path) -> None:
    async with opened(tmp_path, NAME, "hidden.test", exclusions=["hidden.test"]) as (mesh, served):
        with pytest.raises(BrokenStreamError, match="ACCESS_DENIED"):
            await connected(mesh, served, name="hidden.test")
        assert served.server_names == []


async def test_a_stream_is_cut_when_the_name_inside_of_its_tls_is_no_longer_allowed(tmp_path: Path) -> None:  # P7
    async with opened(tmp_path, NAME, "inner.test") as (mesh, served):
        stream = await connected(mesh, served, name="inner.test")
        kept = await connected(mesh, served)
        body = {"targets": ["*"], "generateCert": True, "originCa": str(served.ca), "exclusions": ["inner.test"]}
        await mesh.configure("exit", **body)
        with pytest.raises(BrokenStreamError):
            await stream.read()
        await kept.write(REQUEST)
        assert await read_exactly(kept, len(ANSWER)) == ANSWER
        kept.abort()


async def test_what_is_no_tls_and_who_speaks_first_pass_untouched(tmp_path: Path) -> None:
    async with opened(tmp_path) as (mesh, _):
        first, _ = await mesh.reach("entry", LOOPBACK, await mesh.echo(b"220 ready\r\n"))
        async with asyncio.timeout(HELLO_SECONDS / 2):
            assert await first.read() == b"220 ready\r\n"
        for said in (b"G", b"\x16\x03\x01\x00\x05hello", b"\x00" * 10, b"\x16"):
            stream, _ = await mesh.reach("entry", LOOPBACK, await mesh.echo())
            await stream.write(said)
            stream.end()
            assert await read_exactly(stream, 1 << 20) == said + b"<end>"
        first.abort()


async def test_the_authority_s_key_stays_in_the_app_s_private_files(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:  # P4
    caplog.set_level(logging.DEBUG)
    async with opened(tmp_path) as (mesh, served):
        (await connected(mesh, served)).abort()
        key = mesh.local["exit"]["ca.key"].decode()
        body = key.splitlines()[1]
        asked = [await mesh.ask("exit", "GET", what) for what in ("config", "ca", "exits")]
        asked += [await mesh.ask_as("exit", "GET", f"/api/{what}", "alice") for what in ("config", "ca", "exits")]
        assert all(body.encode() not in answer for _, _, answer in asked)
        assert body not in caplog.text
        assert body not in repr(mesh.shared)


async def test_the_authority_is_the_same_after_a_restart_and_shown_only_while_it_is_used(tmp_path: Path) -> None:
    async with opened(tmp_path) as (mesh, _):
        before = (await mesh.ask_as("exit", "GET", "/api/ca", "anyone"))[2]
        await mesh.restart("exit")
        assert (await mesh.ask_as("exit", "GET", "/api/ca", "anyone"))[2] == before
        assert json.loads((await mesh.ask("exit", "GET", "ca"))[2])["certificate"] == before.decode()
        await mesh.configure("exit", targets=["*"])
        assert (await mesh.ask_as("exit", "GET", "/api/ca", "anyone"))[0] == NotFoundError.status


async def test_a_damaged_authority_is_said_and_not_replaced(tmp_path: Path) -> None:
    async with opened(tmp_path) as (mesh, _):
        mesh.local["exit"]["ca.key"] = b"garbage"
        with pytest.raises(CertificateError, match="damaged"):
            Mint(mesh.context("exit"))
        assert mesh.local["exit"]["ca.key"] == b"garbage"


async def test_certificates_are_made_once_for_a_name_and_not_without_bound(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ztm.apps.proxy.interception.mint.KEPT", 3)
    async with opened(tmp_path) as (mesh, _):
        mint = Mint(mesh.context("exit"))
        first = mint.context("a.test", None)
        assert mint.context("a.test", None) is first
        for number in range(5):
            mint.context(f"{number}.test", "http/1.1")
        assert len(mint._contexts) == 3
        assert mint.context("a.test", None) is not first


def client_hello(name: str | None, *alpn: str) -> bytes:
    context = ssl.create_default_context()
    if alpn:
        context.set_alpn_protocols(list(alpn))
    context.check_hostname = False
    out = ssl.MemoryBIO()
    tls = context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        tls.do_handshake()
    return out.read()


@pytest.mark.parametrize("alpn", [(), ("h2", "http/1.1")])
@pytest.mark.parametrize("name", ["a.test", "x" * 60 + "." + "y" * 60 + ".test", ""])
def test_a_hello_is_read_when_it_is_whole_and_not_before(name: str, alpn: tuple[str, ...]) -> None:
    data = client_hello(name or None, *alpn)
    for size in range(len(data)):
        assert read_hello(data[:size]) is None
    assert read_hello(data) == read_hello(data + b"early data") == Hello(name, alpn)


def test_a_hello_in_several_records_is_read() -> None:
    data = client_hello("a.test", "h2")
    message = data[5:]
    parts = [message[at : at + 50] for at in range(0, len(message), 50)]
    records = b"".join(b"\x16\x03\x01" + len(part).to_bytes(2) + part for part in parts)
    assert read_hello(records) == Hello("a.test", ("h2",))


@pytest.mark.parametrize(
    "data", [b"G", b"\x16\x02", b"\x16\x03\x01\x00\x04\x02\0\0\0", b"\x16\x03\x01\0\0", b"\x17\x03"]
)
def test_what_is_no_hello_is_told_apart(data: bytes) -> None:
    with pytest.raises(NoHelloError):
        read_hello(data)
