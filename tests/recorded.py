"""The recorded exchanges of `tests/vectors`, parsed.

Only files with one request and one response are read; the format is told in `vectors/README.txt`.
"""

from dataclasses import dataclass
from pathlib import Path

VECTORS = Path(__file__).parent / "vectors"

Fields = tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its response. For CONNECT the bodies are what went through the tunnel."""

    request_headers: Fields
    request_body: bytes
    response_headers: Fields
    response_body: bytes

    @property
    def method(self) -> str:
        return dict(self.request_headers)[":method"]

    @property
    def path(self) -> str:
        """The request target, with its query."""
        return dict(self.request_headers)[":path"]

    @property
    def status(self) -> int:
        return int(dict(self.response_headers)[":status"])


def load(name: str) -> Exchange:
    """The exchange in the one file whose name begins with `name` up to a dash or its end."""
    found = [path for path in VECTORS.glob(f"{name}*.txt") if path.stem == name or path.stem.startswith(f"{name}-")]
    if len(found) != 1:
        raise LookupError(f"{len(found)} recorded exchanges are called {name!r}")
    return parse(found[0].read_bytes())


def all_names(kind: str) -> list[str]:
    """The names of all exchanges of a kind: ``"hub"`` or ``"agent"``."""
    return sorted(path.stem for path in VECTORS.glob(f"{kind}-*.txt"))


def parse(data: bytes) -> Exchange:
    _, _, data = data.partition(b"--- request\n")
    request, _, response = data.partition(b"\n\n--- response\n")
    return Exchange(*_part(request), *_part(response.removesuffix(b"\n")))


def _part(data: bytes) -> tuple[Fields, bytes]:
    head, _, body = data.partition(b"\n\n")
    fields = []
    for line in head.decode().splitlines():
        colon = line.index(":", 1)
        fields.append((line[:colon], line[colon + 1 :].strip()))
    return tuple(fields), body


FILES = ("bytes-f2", "bytes-f2-ctl", "bytes-f3", "bytes-f3-pas")
ENDPOINT = "f5f4d17f-39cb-458f-8f47-4b2064553d32"
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"


def spoken(name: str, side: str) -> list[bytes]:
    """What `side` (``"hub"`` or ``"agent"``) said, in order, up to the first line that was cut short."""
    said = []
    for line in (VECTORS / f"{name}.txt").read_text().splitlines():
        way, _, text = line.partition(" ")
        if way.startswith(side + "->"):
            said.append(whole_frames(bytes.fromhex(text.removesuffix("..."))))
            if text.endswith("..."):
                break
    return said


def whole_frames(said: bytes) -> bytes:
    at = len(PREFACE) if said.startswith(PREFACE) else 0
    while len(said) - at >= 9 and at + 9 + int.from_bytes(said[at : at + 3], "big") <= len(said):
        at += 9 + int.from_bytes(said[at : at + 3], "big")
    return said[:at]
