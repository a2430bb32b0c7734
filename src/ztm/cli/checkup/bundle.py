"""What `ztm doctor --bundle` writes: one archive for others to read.

It holds no key, token, password or permit: data directories are not read but for the names, sizes and modes of files,
and every text passes `clean_of_secrets`.
"""

import io
import json
import os
import platform
import stat
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ztm.cli.checkup.certificate import iso, utc_now
from ztm.cli.context import Context
from ztm.errors import StorageError, ZtmError

PATIENCE = 5.0
"""Seconds for one log."""
JOURNAL_LINES = "300"
"""Lines of each service's journal."""
MAX_FILES = 200
"""Files of one data directory that are listed."""

Objects = Sequence[Mapping[str, Any]]


def write(context: Context, path: Path, report: Mapping[str, Any], findings: Objects) -> None:
    """Write the archive, mode 0600, whole or not at all.

    Raises:
        StorageError: it cannot be written.
    """
    texts = {
        "about.json": _json({"written": iso(utc_now()), "ztm": report["cli"], "agent": report["agent"]}),
        "system.json": _json(_system()),
        "config.json": _json(_settings()),
        "status.json": _json(report),
        "doctor.json": _json(findings),
        "files.json": _json(_files()),
        **dict(_logs(context, report)),
        **dict(_journals(report)),
    }
    secrets = _tokens()
    _store(path, {name: clean_of_secrets(text, secrets) for name, text in texts.items()})


def clean_of_secrets(text: str, known: Sequence[str] = ()) -> str:
    """`text` without private keys, tokens, passwords in URLs, and the `known` secrets."""
    from ztm.logs import redact

    for secret in known:
        text = text.replace(secret, "[secret]")
    return redact(text)


def _tokens() -> list[str]:
    """Tokens of this user's agents, to be blotted out wherever they might stand."""
    from ztm.cli.checkup.here import data_directories
    from ztm.cli.tokens import VARIABLE

    found = [os.environ.get(VARIABLE, "").strip()]
    for directory in data_directories(None):
        try:
            found.append((directory / "api.token").read_text(encoding="ascii").strip())
        except (OSError, ValueError):
            continue
    return [token for token in dict.fromkeys(found) if token]


def _system() -> dict[str, Any]:
    import ssl
    from importlib import metadata

    packages = ("cryptography", "h2", "h11", "msgspec", "uvloop")
    versions = {}
    for name in packages:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return {
        "system": platform.platform(),
        "machine": platform.machine(),
        "python": sys.version,
        "openssl": ssl.OPENSSL_VERSION,
        "packages": versions,
        "container": Path("/.dockerenv").exists() or Path("/run/.containerenv").exists(),
        "serviceManager": Path("/run/systemd/system").is_dir(),
        "variables": sorted(name for name in os.environ if name.startswith("ZTM_")),
    }


def _settings() -> dict[str, Any]:
    from ztm.cli import settings

    found = {key: settings.effective(key) for key in settings.DEFAULTS}
    return {key: {"value": one.value, "source": one.source} for key, one in found.items()}


def _files() -> dict[str, Any]:
    """Names, sizes and modes of what is in the known data directories."""
    from ztm.cli.checkup.here import data_directories

    listed: dict[str, Any] = {}
    for directory in data_directories(None):
        try:
            names = sorted(directory.iterdir())[:MAX_FILES]
            listed[str(directory)] = [_file(one) for one in names]
        except OSError as error:
            listed[str(directory)] = error.strerror or str(error)
    return listed


def _file(path: Path) -> dict[str, Any]:
    found = path.lstat()
    return {"name": path.name, "size": found.st_size, "mode": stat.filemode(found.st_mode), "uid": found.st_uid}


def _logs(context: Context, report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The agent's log of each mesh."""
    from ztm.cli.resolve import mesh_path

    for number, mesh in enumerate(report["meshes"], 1):
        try:
            found = context.client.request("GET", f"{mesh_path(mesh['name'])}/log", timeout=PATIENCE) or []
            text = "\n".join(f"{one.get('time')} {one.get('message')}" for one in found)
        except ZtmError as error:
            text = f"not to be had: {error}"
        yield f"log-{number}.txt", f"mesh {mesh['name']}\n{text}\n"


def _journals(report: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for one in report["services"]:
        user = ["--user"] if one["scope"] == "user" else []
        words = ["journalctl", *user, "--no-pager", "--output=short-iso", "-n", JOURNAL_LINES, "-u", one["name"]]
        try:
            done = subprocess.run(words, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
            text = done.stdout or done.stderr
        except (OSError, subprocess.SubprocessError) as error:
            text = f"not to be had: {error}"
        yield f"journal-{one['scope']}-{one['name']}.txt", text


def _json(value: object) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) + "\n"


def _store(path: Path, texts: Mapping[str, str]) -> None:
    try:
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")  # made with mode 0600
    except OSError as error:
        raise StorageError(f"cannot write to file: {path} ({error.strerror})") from None
    try:
        with os.fdopen(handle, "wb") as file, tarfile.open(fileobj=file, mode="w:gz") as archive:
            for name, text in texts.items():
                data = text.encode("utf-8", "replace")
                entry = tarfile.TarInfo(f"ztm-doctor/{name}")
                entry.size, entry.mode, entry.mtime = len(data), 0o600, int(utc_now().timestamp())
                archive.addfile(entry, io.BytesIO(data))
        Path(temporary).replace(path)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise StorageError(f"cannot write to file: {path} ({error.strerror})") from None
