"""The request log of a Splunk HTTP event collector: events in one POST, over verified TLS.

Plain HTTP is spoken only where the owner wrote ``http://``. The token is in no message.

Source: spec apps-network 2.7; Splunk's HTTP Event Collector, ``/services/collector/event``.
"""

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from ztm.apps.base import AppContext
from ztm.apps.proxy.interception.origins import Origins
from ztm.apps.proxy.model import SplunkLog
from ztm.errors import DeadlineError, RefusedError
from ztm.net.base import Stream
from ztm.net.flow import FlowStream
from ztm.net.http1 import request_http1
from ztm.net.secured import secured

PATH = "/services/collector/event"
SECONDS = 15.0
"""For one POST, connection and all."""


class Splunk:
    """See `book.Sink`."""

    def __init__(self, context: AppContext, log: SplunkLog, origin_ca: str) -> None:
        self._network = context.network
        self._log = log
        self._origins = Origins(origin_ca)
        if log.is_secure:
            self._origins.check()

    async def write(self, events: Sequence[tuple[float, dict[str, Any]]]) -> None:
        """See `book.Sink`."""
        body = "".join(json.dumps({"time": round(time, 3), "event": event}) for time, event in events).encode()
        try:
            async with asyncio.timeout(SECONDS):
                await self._post(body)
        except TimeoutError:
            raise DeadlineError(f"{self._log.url} did not answer within {SECONDS:g} seconds") from None

    async def _post(self, body: bytes) -> None:
        below = await self._network.dial(self._log.address)
        try:
            stream = await self._secured(below)
            headers = [
                ("host", str(self._log.address)),
                ("authorization", f"Splunk {self._log.token}"),
                ("content-type", "application/json"),
            ]
            answer = await request_http1(stream, "POST", PATH, headers=headers, body=body)
        finally:
            below.abort("the events were told")
        if not 200 <= answer.status < 300:
            raise RefusedError(f"{self._log.url} refused the events with {answer.status}", answer=answer.status)

    async def _secured(self, below: Stream) -> Stream:
        if not self._log.is_secure or not isinstance(below, FlowStream):
            return below
        return await secured(below, self._origins.context(("http/1.1",)), server_name=self._log.address.host)
