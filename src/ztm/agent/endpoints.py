"""Asking the hub about endpoints, and endpoints themselves by way of their hub.

Who may ask what is decided by the hub and the endpoint; here it is only said in words what they mean.
"""

from collections.abc import Callable, Collection, Mapping
from typing import TypeVar

from ztm.agent.hublink import HubLink
from ztm.agent.mesh import Mesh
from ztm.errors import ForbiddenError, LimitError, NotFoundError, UnreachableError, UsageError
from ztm.model import Endpoint, check_uuid
from ztm.wire import codec, paths

HUB_PAGE = 1000
"""Rows that are asked for at once where all are needed."""
MOST_ROWS = 20_000
"""Rows looked through for one answer; beyond it the total is not told."""

R = TypeVar("R")


async def rows(
    link: HubLink,
    template: str,
    decode: Callable[[bytes], list[R]],
    wanted: Mapping[str, str],
    offset: int,
    limit: int,
    is_chosen: Callable[[R], bool] | None = None,
) -> tuple[list[R], int | None]:
    """A page of one of the hub's lists, and how many rows there are in all, or None where that is unknown.

    `is_chosen` is what the hub cannot filter by itself. Where the page is the last one, nothing more is asked.

    Raises:
        LimitError: there are too many rows to look through.
        ZtmError: the hub does not answer, or refuses.
    """
    if is_chosen is None:
        found = await _page(link, template, decode, wanted, offset, limit)
        if len(found) < limit and (found or not offset):
            return found, offset + len(found)
        every = await _every(link, template, decode, wanted)
        return found, None if every is None else len(every)
    every = await _every(link, template, decode, wanted)
    if every is None:
        raise LimitError(f"more than {MOST_ROWS} rows would have to be looked through: narrow it down by other filters")
    chosen = [row for row in every if is_chosen(row)]
    return chosen[offset : offset + limit], len(chosen)


async def _page(
    link: HubLink, template: str, decode: Callable[[bytes], list[R]], wanted: Mapping[str, str], offset: int, limit: int
) -> list[R]:
    query: dict[str, str | int] = {name: value for name, value in wanted.items() if value}
    return decode(await link.ask("GET", paths.fill(template, query | {"limit": limit, "offset": offset})))[:limit]


async def _every(
    link: HubLink, template: str, decode: Callable[[bytes], list[R]], wanted: Mapping[str, str]
) -> list[R] | None:
    """All rows; None if there are too many."""
    found: list[R] = []
    while len(found) <= MOST_ROWS:
        page = await _page(link, template, decode, wanted, len(found), HUB_PAGE)
        found += page
        if not page or (link.is_own and len(page) < HUB_PAGE):  # another hub may give less than was asked for
            return found
    return None


def has_labels(labels: Collection[str]) -> Callable[[Endpoint], bool]:
    """Whether an endpoint has all of these labels."""
    return lambda endpoint: set(labels) <= set(endpoint.labels)


async def endpoint_of(mesh: Mesh, endpoint: str) -> Endpoint:
    """What the hub knows of an endpoint.

    Raises:
        NotFoundError: it knows none of that id.
        ZtmError: it does not answer.
    """
    try:
        check_uuid("endpoint", endpoint)
        body = await mesh.link().ask("GET", paths.fill(paths.ENDPOINT, ep=endpoint))
    except (NotFoundError, UsageError) as error:
        raise NotFoundError(f"endpoint '{endpoint}' not found in mesh {mesh.name}") from error
    return codec.decode_endpoint(body)


async def forward(
    mesh: Mesh,
    method: str,
    endpoint: str,
    rest: str,
    body: bytes = b"",
    *,
    query: Mapping[str, str] | None = None,
) -> bytes:
    """Ask another endpoint of the own user, by way of the hub where it is.

    Raises:
        NotFoundError: there is no such endpoint, or what was asked for is not there.
        ForbiddenError: it belongs to another user.
        UnreachableError: it is offline.
        ZtmError: it refused, or did not answer.
    """
    found = await endpoint_of(mesh, endpoint)
    if found.user != mesh.user:
        raise ForbiddenError(f"endpoint {found.name} belongs to user {found.user}, and you are {mesh.user}")
    if not found.online:
        raise UnreachableError(f"endpoint {found.name} is offline")
    link = await mesh.link_to(found, mesh.link())
    return await link.ask(method, paths.fill(paths.FORWARD, query, ep=endpoint, rest=rest), body)
