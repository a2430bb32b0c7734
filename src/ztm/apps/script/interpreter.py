"""With what a script is run: the agent's own Python, or `uv` where the script needs more than that has.

Nothing is ever installed here; `uv` fetches what a script asks for, where somebody has installed `uv`.
"""

import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ztm.apps.script.metadata import Metadata, Version
from ztm.errors import RefusedError

PASSED = ("PATH", "LANG", "LANGUAGE", "LC_ALL", "LC_CTYPE", "LC_MESSAGES", "TZ", "USER", "LOGNAME")
"""Variables of the agent that a script sees. All others are the agent's own, and may hold secrets."""
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


@dataclass(frozen=True, slots=True)
class Interpreter:
    """What this machine has to run scripts with."""

    python: str = sys.executable
    version: Version = tuple(sys.version_info[:3])
    uv: str | None = None
    """Where `uv` is, if it is installed."""

    def command(self, metadata: Metadata, script: Path, arguments: Sequence[str]) -> list[str]:
        """The command that runs `script`.

        Raises:
            RefusedError: it needs what this machine has not; the message says what to do.
            UsageError: ``requires-python`` is malformed.
        """
        fits = metadata.admits(self.version)
        if fits and not metadata.dependencies:
            return [self._python(), "-I", "-u", str(script), *arguments]
        if self.uv is not None:
            chosen = ["--python", self._python()] if fits else []
            return [self.uv, "run", "--quiet", "--no-project", *chosen, "--script", str(script), *arguments]
        needs = f"the packages {', '.join(metadata.dependencies)}" if fits else f"Python {metadata.requires_python}"
        raise RefusedError(
            f"the script needs {needs}, and this endpoint has Python {'.'.join(map(str, self.version))} and no uv: "
            "install uv there (https://docs.astral.sh/uv) for the user that the agent runs as"
        )

    def _python(self) -> str:
        if not self.python:
            raise RefusedError("this endpoint's agent does not know where its Python is, so it runs no scripts")
        return self.python


def found_here() -> Interpreter:
    """What this machine has now: `uv` may be installed while the agent runs."""
    home = Path.home()
    places = [os.environ.get("PATH", DEFAULT_PATH), str(Path(sys.executable).parent)]
    places += [str(home / ".local/bin"), str(home / ".cargo/bin")]
    return Interpreter(uv=shutil.which("uv", path=os.pathsep.join(places)))


def environment(agent: Mapping[str, str], directory: Path) -> dict[str, str]:
    """All that a script sees of its environment; its temporary files go to its own directory."""
    passed = {name: agent[name] for name in PASSED if name in agent}
    own = {"HOME": str(Path.home()), "TMPDIR": str(directory), "PYTHONUNBUFFERED": "1"}
    return {"PATH": DEFAULT_PATH, **passed, **own}
