"""The smallest app: it greets the same app on another endpoint, and each remembers who greeted it last."""

from ztm_app import App, CommandContext, Request

app = App()


@app.user.get("/api/hello/{endpoint}")
async def hello(request: Request, endpoint: str) -> dict[str, object]:
    """For this machine's user: ``GET /api/meshes/MESH/apps/USER/hello/api/hello/ENDPOINT``."""
    reply = await app.mesh.request(endpoint, "GET", "/whoami")
    return {"from": app.endpoint.name, "reply": reply.json()}


@app.peer.get("/whoami")
async def whoami(request: Request) -> dict[str, str]:
    """For the same app elsewhere: the own user's endpoints only, since nothing else is said."""
    await app.files.write(f"/shared/{app.owner}/last.json", {"caller": request.peer.user})
    return {"name": app.endpoint.name, "you": request.peer.user}


@app.cli("say <endpoint>", help="Greet an endpoint")
async def say(ctx: CommandContext, endpoint: str) -> int:
    """``ztm hello say ENDPOINT``."""
    reply = await app.mesh.request(await ctx.resolve(endpoint), "GET", "/whoami")
    ctx.print(f"Hello from {reply.json()['name']}")
    return 0
