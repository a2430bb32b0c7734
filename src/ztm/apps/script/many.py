"""One script on many endpoints at the same time: which they are, and what became of it on each.

An endpoint that cannot be reached, or refuses, is one of the results and ends none of the others.
"""

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from ztm.apps.script.client import Client, Kept
from ztm.apps.script.limits import LIMITS, ScriptLimits
from ztm.apps.script.model import Order
from ztm.errors import ConflictError, NotFoundError, ZtmError
from ztm.model import Endpoint

LABEL = "label="
"""What a selector by label begins with; every other one is the name or id of an endpoint."""


class Runner(Protocol):
    """Runs one script on one endpoint; `Entry` does."""

    async def run(self, endpoint: str, order: Order, script: bytes, client: Client) -> int:
        """See `Entry.run`."""


@dataclass(slots=True)
class Result:
    """What became of a script on one endpoint."""

    endpoint: Endpoint
    status: int | None = None
    """The exit status; None where it did not run to its end."""
    error: str = ""
    """Why it did not."""
    seconds: float = 0.0
    output: Kept = field(default_factory=lambda: Kept(LIMITS.kept_output))

    @property
    def is_good(self) -> bool:
        """Whether the script ran and succeeded."""
        return self.status == 0


def chosen(endpoints: Sequence[Endpoint], user: str, selectors: Sequence[str], *, every: bool) -> list[Endpoint]:
    """The endpoints that selectors mean, each once, by name.

    Labels, and `every`, mean endpoints of `user` that are online now; a name means its endpoint however it is.

    Raises:
        NotFoundError: a selector means none.
        ConflictError: several endpoints have the name.
    """
    own = [one for one in endpoints if one.user == user and one.online]
    found = {one.id: one for one in own} if every else {}
    for selector in selectors:
        if selector.startswith(LABEL):
            label = selector.removeprefix(LABEL)
            meant = [one for one in own if label in one.labels]
            missing = f"no endpoint of yours with the label {label!r} is online"
        else:
            meant = _named(endpoints, selector)
            missing = f"endpoint '{selector}' not found (see 'ztm get ep')"
        if not meant:
            raise NotFoundError(missing)
        found |= {one.id: one for one in meant}
    if not found:
        raise NotFoundError("no endpoint of yours is online")
    return sorted(found.values(), key=lambda one: (one.name, one.id))


def _named(endpoints: Sequence[Endpoint], word: str) -> list[Endpoint]:
    by_id = [one for one in endpoints if one.id == word]
    named = by_id or [one for one in endpoints if one.name == word]
    if len(named) > 1:
        raise ConflictError(
            f"ambiguous endpoint name '{word}': use one of the ids {', '.join(one.id for one in named)}"
        )
    return named


async def run_on_all(
    runner: Runner, endpoints: Sequence[Endpoint], order: Order, script: bytes, limits: ScriptLimits = LIMITS
) -> list[Result]:
    """Run a script on all `endpoints`, some at a time; the results in the same order. Cancelling it stops all."""
    places = asyncio.Semaphore(limits.at_once)
    kept = min(limits.kept_output, limits.kept_of_all // max(len(endpoints), 1))

    async def one(endpoint: Endpoint) -> Result:
        async with places:
            return await _run_on(runner, endpoint, order, script, kept)

    tasks = [asyncio.get_running_loop().create_task(one(endpoint)) for endpoint in endpoints]
    try:
        return await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _run_on(runner: Runner, endpoint: Endpoint, order: Order, script: bytes, kept: int) -> Result:
    result = Result(endpoint, output=Kept(kept))
    begin = time.monotonic()
    try:
        result.status = await runner.run(endpoint.id, order, script, result.output)
    except ZtmError as error:
        result.error = str(error)
    result.seconds = time.monotonic() - begin
    return result
