"""A simulated network: hosts, the links between them, and faults, all in one process on virtual time.

A world draws no chance without a seed, so that every run of a test is the same.
"""

import asyncio
from datetime import UTC, datetime

from ztm.testing.link import BUFFER, DELAY, LOCAL_DELAY, Link
from ztm.testing.network import LOOPBACK, SimNetwork

START = datetime(2026, 1, 1, tzinfo=UTC)
"""What every simulated wall clock shows at first."""


class SimWorld:
    """All hosts and the links between them. Any two hosts reach each other; `link` says how well."""

    def __init__(self, *, start: datetime = START) -> None:
        self.names: dict[str, str] = {"localhost": LOOPBACK}
        """What names resolve to."""
        self._start = start.timestamp()
        self._hosts: dict[str, SimNetwork] = {}
        self._links: dict[frozenset[str], Link] = {}

    def host(self, ip: str, *, own: bool = True) -> SimNetwork:
        """The host with this address, made when first asked for; without `own`, it is of another implementation."""
        if ip not in self._hosts:
            self._hosts[ip] = SimNetwork(self, ip, own=own)
        return self._hosts[ip]

    def link(
        self,
        a: str,
        b: str,
        *,
        delay: float = DELAY,
        rate: float | None = None,
        loss: float = 0.0,
        buffer: int = BUFFER,
        seed: int | None = None,
    ) -> None:
        """Say how the way between two hosts behaves from now on.

        `delay` is seconds each way, `rate` bytes per second each way, `loss` the share of segments and datagrams
        that are lost (a connection sends them again, late), `buffer` what one connection may have under way and
        unread in each direction (for connections made from now on).

        Raises:
            ValueError: there is to be loss and no `seed` was given.
        """
        self.between(a, b).shape(delay=delay, rate=rate, loss=loss, buffer=buffer, seed=seed)

    def cut(self, a: str, b: str) -> None:
        """Nothing passes between two hosts any more, and nobody is told."""
        self.between(a, b).cut()

    def heal(self, a: str, b: str) -> None:
        """The way is back: what connections had under way arrives after all."""
        self.between(a, b).heal()

    def reset(self, a: str, b: str) -> None:
        """Reset every connection between two hosts, at both ends at once."""
        link = self.between(a, b)
        for ip in {a, b}:
            self.host(ip).reset(link)

    def kill(self, ip: str) -> None:
        """End all that runs on a host: its connections are reset, its ports closed. The host may be used again."""
        self.host(ip).kill()

    def between(self, a: str, b: str) -> Link:
        """The link between two hosts."""
        return self._links.setdefault(frozenset((a, b)), Link(LOCAL_DELAY if a == b else DELAY))

    def wall(self) -> float:
        """Epoch seconds; moves with the loop's clock."""
        return self._start + asyncio.get_running_loop().time()

    def put_forward(self, seconds: float) -> None:
        """Have every wall clock show so much later, as when months go by without anything happening."""
        self._start += seconds

    def find(self, ip: str) -> SimNetwork | None:
        """The host with this address, if there is one."""
        return self._hosts.get(ip)
