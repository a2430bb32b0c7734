"""What a hub tells a target of a caller: of each endpoint of one connection its own."""

from datetime import UTC, datetime
from urllib.parse import parse_qs

from http2_peer import MemoryFlow
from ztm.hub.link import Link
from ztm.model import Identity

NOW = datetime(2026, 1, 1, tzinfo=UTC)


class Connection(MemoryFlow):
    """A connection of which nothing is asked but who is at its ends."""

    is_own = True


def test_each_of_a_connections_endpoints_is_told_as_itself() -> None:
    link = Link(Connection(), Identity("al & co", "key", NOW, NOW))
    for source in ("one", "two", "one"):
        told = parse_qs(link.query(source))
        assert told == {"src": [source], "ip": ["192.0.2.7"], "port": ["4711"], "username": ["al & co"]}
