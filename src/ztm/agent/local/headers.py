"""The header fields that every answer of the local port has, and answers that need no application.

They tell a browser to run no scripts but our own files, to show us in no frame, to guess no types and to tell
our address to nobody. They decide nothing.
"""

import json

from ztm.agent.local.origins import Refusal
from ztm.net.asgi import Message, Send

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; form-action 'self'; "
    "frame-ancestors 'none'"
)
"""Source: https://www.w3.org/TR/CSP3/."""
RESOURCE_POLICY = (b"cross-origin-resource-policy", b"same-origin")
SECURITY = (
    (b"content-security-policy", POLICY.encode()),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-opener-policy", b"same-origin"),
    RESOURCE_POLICY,
)
NO_STORE = (b"cache-control", b"no-store")


def shielded(send: Send, origin: bytes | None, *, is_api: bool) -> Send:
    """`send` with those fields added to a head that does not say otherwise.

    `origin` is a page of elsewhere that was explicitly allowed and may read the answer.
    """
    added = [*SECURITY, NO_STORE] if is_api else list(SECURITY)
    if origin is not None:
        added.remove(RESOURCE_POLICY)
        added += [(b"access-control-allow-origin", origin), (b"vary", b"origin")]

    async def shown(message: Message) -> None:
        if message["type"] in ("http.response.start", "websocket.http.response.start"):
            own = list(message.get("headers", ()))
            said = {name.lower() for name, _ in own}
            message = {**message, "headers": [*own, *(field for field in added if field[0] not in said)]}
        await send(message)

    return shown


async def refuse(send: Send, refusal: Refusal, instance: bytes) -> None:
    """Answer with a refusal; `instance` tells a command line which agent's token it should have shown."""
    body = json.dumps({"status": refusal.status, "message": refusal.message}).encode()
    fields = [(b"content-type", b"application/json"), (b"ztm-agent", instance)]
    if refusal.status == 401:
        fields.append((b"www-authenticate", b'Bearer realm="ztm agent"'))
    await send({"type": "http.response.start", "status": refusal.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def allow(send: Send) -> None:
    """Answer the question of a page that was explicitly allowed (https://fetch.spec.whatwg.org, CORS preflight)."""
    fields = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", b"authorization, content-type, last-event-id"),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
