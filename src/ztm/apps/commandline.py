"""Running an app's commands from their table: words in, text and an exit status out.

An app that takes its words in another way does not use it.
"""

import json
from collections.abc import Sequence
from typing import Any

from ztm.apps import formats, text
from ztm.apps.base import AppContext
from ztm.apps.command import AppCommands, Console, EndpointRef
from ztm.apps.grammar import Arguments, Grammar, wants_help
from ztm.apps.help import help_text
from ztm.errors import BrokenStreamError, CertificateError, ConflictError, NotFoundError, UsageError, ZtmError
from ztm.net.asgi import PEER, ASGIApp
from ztm.rest.client import check
from ztm.rest.inprocess import ask

FAILED = 1
WRONG_USAGE = 2


async def run_command(
    context: AppContext,
    api: ASGIApp,
    console: Console,
    commands: AppCommands,
    notes: str = "",
    words: Sequence[str] | None = None,
) -> int:
    """Run one of an app's `commands`, which asks its own `api` as its user does; the exit status.

    `notes` end the list of commands in the app's help. `words` are what was meant, where it is more than was typed.
    What fails is told on the caller's standard error.

    Raises:
        BrokenStreamError: the caller went away.
    """
    one = _Run(context, console, api)
    words = console.call.words if words is None else words
    try:
        return await _run(one, Grammar(console.call.program, commands), words, notes)
    except BrokenStreamError:
        raise
    except ZtmError as error:
        said = await one.named(" ".join(str(error).split()))
        await console.complain(f"ztm: {text.clean(said)}\n".encode())
        return WRONG_USAGE if isinstance(error, UsageError) and not isinstance(error, CertificateError) else FAILED


async def _run(one: "_Run", grammar: Grammar[Any, Any], words: Sequence[str], notes: str) -> int:
    if not words:
        raise UsageError(f"no command given. {grammar.hint()}")
    if words[0] == "help" or wants_help(words):
        await one.out(help_text(grammar, words[1:] if words[0] == "help" else words, notes=notes))
        return 0
    command, arguments = grammar.parse(words)
    return await command.run(one, arguments) or 0


class _Run:
    """See `AppCommand`."""

    def __init__(self, context: AppContext, console: Console, api: ASGIApp) -> None:
        self._context = context
        self._api = api
        self.console = console

    @property
    def mesh(self) -> str:
        return self._context.mesh

    @property
    def endpoint(self) -> EndpointRef:
        return self.console.call.endpoint

    async def api(self, method: str, path: str, body: object = None) -> Any:
        payload = b"" if body is None else json.dumps(body).encode()
        answer = await ask(self._api, method, path, payload, extensions={PEER: None})
        content = check(answer, f"{method} {path}").body
        return json.loads(content) if content else None

    async def find_endpoint(self, word: str) -> EndpointRef:
        found = await self._context.endpoints(id=word, name=word)
        by_id = [one for one in found if one.id == word]
        named = by_id or [one for one in found if one.name == word]
        if not named:
            raise NotFoundError(f"endpoint '{word}' not found (see 'ztm get ep')")
        if len(named) > 1:
            ids = ", ".join(one.id for one in named)
            raise ConflictError(f"ambiguous endpoint name '{word}': use one of the ids {ids}")
        return EndpointRef(named[0].id, named[0].name)

    async def endpoint_names(self) -> dict[str, str]:
        return {one.id: one.name for one in await self._context.endpoints()}

    async def named(self, message: str) -> str:
        """`message` with names for the ids of endpoints, where they are to be had."""
        said = text.with_names(message, {self.endpoint.id: self.endpoint.name})
        if not text.speaks_of_ids(said):
            return said
        try:
            return text.with_names(said, await self.endpoint_names())
        except BrokenStreamError:
            raise
        except ZtmError:
            return said

    async def out(self, shown: str) -> None:
        await self.console.write(f"{text.clean(shown)}\n".encode())

    async def show(self, found: formats.Listing | formats.Description, arguments: Arguments) -> None:
        shown = formats.in_form(found, arguments)
        if shown:
            await self.out(shown)
