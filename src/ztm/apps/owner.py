"""Running a request on the endpoint that its path names: here, or forwarded to the same app there.

It is the only place where an app forwards; handlers know only "here". Who may ask what is decided by the
endpoint that answers.

Source: spec apps-network, introduction (user-facing routes with ``{ep}``).
"""

from collections.abc import Awaitable, Callable

from ztm.apps.base import AppContext
from ztm.errors import from_status
from ztm.model import check_uuid
from ztm.rest.client import Answer, error_of
from ztm.rest.message import JSON, Request, Response
from ztm.rest.router import Handler

PREFIX = "/api/endpoints/{ep}"
"""What a user-facing path of an endpoint begins with; the peer's own path has ``/api`` instead."""

Body = Callable[[Request], Awaitable[bytes]]


def at_owner(context: AppContext, handler: Handler, *, body: Body = Request.body, query: str = "") -> Handler:
    """Wrap a handler so that it runs on the endpoint that the path's ``{ep}`` names.

    `body` gives what is sent to another endpoint: by default the body as it came; another one can check it
    first, and write out what the other side might take differently. `query` is sent with the target where
    the request itself has none.

    The handler made raises:
        UsageError: ``{ep}`` is no endpoint id.
        ZtmError: the other endpoint cannot be reached, or refused; the message names it.
    """

    async def run(request: Request) -> Response | None:
        owner = check_uuid("endpoint", request.params["ep"])
        if owner == context.place.id:
            return await handler(request)
        content = await body(request)
        answer = await context.request(owner, request.method, peer_target(request, query), content)
        return relayed(owner, request.method, answer)

    return run


def peer_target(request: Request, query: str = "") -> str:
    """The request target on the peer: without ``/endpoints/{ep}``, and still percent-encoded."""
    rest = request.raw_path.split("/", 4)[4]
    query = request.raw_query or query
    return f"/api/{rest}?{query}" if query else f"/api/{rest}"


def relayed(owner: str, method: str, answer: Answer) -> Response:
    """Another endpoint's answer as our own.

    Raises:
        ZtmError: it is a refusal; of the kind that its status stands for, naming the endpoint.
    """
    if not 200 <= answer.status < 300:
        error = error_of(answer, method)
        raise from_status(answer.status, f"endpoint {owner}: {error}")
    content_type = next((value for name, value in answer.headers if name == "content-type"), JSON)
    return Response(answer.status, answer.body or None, content_type if answer.body else None)
