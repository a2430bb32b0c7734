"""curl as a foreign client of the proxy's port, by every protocol that it knows."""

import asyncio
import shutil
from dataclasses import dataclass

import pytest
from proxy_door import Doorway, WebOrigin, doorway

from ztm.apps.proxy.credentials import Credentials
from ztm.errors import DeadlineError, ForbiddenError, NotFoundError, RefusedError, UnreachableError, ZtmError

CURL = shutil.which("curl")
pytestmark = pytest.mark.skipif(CURL is None, reason="curl is not installed")
SCHEMES = ["http", "socks4", "socks4a", "socks5", "socks5h"]


@dataclass
class Ran:
    status: int
    out: str
    err: str


async def curl(*words: str, stdin: bytes = b"") -> Ran:
    assert CURL is not None
    process = await asyncio.create_subprocess_exec(
        CURL, "-q", "-sS", "--noproxy", "", "--max-time", "10", *words,
        stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate(stdin)
    assert process.returncode is not None
    return Ran(process.returncode, out.decode(), err.decode())


async def origin(here: Doorway, host: str = "127.0.0.1") -> str:
    made = await here.listen(WebOrigin().serve, host)
    here.way.names["web.test"] = made
    return str(made)


@pytest.mark.parametrize("tunnel", [[], ["--proxytunnel"]])
@pytest.mark.parametrize("scheme", SCHEMES)
async def test_curl_gets_by_every_protocol(scheme: str, tunnel: list[str]) -> None:
    async with doorway() as here:
        host = await origin(here)
        names = ("web.test",) if scheme in ("http", "socks4a", "socks5h") else ()
        for url in (f"http://{host}/one", *(f"http://{name}/two" for name in names)):
            ran = await curl("-x", f"{scheme}://{here.url}", *tunnel, url)
            assert (ran.status, ran.out) == (0, f"you asked for /{'one' if 'one' in url else 'two'}"), ran


@pytest.mark.parametrize("scheme", ["http", "socks5", "socks5h"])
async def test_curl_gets_by_ipv6_from_ipv6(scheme: str) -> None:
    async with doorway(host="::1") as here:
        host = await origin(here, "::1")
        ran = await curl("-g", "-x", f"{scheme}://{here.url}", f"http://{host}/six")
        assert (ran.status, ran.out) == (0, "you asked for /six"), ran


@pytest.mark.parametrize(
    "words", [["-x", "http://{}"], ["-px", "http://{}"], ["-x", "socks5h://{}"], ["--proxy-anyauth", "-x", "http://{}"]]
)
async def test_curl_logs_in(words: list[str]) -> None:
    async with doorway(credentials=Credentials.create("me", "p@ss:word")) as here:
        host = await origin(here)
        asked = [word.format(here.url) for word in words]
        ran = await curl(*asked, "--proxy-user", "me:p@ss:word", f"http://{host}/in")
        assert (ran.status, ran.out) == (0, "you asked for /in"), ran
        ran = await curl(*asked, "--proxy-user", "me:wrong", "-f", f"http://{host}/in")
        assert ran.status != 0
        assert "you asked" not in ran.out


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (ForbiddenError("no"), "403"),
        (NotFoundError("no"), "502"),
        (RefusedError("no"), "502"),
        (UnreachableError("no"), "503"),
        (DeadlineError("no"), "504"),
    ],
)
async def test_curl_tells_why_not(error: ZtmError, told: str) -> None:
    async with doorway() as here:
        here.way.errors["web.test"] = error
        proxy = ("-x", f"http://{here.url}")
        assert (await curl(*proxy, "-w", "%{http_code}", "-o", "/dev/null", "http://web.test/")).out == told
        assert (await curl(*proxy, "-p", "-w", "%{http_connect}", "http://web.test/")).out == told
        for scheme in ("socks4a", "socks5h"):
            assert (await curl("-x", f"{scheme}://{here.url}", "http://web.test/")).status == 97  # CURLE_PROXY


async def test_curl_reuses_its_connection_after_a_refusal() -> None:
    async with doorway() as here:
        host = await origin(here)
        here.way.errors["denied.test"] = ForbiddenError("no")
        urls = [f"http://{host}/1", "http://denied.test/", f"http://{host}/2"]
        ran = await curl("-x", f"http://{here.url}", "-w", "[%{http_code} %{num_connects}]", *urls)
        assert ran.out == "you asked for /1[200 1]ztm proxy: no\n[403 0]you asked for /2[200 0]"


@pytest.mark.parametrize("words", [[], ["-H", "Transfer-Encoding: chunked"], ["-H", "Expect: 100-continue"]])
async def test_curl_uploads(words: list[str]) -> None:
    async with doorway() as here:
        web = WebOrigin()
        url = f"http://{await here.listen(web.serve)}/"
        body = bytes(range(256)) * 4000
        ran = await curl("-x", f"http://{here.url}", *words, "--data-binary", "@-", url, stdin=body)
        assert ran.status == 0, ran
        assert web.seen[0].body == body
