"""A coroutine beside its caller: when it runs, and how it ends."""

import asyncio

import pytest

from ztm.net.aside import Aside


async def test_it_begins_at_once_and_goes_on_with_what_it_waits_for() -> None:
    seen: list[str] = []
    waiter: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        seen.append("begun")
        seen.append(await waiter)
        await asyncio.sleep(0)
        seen.append("over")

    aside = Aside(work())
    assert seen == ["begun"]
    waiter.set_result("came")
    while "over" not in seen:
        await asyncio.sleep(0)
    assert seen == ["begun", "came", "over"]
    aside.stop()


async def test_a_stop_ends_it_where_it_waits_and_cleans_up() -> None:
    seen: list[str] = []
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await waiter
        finally:
            seen.append("cleaned up")

    aside = Aside(work())
    aside.stop()
    assert seen == ["cleaned up"]
    waiter.set_result(None)
    await asyncio.sleep(0)
    aside.stop()
    assert seen == ["cleaned up"]


async def test_what_it_waits_for_fails_inside_it() -> None:
    seen: list[str] = []
    waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def work() -> None:
        try:
            await waiter
        except OSError as error:
            seen.append(str(error))

    Aside(work())
    waiter.set_exception(OSError("lost"))
    await asyncio.sleep(0)
    assert seen == ["lost"]


async def test_an_error_before_it_waits_is_its_callers() -> None:
    async def work() -> None:
        raise OSError("at once")

    with pytest.raises(OSError, match="at once"):
        Aside(work())
