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
