"""The web page's files: what is served, how, and that nothing else ever is."""

import gzip
from pathlib import Path
from urllib.parse import unquote

import pytest

from ztm.agent.local.pages import GUI, Pages
from ztm.net.scope import Message


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    root = tmp_path / "root"
    for name, content in {
        "index.html": b"<!doctype html>",
        "app.js": b"1;",
        "app.js.br": b"brotli",
        "app.js.gz": gzip.compress(b"1;"),
        "sub/index.html": b"sub",
        "sub/data.bin": b"\0",
        "odd name.txt": b"odd",
        ".hidden": b"no",
        "code.py": b"no",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (tmp_path / "secret.txt").write_text("secret")
    (root / "link.txt").symlink_to(tmp_path / "secret.txt")
    (root / "away").symlink_to(tmp_path)
    return Pages(root)


async def ask(pages: Pages, path: str, method: str = "GET", **headers: str) -> tuple[int, dict[str, str], bytes]:
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing is read")

    scope = {
        "method": method, "path": unquote(path), "raw_path": path.encode(), "query_string": b"", "extensions": {},
        "headers": [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    await pages(scope, receive, send)
    fields = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
    return sent[0]["status"], fields, sent[1]["body"]


@pytest.mark.parametrize(
    ("path", "type_", "body"),
    [
        ("/", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/index.html", "text/html; charset=utf-8", b"<!doctype html>"),
        ("/app.js", "text/javascript; charset=utf-8", b"1;"),
        ("/sub", "text/html; charset=utf-8", b"sub"),
        ("/sub/", "text/html; charset=utf-8", b"sub"),
        ("/sub/data.bin", "application/octet-stream", b"\0"),
        ("/odd%20name.txt", "text/plain; charset=utf-8", b"odd"),
    ],
)
async def test_a_file_is_served_by_its_path_with_its_type(pages: Pages, path: str, type_: str, body: bytes) -> None:
    status, fields, got = await ask(pages, path)
    assert (status, fields["content-type"], got) == (200, type_, body)
    assert fields["content-length"] == str(len(body))


@pytest.mark.parametrize(
    "path",
    [
        "/../secret.txt",
        "/%2e%2e/secret.txt",
        "/..%2fsecret.txt",
        "/%2e%2e%2fsecret.txt",
        "/..%5csecret.txt",
        "/%252e%252e%252fsecret.txt",
        "/sub/../../secret.txt",
        "/sub/../index.html",
        "/./index.html",
        "//index.html",
        "/%c0%ae%c0%ae/secret.txt",
        "/index.html%00",
        "/%00",
        "/%ff%fe",
        "/link.txt",
        "/away/secret.txt",
        "/.hidden",
        "/code.py",
        "/app.js.br",
        "/__init__.py",
        "/nowhere",
        "/INDEX.HTML",
        "*",
        "",
    ],
)
async def test_no_other_way_of_writing_a_path_finds_anything(pages: Pages, path: str) -> None:
    status, _, body = await ask(pages, path)
    assert (status, body) == ((404, b"") if path else (200, b"<!doctype html>"))


async def test_who_takes_compressed_files_gets_them(pages: Pages) -> None:
    for accepted, coding in (
        ("gzip, deflate, br", "br"),
        ("gzip", "gzip"),
        ("br;q=0, gzip;q=0.5", "gzip"),
        ("br; q=0", ""),
        ("identity", ""),
        ("", ""),
    ):
        _, fields, _ = await ask(pages, "/app.js", accept_encoding=accepted)
        assert fields.get("content-encoding", "") == coding, accepted
        assert fields["content-type"].startswith("text/javascript")
        assert fields["vary"] == "accept-encoding"


async def test_what_a_browser_has_is_not_sent_again(pages: Pages) -> None:
    _, fields, _ = await ask(pages, "/app.js")
    status, again, body = await ask(pages, "/app.js", if_none_match=fields["etag"])
    assert (status, again["etag"], body) == (304, fields["etag"], b"")
    assert (await ask(pages, "/app.js", accept_encoding="br"))[1]["etag"] != fields["etag"]
    assert (await ask(pages, "/app.js", if_none_match='"other"'))[0] == 200


async def test_head_is_get_without_a_body_and_nothing_else_is_taken(pages: Pages) -> None:
    status, fields, body = await ask(pages, "/app.js", "HEAD")
    assert (status, fields["content-length"], body) == (200, "2", b"")
    for method in ("POST", "PUT", "DELETE", "OPTIONS", "CONNECT"):
        status, fields, _ = await ask(pages, "/", method)
        assert (status, fields["allow"]) == (405, "GET, HEAD")


async def test_the_page_that_comes_with_ztm_needs_nothing_from_elsewhere() -> None:
    pages = Pages()
    for name in ("/", "/app.js", "/style.css", "/icon.svg"):
        status, _, body = await ask(pages, name)
        assert status == 200
        text = body.decode().replace("http://www.w3.org/2000/svg", "")
        assert "http:" not in text
        assert "https:" not in text
    html = (GUI / "index.html").read_text()
    assert "<style" not in html
    assert "onclick" not in html
    assert all('src="' in script for script in html.split("<script")[1:])
