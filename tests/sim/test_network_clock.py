"""Virtual time: waiting is free, takes exactly as long as it says, and never hangs."""

import asyncio
import threading

import pytest

from ztm.testing import DeadlockError, run_virtual


def test_time_passes_exactly_and_costs_nothing() -> None:
    async def nap() -> float:
        loop = asyncio.get_running_loop()
        assert loop.time() == 0
        await asyncio.gather(asyncio.sleep(3600), asyncio.sleep(86_400.5))
        return loop.time()

    assert run_virtual(nap()) == pytest.approx(86_400.5)


def test_timers_fire_in_order() -> None:
    async def race() -> list[int]:
        order: list[int] = []

        async def runner(delay: int) -> None:
            await asyncio.sleep(delay)
            order.append(delay)

        await asyncio.gather(*(runner(delay) for delay in (5, 1, 4, 2, 3)))
        return order

    assert run_virtual(race()) == [1, 2, 3, 4, 5]


def test_a_timeout_is_virtual() -> None:
    async def wait() -> None:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()

    run_virtual(wait())


def test_a_deadlock_is_told_and_where_it_is() -> None:
    async def stuck_here() -> None:
        await asyncio.Event().wait()

    with pytest.raises(DeadlockError, match=r"1 tasks wait: .* in wait"):
        run_virtual(stuck_here())


def test_a_thread_is_waited_for_while_the_clock_stands_still() -> None:
    async def work() -> float:
        gate = threading.Event()
        loop = asyncio.get_running_loop()
        loop.call_soon(gate.set)
        await asyncio.to_thread(gate.wait)
        return loop.time()

    assert run_virtual(work()) == 0


def test_what_main_raises_comes_through() -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise ValueError("so")

    with pytest.raises(ValueError, match="so"):
        run_virtual(fail())
