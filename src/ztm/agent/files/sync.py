"""The mesh files of this agent, kept in step with the hub.

What is held is advertised whole after each change, and the hub is watched by a long poll so that nobody has to ask
for what is there. It does not download. Source: spec mesh-protocol 11.
"""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

from ztm.agent.files.held import HeldFiles
from ztm.agent.hublink import HubLink
from ztm.errors import LimitError, TooLargeError, ZtmError
from ztm.wire import codec, paths

log = logging.getLogger("ztm.agent")

GATHER = 0.05
"""Seconds by which an advertisement waits for more changes."""
RETRY = 2.0
"""Seconds after which an advertisement or a poll that failed is tried again."""
MAX_LIST = 64 << 20
"""Bytes of a list of files that is taken from a hub: as many as a hub takes."""
POLL = 3600.0
"""Seconds a long poll may take; the session's own PINGs find a dead hub long before."""


class FileSync(HeldFiles):
    """The files of one mesh on this agent."""

    def __init__(self, directory: Path, now_ms: Callable[[], int]) -> None:
        super().__init__(directory, now_ms)
        self._round: asyncio.Future[ZtmError | None] | None = None
        """Done when the hub has answered the next advertisement: with None if it took it."""

    async def advertised(self, timeout: float) -> None:
        """Wait until the hub has taken what is stored here, but no longer than `timeout` seconds.

        Raises:
            LimitError: the hub takes no more files of this user.
            TooLargeError: the hub does not take a list that long.
        """
        if self._round is None:
            self._round = asyncio.get_running_loop().create_future()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout):
                error = await asyncio.shield(self._round)
                if isinstance(error, LimitError | TooLargeError):
                    raise error

    def _answered(self, error: ZtmError | None) -> None:
        """The hub has answered the advertisement that the waiting ones are about."""
        waiting, self._round = self._round, None
        if waiting is not None and not waiting.done():
            waiting.set_result(error)

    async def run(self, link: HubLink) -> None:
        """Advertise and watch by way of `link`, until it is cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._advertise(link))
            tasks.create_task(self._watch(link))

    async def _advertise(self, link: HubLink) -> None:
        self._changed.set()
        while True:
            await self._changed.wait()
            self._changed.clear()
            if not self._own:
                continue
            telling, self._untold = self._untold, set()
            try:
                await link.ask("POST", paths.FILES, codec.encode_files(self._own))
            except ZtmError as error:
                log.info("the hub did not take the file list: %s", error)
                self._untold |= telling
                self._changed.set()
                self._answered(error)
                await asyncio.sleep(RETRY)
            else:
                if not self._changed.is_set():
                    self._answered(None)
                await asyncio.sleep(GATHER)

    async def _watch(self, link: HubLink) -> None:
        since, query = 0, {"since": 0}
        while True:
            try:
                body = await link.ask("GET", paths.fill(paths.FILES, query), timeout=POLL, limit=MAX_LIST)
                changes = codec.decode_files(body)
            except ZtmError as error:
                log.info("the hub did not tell its files: %s", error)
                await asyncio.sleep(RETRY)
                continue
            newest = max([since, *(file.since_ms for file in changes.values())])
            if "wait" not in query:  # the whole of it: what the last hub said no longer counts
                self._seen.clear()
            elif newest == since:  # a hub that answers without news would be asked as fast as it can
                await asyncio.sleep(RETRY)
            since = newest
            query = {"since": since, "wait": 1}
            self._seen.update(changes)
            self._tell()
