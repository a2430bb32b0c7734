"""Packages of apps on this machine: made from a folder and signed by the agent, looked at, installed.

The agent signs and judges; here files are read, and people are asked.
"""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from ztm.apps.grammar import Arguments
from ztm.cli import output, transfer
from ztm.cli.context import YES, Context, attempting
from ztm.errors import ForbiddenError, NotFoundError, UsageError
from ztm.wire.paths import encode

ENDING = ".ztm-app"
"""Of a package's file, unless it is named otherwise."""
LEFT_OUT = ("__pycache__", "*.pyc", "*.egg-info", "node_modules", f"*{ENDING}")
"""What is never packed from a folder, besides hidden files."""

Report = Mapping[str, Any]
"""What the agent says of a package (`PackageReport`)."""


def manifest_of(folder: str) -> Any:
    """The checked manifest of the app in `folder`.

    Raises:
        NotFoundError: there is no folder, or no manifest in it.
        UsageError: it is malformed.
    """
    from ztm.apps.manifest import MANIFEST, read_manifest

    path = Path(folder).expanduser() / MANIFEST
    try:
        return read_manifest(path.read_bytes())
    except OSError as error:
        raise NotFoundError(
            f"no app in {folder}: cannot read {path} ({error.strerror}); 'ztm app new' begins one"
        ) from None


@contextmanager
def signed(context: Context, folder: str, tag: str = "") -> Iterator[BinaryIO]:
    """The package of the app in `folder`, signed by the agent's user, at its beginning; gone when this is left.

    Raises:
        ZtmError: there is no app, it cannot be packed, or the agent refused.
    """
    from ztm.agent.apps.package import pack

    manifest_of(folder)
    with tempfile.TemporaryFile() as file:
        with attempting(f"cannot pack {folder}"):
            pieces = pack(Path(folder).expanduser(), is_left_out)
            opened = context.client.offer(_path(context, "sign", {"tag": tag} if tag else {}), pieces, None)
            try:
                shutil.copyfileobj(opened.response, file)
            finally:
                opened.close()
            file.seek(0)
        yield file


def is_left_out(path: Path) -> bool:
    """Whether a file or folder of an app's folder is not packed."""
    return path.name.startswith(".") or any(path.match(pattern) for pattern in LEFT_OUT)


def _path(context: Context, what: str, query: Mapping[str, str] | None = None, more: str = "") -> str:
    from ztm.cli.resolve import mesh_path

    asked = "&".join(f"{name}={encode(value)}" for name, value in (query or {}).items())
    joined = "&".join(filter(None, (asked, more)))
    return f"{mesh_path(context.mesh)}/packages/{what}{f'?{joined}' if joined else ''}"


@contextmanager
def brought(context: Context, word: str, tag: str = "") -> Iterator[BinaryIO]:
    """The package that `word` means, a file or the folder of an app, at its beginning.

    Raises:
        ZtmError: there is none, or it cannot be packed.
    """
    if Path(word).expanduser().is_dir():
        with signed(context, word, tag) as file:
            yield file
        return
    if tag:
        raise UsageError("a package has its tag already: --tag is for a folder")
    with transfer.source(word) as (source, _), tempfile.TemporaryFile() as file:  # it is read twice
        shutil.copyfileobj(source, file)
        file.seek(0)
        yield file


def inspect(context: Context, file: BinaryIO) -> Report:
    """What the agent makes of a package; the file is at its beginning again afterwards.

    Raises:
        ZtmError: it is nothing to install.
    """
    report: Report = _sent(context, _path(context, "inspect"), file)
    file.seek(0)
    return report


def install(context: Context, file: BinaryIO, report: Report, *, is_development: bool = False) -> dict[str, Any]:
    """Have the agent install a package that was inspected, with all that it asks for; or only for its author to try.

    Raises:
        ZtmError: the agent refused.
    """
    granted = [str(one["permission"]) for one in report["permissions"]]
    more = "&".join(f"permission={encode(one)}" for one in granted) or "granting=nothing"
    asked = {"digest": str(report["digest"]), **({"development": "true"} if is_development else {})}
    found: dict[str, Any] = _sent(context, _path(context, "install", asked, more), file)
    return found


def _sent(context: Context, path: str, file: BinaryIO) -> Any:
    opened = context.client.offer(path, iter(lambda: file.read(transfer.PIECE), b""), None)
    try:
        return json.loads(opened.response.read())
    finally:
        opened.close()


def described(report: Report) -> str:
    """What its owner is to know before a package is installed."""
    name = f"{report['provider']}/{report['name']}{'@' + report['tag'] if report['tag'] else ''}"
    title = f", {report['title']}" if report["title"] else ""
    lines = [
        f"App {name} {report['version']}{title}",
        f"Publisher: {report['publisher']}",
        f"Digest: {report['digest']}",
    ]
    if report["installed"]:
        lines.append(f"Installed: {report['installed']}")
    lines.append("It asks to:" if report["permissions"] else "It asks for no permission.")
    widest = max((len(one["permission"]) for one in report["permissions"]), default=0)
    for one in report["permissions"]:
        is_new = report["installed"] and one["permission"] in report["newPermissions"]
        lines.append(f"  {one['permission']:<{widest}}  {one['meaning']}{' (new)' if is_new else ''}")
    return "\n".join(lines)


def ask_consent(context: Context, report: Report, arguments: Arguments) -> None:
    """Return if the owner wants this package here; an update that asks for nothing more needs no new word.

    Raises:
        ForbiddenError: there is nobody to ask, and nothing was said beforehand.
        ZtmError: the answer is not yes.
    """
    import sys

    context.out(described(report))
    if report["problems"]:
        return  # the agent will refuse, and say why
    is_granted = report["installed"] and not report["newPermissions"]
    if is_granted or arguments.flag(YES.name):
        return
    if not output.is_terminal(sys.stdin):
        raise ForbiddenError("nobody is here to ask; --yes installs it with what it asks for")
    context.confirm("Install it, and let it do that?", arguments)
