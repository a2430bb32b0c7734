"""Packages of apps: what is packed comes out again, and nothing of a bad one is written elsewhere."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ztm.agent.apps import package
from ztm.agent.apps.package import check_member, pack, unpack
from ztm.agent.files.content import Content
from ztm.errors import TooLargeError, UsageError, ZtmError

FILES = {"main.js": b"export default 1", "gui/index.html": b"<html>", "gui/empty": b"", "é ü": bytes(300_000)}


def member(path: str, data: bytes, size: object = None) -> bytes:
    length = len(data) if size is None else size
    return f"POST {path} HTTP/1.1\r\ncontent-length: {length}\r\nconnection: keep-alive\r\n\r\n".encode() + data


def content(folder: Path, data: bytes) -> Content:
    path = folder / "package"
    path.write_bytes(data)
    return Content(path)


def tree(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_what_is_packed_comes_out_again_privately(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "target"
    for name, data in FILES.items():
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        (source / name).write_bytes(data)
    target.mkdir()
    assert unpack(content(tmp_path, b"".join(pack(source))), target) == len(FILES)
    assert tree(target) == FILES
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in target.rglob("*") if path.is_file())


def test_a_package_has_v1s_form(tmp_path: Path) -> None:
    (tmp_path / "b").write_bytes(b"2")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "x").write_bytes(b"1")
    assert b"".join(pack(tmp_path)) == member("/a/x", b"1") + member("/b", b"2")


BAD = {
    "nothing": b"",
    "no request": b"hello",
    "another method": member("/a", b"").replace(b"POST", b"PUT "),
    "no size": b"POST /a HTTP/1.1\r\n\r\n",
    "two sizes": b"POST /a HTTP/1.1\r\ncontent-length: 0\r\ncontent-length: 0\r\n\r\n",
    "a negative size": member("/a", b"", -1),
    "more than there is": member("/a", b"12", 3),
    "a huge size": member("/a", b"", 10**14),
    "no name": member("/", b"x"),
    "above": member("/../x", b"x"),
    "above in the middle": member("/a/../../x", b"x"),
    "absolute": member("//etc/passwd", b"x"),
    "a dot": member("/./x", b"x"),
    "a drive": member("/c:/x", b"x"),
    "a backslash": member("/..\\x", b"x"),
    "a zero byte": member("/a\x00b", b"x"),
    "a line end": member("/a\nb", b"x"),
    "a folder": member("/a/", b"x"),
    "a long name": member("/" + "a" * 200, b"x"),
    "a long path": member("/a" * 400, b"x"),
    "twice": member("/a", b"1") + member("/a", b"2"),
    "a file below a file": member("/a", b"1") + member("/a/b", b"2"),
    "a file that is a folder": member("/a/b", b"1") + member("/a", b"2"),
    "not UTF-8": b"POST /\xff HTTP/1.1\r\ncontent-length: 0\r\n\r\n",
    "no end of the head": b"POST /a HTTP/1.1\r\n" + b"x: y\r\n" * 4000,
    "something behind": member("/a", b"1") + b"junk",
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_package_is_refused_and_writes_nowhere_else(tmp_path: Path, what: str) -> None:
    target = tmp_path / "below" / "target"
    target.mkdir(parents=True)
    package = content(tmp_path, BAD[what])
    with pytest.raises((UsageError, TooLargeError)):
        unpack(package, target)
    assert {path.name for path in tmp_path.iterdir()} == {"below", "package"}
    assert [path.name for path in (tmp_path / "below").iterdir()] == ["target"]


@given(st.binary(max_size=300))
def test_junk_is_refused_and_nothing_worse(junk: bytes) -> None:
    with pytest.raises(UsageError):
        package._head(_Bytes(junk + b"\r\n\r\n"), 0)  # type: ignore[arg-type]


class _Bytes:
    def __init__(self, data: bytes) -> None:
        self.data = data
        self.size = len(data)

    def read(self, start: int = 0, size: int | None = None) -> bytes:
        return self.data[start : self.size if size is None else start + size]


def test_too_many_files_are_refused_both_ways(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package, "MAX_FILES", 2)
    source, target = tmp_path / "source", tmp_path / "target"
    source.mkdir()
    target.mkdir()
    for name in "abc":
        (source / name).write_bytes(b"")
    with pytest.raises(TooLargeError):
        b"".join(pack(source))
    with pytest.raises(TooLargeError):
        unpack(content(tmp_path, b"".join(member(f"/{name}", b"") for name in "abc")), target)


def test_links_and_empty_folders_are_not_packed(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No files to pack"):
        b"".join(pack(tmp_path))
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(UsageError, match="is a link"):
        b"".join(pack(tmp_path))


@given(st.text(max_size=40))
def test_a_path_that_is_allowed_stays_below_its_folder(text: str) -> None:
    try:
        check_member("/" + text)
    except ZtmError:
        return
    folder = Path("/srv/app")
    assert (folder / text).is_relative_to(folder)
    assert ".." not in (folder / text).parts
