"""`ztm gui`: the web page, or that of an app by others, signed in by a link that works once.

The link is never among a program's arguments, which every user of the machine can see.
"""

import os
import sys
from html import escape
from pathlib import Path

from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import Context
from ztm.errors import NotFoundError, StorageError
from ztm.wire.paths import encode

APP = Option("--app", "<app name>", "Open the page of this app by others, as [provider/]name")
PAGE = """<!doctype html>
<meta charset="utf-8">
<meta name="referrer" content="no-referrer">
<meta http-equiv="refresh" content="0; url={url}">
<title>ztm</title>
<p>This page leads to your ztm agent, once and within a minute: <a href="{url}">go on</a>.</p>
"""
"""What the browser is given to open; a file of mode 0600, worthless once it was used."""


def gui(context: Context, arguments: Arguments) -> None:
    """Ask the agent for a link, print it, and open it where there is a screen.

    Raises:
        NotFoundError: there is no app of that name here, or it has no page of its own.
        ZtmError: the agent does not answer, or refuses.
    """
    query = _query(context, arguments.value(APP.name) or "")
    url = str(context.client.request("POST", "/api/login/links")["url"]) + query
    if arguments.flag("--print"):
        context.out(url)
        return
    if not arguments.flag("--no-open") and _open(url):
        context.out(f"Opened in the browser. If it does not appear, open this within a minute:\n{url}")
    else:
        context.out(f"Open this in a browser within a minute; it works once:\n{url}")


def _query(context: Context, app: str) -> str:
    """What of a link's URL says that it leads to the page of `app`; nothing for the agent's own.

    Raises:
        NotFoundError: it has no page of its own here.
    """
    if not app:
        return ""
    from ztm.cli.app import find, full_name

    found = find(context, app)
    name = full_name(found)
    if found.get("isBuiltin") or not found.get("isDownloaded"):
        why = "is built in: its page is a part of the agent's" if found.get("isBuiltin") else "is not installed here"
        raise NotFoundError(f"app {name} {why}")
    return f"?mesh={encode(context.mesh)}&app={encode(name)}"


def _open(url: str) -> bool:
    """Whether a browser of this desktop took the URL; a text browser would take the terminal, so it is not asked."""
    if not (sys.platform in ("darwin", "win32") or os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
        return False
    import webbrowser

    from ztm.cli.files import write_private

    page = Path.home() / ".ztm" / "gui.html"
    try:
        page.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        write_private(page, PAGE.format(url=escape(url)))
        return webbrowser.open(page.as_uri())
    except (webbrowser.Error, StorageError, OSError):
        return False


COMMANDS: tuple[Command[Context, int | None], ...] = (
    Command(
        usage="gui",
        title="Open the agent's web page, signed in",
        run=gui,
        local=True,
        options=(
            APP,
            Option("--no-open", "", "Print the link, and open no browser"),
            Option("--print", "", "Print nothing but the link"),
        ),
        notes="The link signs in one browser, once, within a minute. For a browser on another machine, forward the\n"
        "agent's port to the same port there first (ssh -L 7777:127.0.0.1:7777 host).",
    ),
)
