"""Apps of an endpoint: how they are shown, and starting, stopping, installing and publishing them.

Whether an app may be changed is decided by its endpoint's owner; here it is checked that what was asked came true.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ztm.apps.formats import Description, Listing
from ztm.apps.grammar import Arguments, Command, Option
from ztm.cli.context import YES, Context, attempting
from ztm.errors import ConflictError, ForbiddenError, NotFoundError, RefusedError, UnusableError, UsageError
from ztm.wire.paths import encode

HEADINGS, WIDE = ("NAME", "TAG", "STATE"), ("VERSION", "REASON")
STATES = ("Builtin", "Downloaded", "Published", "Disabled", "Running")
"""In v1's order; each is a field ``is...`` of an app object."""
UNWELL = ("restarting", "failed")
"""Of an app with a process of its own: what is shown of it besides."""
START_TIMEOUT = 60.0
"""Seconds: an app may have to be downloaded from another endpoint first."""

App = Mapping[str, Any]


def listing(context: Context, name: str) -> Listing:
    """The apps of the endpoint, and those published in the mesh; or those that ``[provider/]name[@tag]`` means.

    Raises:
        UsageError: the name is malformed.
        ForbiddenError: the endpoint is another user's.
    """
    chosen = _meant(name) if name else lambda _app: True
    found = [app for app in _apps(context) if chosen(app)]
    keys = {"NAME": full_name}
    return Listing(found, HEADINGS, _row, WIDE, _wide_row, name=full_name, keys=keys)


def _row(app: App) -> tuple[object, ...]:
    states = [state.lower() for state in STATES if app.get(f"is{state}")]
    process = app.get("process") or {}
    states += ["development"] if app.get("isDevelopment") else []
    states += [process["state"]] if process.get("state") in UNWELL else []
    return f"{app['provider']}/{app['name']}", app.get("tag"), ", ".join(states)


def _wide_row(app: App) -> tuple[object, ...]:
    return app.get("version"), (app.get("process") or {}).get("reason")


def full_name(app: App) -> str:
    """``provider/name[@tag]``."""
    tag = app.get("tag")
    return f"{app['provider']}/{app['name']}{f'@{tag}' if tag else ''}"


def _meant(word: str) -> Callable[[App], bool]:
    """Whether an app is one that ``[provider/]name[@tag]`` means.

    Raises:
        UsageError: it is not of that form.
    """
    whole, at, tag = word.partition("@")
    provider, slash, name = whole.rpartition("/")
    if not name or "/" in provider or (slash and not provider) or (at and not tag):
        raise UsageError(f"invalid app name '{word}' (write [provider/]name[@tag])")

    def is_meant(app: App) -> bool:
        return app["name"] == name and (app.get("tag") or "") == tag and provider in ("", app["provider"])

    return is_meant


def _apps(context: Context) -> list[dict[str, Any]]:
    """All apps of the chosen endpoint and of the mesh, sorted.

    Raises:
        ForbiddenError: the endpoint is another user's.
    """
    target = context.endpoint
    with attempting(f"cannot see the apps of endpoint '{target.name}'"):
        found: list[dict[str, Any]] = context.ask("GET", f"/endpoints/{target.id}/apps") or []
        if not found:
            _check_owner(context)
        known = {full_name(app) for app in found}
        found += [app for app in context.ask("GET", "/apps") or [] if full_name(app) not in known]
    return sorted(found, key=lambda app: (app["provider"], app["name"], app.get("tag") or ""))


def _check_owner(context: Context) -> None:
    """Tell another user's endpoint from one without apps, where the agent shows both as an empty list.

    Raises:
        ForbiddenError: the endpoint is another user's.
    """
    own = context.mesh_object["agent"]
    if context.endpoint.id == own["id"]:
        return
    owner = (context.ask("GET", f"/endpoints/{context.endpoint.id}") or {}).get("username")
    if owner != own.get("username"):
        raise ForbiddenError(f"it belongs to user '{owner}', and you are '{own.get('username')}'")


def find(context: Context, word: str) -> dict[str, Any]:
    """The app that ``[provider/]name[@tag]`` means: one of the endpoint, else one published in the mesh.

    Raises:
        UsageError: the name is malformed.
        NotFoundError: there is none.
        ConflictError: several providers have one of this name.
        ForbiddenError: the endpoint is another user's.
    """
    is_meant = _meant(word)
    found = [app for app in _apps(context) if is_meant(app)]
    local = [app for app in found if any(app.get(f"is{state}") for state in STATES)]
    chosen = local or found
    if not chosen:
        raise NotFoundError(f"app not found: {word} (see 'ztm get app')")
    if len(chosen) > 1:
        names = ", ".join(map(full_name, chosen))
        raise ConflictError(f"ambiguous app name '{word}': use one of {names}")
    return chosen[0]


def path_of(context: Context, app: App) -> str:
    """Where the agent has this app of the chosen endpoint, below the mesh's own path."""
    name = full_name(app).partition("/")[2]
    return f"/endpoints/{context.endpoint.id}/apps/{encode(str(app['provider']))}/{encode(name)}"


def description(context: Context, name: str) -> Description:
    """All about the app that `name` means.

    Raises:
        ZtmError: as `find`.
    """
    app = find(context, name)
    lines = [f"App: {app['name']}", f"Tag: {app.get('tag') or '(untagged)'}", f"Provider: {app['provider']}", "State:"]
    lines += [f"  {state:<10}: {'Yes' if app.get(f'is{state}') else 'No'}" for state in STATES]
    lines += _by_others(app)
    return Description(app, "\n".join(lines), full_name(app))


def _by_others(app: App) -> list[str]:
    """What is to be said of an app that is not built in, as far as its agent says it."""
    if app.get("isBuiltin"):
        return []
    told = [("Runtime", "runtime"), ("Version", "version"), ("Title", "title"), ("Publisher", "publisher")]
    told += [("Digest", "digest"), ("Earlier version", "previous")]
    lines = [f"{label}: {app[field]}" for label, field in told if app.get(field)]
    if app.get("isDevelopment"):
        lines.append("Installed: only for development, by 'ztm app run'; whatever is installed next replaces it")
    permissions = app.get("permissions")
    if permissions is not None:
        lines.append("It may:" if permissions else "It may: nothing but answer")
        widest = max((len(one["permission"]) for one in permissions), default=0)
        lines += [f"  {one['permission']:<{widest}}  {one['meaning']}" for one in permissions]
    return lines + _process(app.get("process"))


def _process(process: Mapping[str, Any] | None) -> list[str]:
    if not process:
        return []
    reason = f" ({process['reason']})" if process.get("reason") else ""
    lines = [f"Process: {process['state']}{reason}", f"Restarts: {process.get('restarts', 0)}"]
    return [*lines, f"Confinement: {process['confinement']}"] if process.get("confinement") else lines


def download(context: Context, arguments: Arguments) -> None:
    """Install an app that is published in the mesh, once its owner consents; here, or on another endpoint.

    An agent of v1 is asked as it knows it: it installs without a package's signature, and v1's apps only.

    Raises:
        ForbiddenError: nobody consents.
        UnusableError: it cannot run there.
        ZtmError: as `find`, or it cannot be fetched or stored.
    """
    from ztm.cli import apppack

    app = find(context, arguments.word("app name"))
    where = f"app '{full_name(app)}' on endpoint '{context.endpoint.name}'"
    if app.get("isBuiltin"):
        return
    body: dict[str, Any] = {}
    with attempting(f"cannot download {where}"):
        report = _report(context, app)
        if report is not None:
            apppack.ask_consent(context, report, arguments)
            permissions = [one["permission"] for one in report["permissions"]]
            body = {"consent": {"digest": report["digest"], "permissions": permissions}}
        changed = context.ask("POST", path_of(context, app), body, timeout=START_TIMEOUT)
    _check("download", where, changed, "Downloaded", to=True)


def _report(context: Context, app: App) -> Mapping[str, Any] | None:
    """What a published package is; None where an agent of v1 is to judge that."""
    is_here = context.endpoint.id == context.mesh_object["agent"]["id"]
    name = full_name(app).partition("/")[2]
    try:
        found: Mapping[str, Any] = context.ask(
            "GET", f"/packages/{encode(str(app['provider']))}/{encode(name)}", timeout=START_TIMEOUT
        )
    except NotFoundError:
        return None
    except UnusableError:
        if is_here:
            raise
        return None
    return found


def _change(verb: str, state: str, *, to: bool = True) -> Callable[[Context, Arguments], None]:
    """A command that changes one state of an app."""

    def run(context: Context, arguments: Arguments) -> None:
        app = find(context, arguments.word("app name"))
        where = f"app '{full_name(app)}' on endpoint '{context.endpoint.name}'"
        body = {f"is{state}": to}
        with attempting(f"cannot {verb} {where}"):
            changed = context.ask("POST", path_of(context, app), body, timeout=START_TIMEOUT)
        _check(verb, where, changed, state, to=to)

    return run


def _check(verb: str, where: str, changed: Any, state: str, *, to: bool) -> None:
    """Make sure that the agent's answer shows what was asked for: v1's answers success in either case.

    Raises:
        NotFoundError: there is no such app after all.
        RefusedError: it is as it was.
    """
    if not isinstance(changed, dict):
        raise NotFoundError(f"cannot {verb} {where}: it is not installed, and not to be had in the mesh")
    is_so = bool(changed.get(f"is{state}")) or (state == "Downloaded" and bool(changed.get("isBuiltin")))
    if is_so != to:
        raise RefusedError(
            f"cannot {verb} {where}: it is {'not ' if to else 'still '}{state.lower()}; "
            "see 'ztm log ep' there, and whether that agent is an older one which ignores this"
        )


def erase(context: Context, arguments: Arguments) -> None:
    """Stop an app and delete what is installed of it; asks first on a terminal.

    Raises:
        ConflictError: it is built in, or not installed.
        RefusedError: the agent left it as it is.
        ZtmError: as `find`.
    """
    app = find(context, arguments.word("app name"))
    where = f"app '{full_name(app)}' on endpoint '{context.endpoint.name}'"
    if app.get("isBuiltin"):
        raise ConflictError(f"cannot erase {where}: it is built in (stop it by 'ztm disable app {full_name(app)}')")
    if not app.get("isDownloaded"):
        raise ConflictError(f"cannot erase {where}: it is not installed there")
    context.confirm(f"Erase {where}, deleting its files there?", arguments)
    with attempting(f"cannot erase {where}"):
        context.ask("DELETE", path_of(context, app))
        try:
            left = context.ask("GET", path_of(context, app)) or {}
        except NotFoundError:
            return
    if left.get("isDownloaded"):
        raise RefusedError(f"cannot erase {where}: its agent left it as it is")


REMOTE = "Acts on this endpoint; on another one of yours with 'ztm ep NAME ...'."


def _command(
    verb: str, title: str, run: Callable[[Context, Arguments], None], options: tuple[Option, ...] = ()
) -> Command[Context, int | None]:
    return Command(usage=f"{verb} app|apps <app name>", title=title, run=run, notes=REMOTE, options=options)


COMMANDS = (
    _command("start", "Start an app", _change("start", "Running")),
    _command("stop", "Stop an app", _change("stop", "Running", to=False)),
    _command("enable", "Let an app be started again", _change("enable", "Disabled", to=False)),
    _command("disable", "Stop an app, and keep it from being started", _change("disable", "Disabled")),
    _command("download", "Install an app that is published in the mesh", download, options=(YES,)),
    _command("erase", "Delete an installed app", erase, options=(YES,)),
    _command("publish", "Publish an app of yours in the mesh", _change("publish", "Published")),
    _command("unpublish", "Take an app of yours back from the mesh", _change("unpublish", "Published", to=False)),
)
