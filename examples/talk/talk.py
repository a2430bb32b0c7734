"""Messages: to one endpoint, which keeps them in its inbox, and to all, in files that the mesh shares.

Whoever sends is known by its certificate. Only the owner reads an inbox; everybody may put a message there.
"""

import asyncio
import time
from dataclasses import asdict, dataclass, replace

from ztm_app import App, CommandContext, Request, UsageError

INBOX = "/local/inbox.json"
KEPT = 100
"""Messages of one file; older ones go."""
MAX_TEXT = 2000

app = App()
changing = asyncio.Lock()


@dataclass
class Message:
    """What was said, and by whom as far as the certificate of the caller says."""

    text: str
    user: str = ""
    time: float = 0.0


async def keep(path: str, message: Message, user: str) -> None:
    """Add a message to a file of messages."""
    if not 0 < len(message.text) <= MAX_TEXT:
        raise UsageError(f"a message has 1 to {MAX_TEXT} characters")
    async with changing:
        messages = await app.files.read_json(path, [])
        messages.append(asdict(replace(message, user=user, time=time.time())))
        await app.files.write(path, messages[-KEPT:])


@app.peer.post("/messages", allow="any")
async def take(request: Request) -> None:
    """A message from another endpoint."""
    await keep(INBOX, await request.json(Message), request.peer.user)
    app.log.info("a message from %s", request.peer.user)


@app.user.get("/api/inbox")
async def inbox(request: Request) -> list[object]:
    """What came to this endpoint."""
    return await app.files.read_json(INBOX, [])


@app.user.post("/api/messages/{endpoint}")
async def send(request: Request, endpoint: str) -> None:
    """Send ``{"text": ...}`` to an endpoint, by its id."""
    await app.mesh.request(endpoint, "POST", "/messages", asdict(await request.json(Message)))


@app.user.get("/api/history")
async def history(request: Request) -> list[object]:
    """What everybody said to all, oldest first. Each user's file is written by that user alone."""
    found = []
    for file in await app.files.list("/shared/"):
        said_by = file.path.split("/")[2]
        found += [{**message, "user": said_by} for message in await app.files.read_json(file.path, [])]
    return sorted(found, key=lambda message: message["time"])


@app.user.post("/api/history")
async def say_to_all(request: Request) -> None:
    """Say ``{"text": ...}`` to all."""
    await keep(f"/shared/{app.owner}/said.json", await request.json(Message), app.owner)


@app.cli("tell <endpoint> <text>", help="Send a message to an endpoint")
async def tell(ctx: CommandContext, endpoint: str, text: str) -> None:
    """``ztm talk tell laptop "good morning"``."""
    await app.mesh.request(await ctx.resolve(endpoint), "POST", "/messages", {"text": text})


@app.cli("say <text>", help="Say something to everybody")
async def say(ctx: CommandContext, text: str) -> None:
    """``ztm talk say hello``."""
    await keep(f"/shared/{app.owner}/said.json", Message(text), app.owner)


@app.cli("inbox", help="Show what was sent to this endpoint")
async def show_inbox(ctx: CommandContext) -> None:
    """``ztm talk inbox``."""
    for message in await app.files.read_json(INBOX, []):
        ctx.print(f"{message['user']}: {message['text']}")


@app.cli("history", help="Show what everybody said")
async def show_history(ctx: CommandContext) -> None:
    """``ztm talk history``."""
    for file in await app.files.list("/shared/"):
        for message in await app.files.read_json(file.path, []):
            ctx.print(f"{file.path.split('/')[2]}: {message['text']}")
