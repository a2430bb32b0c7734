"""Work for a caller that may leave: it ends when there is nobody left to tell the result."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

from ztm.errors import BrokenStreamError
from ztm.rest.message import Request

T = TypeVar("T")


async def while_there(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """The result of `work`, which is given up when the caller goes away. The request's body is not for `work`.

    Raises:
        BrokenStreamError: the caller went away first.
    """
    doing = asyncio.ensure_future(work)
    try:
        await request.body()
        gone = asyncio.ensure_future(request.gone())
        try:
            await asyncio.wait((doing, gone), return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            await asyncio.gather(gone, return_exceptions=True)
        if not doing.done():
            raise BrokenStreamError(f"the caller of {request.method} {request.path} went away")
        return doing.result()
    finally:
        doing.cancel()
        await asyncio.gather(doing, return_exceptions=True)
