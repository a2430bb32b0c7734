"""A real shell on a terminal of its own, typed into as a person would.

In these shells `ztm` is also a function that prints the words it was given, so that a line completed and sent says
how the shell has read it; the completion asks the program itself.
"""

import os
import pty
import select
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path

from world import ZTM

PROMPT = "ready> "
WORDS = "WORDS:"
ECHO = f"ztm() {{ printf '{WORDS}'; printf '<%s>' \"$@\"; echo; }}"
PROMPT_IS = f"PS1='{PROMPT}'"
ZSH_FIRST = "unsetopt beep zle_bracketed_paste; autoload -Uz compinit && compinit -D -u"
BEGIN = {
    "bash": (
        ["bash", "--norc", "--noprofile", "-i"],
        [PROMPT_IS, 'source <("$ZTM" completion bash)', ECHO],
    ),
    "zsh": (
        ["zsh", "-f", "-i"],
        [PROMPT_IS, ZSH_FIRST, 'source <("$ZTM" completion zsh)', ECHO],
    ),
}
"""How each shell is started, and what is typed first."""


class Shell:
    """One interactive shell; close it when done."""

    def __init__(self, name: str, home: Path, variables: Mapping[str, str]) -> None:
        words, lines = BEGIN[name]
        path = f"{ZTM.parent}:{os.environ['PATH']}"
        kept = {"HOME": str(home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", "ZTM": str(ZTM)}
        self._ours, theirs = pty.openpty()
        self._process = subprocess.Popen(
            words,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env={**kept, **variables},
            cwd=home,
            start_new_session=True,
        )
        os.close(theirs)
        self._said = ""
        for line in (*lines, "echo be''gun"):
            self.type(line + "\n")
        self.expect("begun\r\n")
        self.expect(PROMPT)

    def type(self, text: str) -> None:
        """Press keys."""
        os.write(self._ours, text.encode())

    def expect(self, text: str, within: float = 30.0) -> str:
        """Wait until the terminal shows `text`, and return what it has shown since the last call."""
        until = time.monotonic() + within
        while text not in self._said:
            left = until - time.monotonic()
            ready, _, _ = select.select([self._ours], [], [], max(0.0, left))
            assert ready, f"no {text!r} within {within:g} s; shown: {self._said!r}"
            self._said += os.read(self._ours, 65536).decode(errors="replace")
        end = self._said.index(text) + len(text)
        shown, self._said = self._said[:end], self._said[end:]
        return shown

    def words(self, line: str) -> list[str]:
        """What `ztm` is given when `line` is typed, with Tab pressed at its end, and sent."""
        self.type(f"{line}\t")
        self.type("\n")
        self.expect(f"\n{WORDS}")
        said = self.expect(PROMPT).partition("\r\n")[0]
        return said.removeprefix("<").removesuffix(">").split("><")

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._ours)


def fish_completions(line: str, home: Path, variables: Mapping[str, str]) -> list[str]:
    """What fish offers at the end of `line`, without descriptions."""
    path = f"{ZTM.parent}:{os.environ['PATH']}"
    script = "ztm completion fish | source; complete -C $argv[1]"
    done = subprocess.run(
        ["fish", "--no-config", "-c", script, line],
        env={"HOME": str(home), "PATH": path, "TERM": "dumb", "LC_ALL": "C.UTF-8", **variables},
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stderr == ""
    return [one.partition("\t")[0] for one in done.stdout.splitlines()]


def has(shell: str) -> bool:
    """Whether this shell is installed."""
    return shutil.which(shell) is not None
