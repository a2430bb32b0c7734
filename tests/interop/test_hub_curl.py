"""Programs that know nothing of ztm talk to a hub: curl, openssl, nghttp."""

import asyncio
import json
import shutil
from pathlib import Path

import pytest

from hub_client import Mesh, mesh
from v1_http import PATIENCE


async def run(*command: str, said: bytes = b"") -> tuple[int, str, str]:
    """Run a program to its end: its status, and what it wrote."""
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    process = await asyncio.create_subprocess_exec(
        *command, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, err = await asyncio.wait_for(process.communicate(said), PATIENCE)
    return process.returncode or 0, out.decode(), err.decode()


def credentials(made: Mesh, user: str) -> list[str]:
    who = made.credential(user)
    return ["--cacert", str(who.ca), "--cert", str(who.certificate), "--key", str(who.key)]


async def curl(made: Mesh, user: str, path: str, *options: str) -> tuple[int, str]:
    """Status and body of one request; certificates name no hosts, so names are not compared (-k)."""
    url = f"https://127.0.0.1:{made.port}{path}"
    how = ["curl", "-s", "-k", "-w", "\n%{http_code} %{http_version}", *credentials(made, user), *options, url]
    _, out, _ = await run(*how)
    body, _, status = out.rpartition("\n")
    version = "1.1" if "--http1.1" in options else "2"
    assert status.endswith(version), out
    return int(status.split()[0]), body


@pytest.mark.parametrize("version", ["--http1.1", "--http2", "--http2-prior-knowledge"])
async def test_curl_reads_and_writes(version: str, tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        bob = await made.agent("bob", "bob ep")
        status, body = await curl(made, "bob", "/api/status", version)
        assert (status, json.loads(body)["id"]) == (200, made.hub.state.id)
        status, body = await curl(made, "bob", f"/api/endpoints/{bob.id}", version)
        assert (status, json.loads(body)["name"]) == (200, "bob ep")
        assert (await curl(made, "bob", "/api/nope", version))[0] == 404
        assert (await curl(made, "bob", "/api/zones", version, "-X", "PUT"))[0] == 405
        key = made.folder / "bob.pub"
        key.write_bytes(made.credential("bob").public)
        status, body = await curl(made, "bob", "/api/sign/bob", version, "--data-binary", f"@{key}")
        assert status == 201
        assert body.startswith("-----BEGIN CERTIFICATE-----")
        assert (await curl(made, "bob", "/api/sign/bob", version, "-d", "junk"))[0] == 400
        assert (await curl(made, "bob", "/api/evictions/alice?time=1", version, "-X", "POST"))[0] == 403
        assert (await curl(made, "root", "/api/evictions/alice", version, "-X", "DELETE"))[0] == 204


async def test_curl_verifies_the_hubs_certificate_by_the_meshs_ca(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        host = "https://127.0.0.1"
        _, _, told = await run("curl", "-s", "-S", "-v", *credentials(made, "bob"), f"{host}:{made.port}/api/zones")
        assert "does not match target host name" in told, "all but the name is right"


async def test_openssl_sees_tls_13_our_alpn_and_a_verified_chain(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        who = made.credential("bob")
        _, out, _ = await s_client(made, "-cert", str(who.certificate), "-key", str(who.key), "-alpn", "ztm/1,h2")
        assert "Protocol  : TLSv1.3" in out or "New, TLSv1.3" in out
        assert "ALPN protocol: ztm/1" in out
        assert "Verify return code: 0 (ok)" in out
        assert "New Session Ticket" not in out
        assert '["default"]' in out


async def test_openssl_with_tls_12_and_without_alpn_is_served(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        who = made.credential("bob")
        _, out, _ = await s_client(made, "-cert", str(who.certificate), "-key", str(who.key), "-tls1_2")
        assert "TLSv1.2" in out
        assert "No ALPN negotiated" in out
        assert '["default"]' in out


async def test_openssl_without_a_certificate_gets_nothing(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        _, out, _ = await s_client(made)
        assert "default" not in out


async def s_client(made: Mesh, *options: str) -> tuple[int, str, str]:
    request = b"GET /api/zones HTTP/1.1\r\nconnection: close\r\n\r\n"
    ca = str(made.credential("bob").ca)
    how = ["openssl", "s_client", "-connect", f"127.0.0.1:{made.port}", "-CAfile", ca, "-ign_eof", *options]
    return await run(*how, said=request)


async def test_nghttp_makes_many_requests_on_one_connection(tmp_path: Path) -> None:
    async with mesh(tmp_path) as made:
        who = made.credential("bob")
        url = f"https://127.0.0.1:{made.port}/api/zones"
        status, out, _ = await run("nghttp", "-m", "50", f"--cert={who.certificate}", f"--key={who.key}", url)
        assert status == 0
        assert out.count('["default"]') == 50
