"""Users who publish apps, and the packages they sign."""

from datetime import UTC, datetime
from pathlib import Path

from ztm import pki
from ztm.agent.apps.inspection import Key, signed_package
from ztm.agent.apps.package import head
from ztm.agent.files.content import Content
from ztm.pki import Authority

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
MANIFEST = b'name = "hello"\nversion = "1.0.0"\nentry = "hello:app"\napi = 1\n'
FILES = {"/gui/index.html": b"<html>", "/hello.py": b"app = 1", "/ztm-app.toml": MANIFEST}


class Publisher:
    """A user of a mesh, with what it signs by."""

    def __init__(self, authority: Authority, user: str, private: str = "") -> None:
        self.authority = authority
        self.ca = authority.certificate
        private = private or pki.new_key()
        self.key = Key(user, private, authority.sign_user(user, pki.public_key(private), NOW))

    def package(self, folder: Path, files: dict[str, bytes] | None = None, tag: str = "") -> bytes:
        """The signed package of these files."""
        raw = content(folder, packed(FILES if files is None else files))
        size, pieces = signed_package(raw, self.key, self.ca, tag)
        whole = b"".join(pieces)
        assert len(whole) == size
        return whole


def packed(files: dict[str, bytes]) -> bytes:
    return b"".join(head(path, len(data)) + data for path, data in files.items())


def content(folder: Path, data: bytes) -> Content:
    path = folder / "package"
    path.write_bytes(data)
    return Content(path)
