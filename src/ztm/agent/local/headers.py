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


OWN = frozenset(
    {
        *(name for name, _ in SECURITY),
        *(b"cache-control", b"set-cookie", b"set-cookie2", b"clear-site-data", b"service-worker-allowed"),
        *(b"www-authenticate", b"proxy-authenticate", b"strict-transport-security", b"alt-svc", b"refresh"),
        *(b"report-to", b"reporting-endpoints", b"nel", b"ztm-agent"),
    }
)
"""Fields that act beyond the answer they come with, or undo what is said here: no app by others sets them."""
OWN_BEGINNINGS = (b"access-control-", b"cross-origin-", b"content-security-policy")


def app_policy(own: str) -> str:
    """The policy of what an app by others answers: an origin of its own, in which it reaches only what is below `own`.

    `own` is a URL that ends with a slash; without it, nothing is run or loaded at all.
    Source: https://www.w3.org/TR/CSP3/; a sandbox without allow-same-origin has an opaque origin.
    """
    if not own:
        return "sandbox; default-src 'none'; frame-ancestors 'none'"
    live = "ws" + own.removeprefix("http")
    return (
        "sandbox allow-scripts allow-forms allow-modals allow-downloads; "
        f"default-src {own} 'unsafe-inline' 'wasm-unsafe-eval' data: blob:; connect-src {own} {live} data: blob:; "
        f"form-action {own}; base-uri {own}; object-src 'none'; webrtc 'block'; frame-ancestors 'self'"
    )


def contained(send: Send, own: str = "", *, is_opaque: bool = False) -> Send:
    """`send` for an app by others: with `app_policy` and without fields that are not the app's to set.

    `is_opaque` is whether a page without an origin asks, which may then read the answer.
    """
    added = [
        (b"content-security-policy", app_policy(own).encode()),
        (b"x-frame-options", b"SAMEORIGIN" if own else b"DENY"),
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"no-referrer"),
        (b"cross-origin-opener-policy", b"unsafe-none"),
        (b"cross-origin-resource-policy", b"cross-origin" if own else b"same-origin"),
        NO_STORE,
    ]
    if is_opaque:
        added += [(b"access-control-allow-origin", b"null"), (b"vary", b"origin")]

    async def shown(message: Message) -> None:
        kind = message["type"]
        if kind in ("http.response.start", "websocket.http.response.start", "websocket.accept"):
            kept = [(name, value) for name, value in message.get("headers") or () if not _is_ours(name.lower())]
            message = {**message, "headers": kept if kind == "websocket.accept" else [*kept, *added]}
        await send(message)

    return shown


def _is_ours(name: bytes) -> bool:
    return name in OWN or name.startswith(OWN_BEGINNINGS)


async def refuse(send: Send, refusal: Refusal, instance: bytes) -> None:
    """Answer with a refusal; `instance` tells a command line which agent's token it should have shown."""
    body = json.dumps({"status": refusal.status, "message": refusal.message}).encode()
    fields = [(b"content-type", b"application/json"), (b"ztm-agent", instance)]
    if refusal.status == 401:
        fields.append((b"www-authenticate", b'Bearer realm="ztm agent"'))
    await send({"type": "http.response.start", "status": refusal.status, "headers": fields})
    await send({"type": "http.response.body", "body": body})


async def allow(send: Send, headers: bytes = b"authorization, content-type, last-event-id") -> None:
    """Answer the question of a page that may ask, by `headers` as well (https://fetch.spec.whatwg.org, preflight)."""
    fields = [
        (b"access-control-allow-methods", b"GET, HEAD, POST, PUT, PATCH, DELETE"),
        (b"access-control-allow-headers", headers),
        (b"access-control-allow-private-network", b"true"),
        (b"access-control-max-age", b"600"),
    ]
    await send({"type": "http.response.start", "status": 204, "headers": fields})
    await send({"type": "http.response.body", "body": b""})
