"""Completion for shells: `ztm completion SHELL` prints a script, which asks `ztm __complete` at each Tab.

An answer comes within `TIME` of the start of the process or not at all, and is never an error message.
"""

import os
import sys
import threading
import time
from collections.abc import Iterable, Sequence
from pathlib import Path

from ztm.apps.grammar import Arguments, Command
from ztm.cli.context import Context

HIDDEN = "__complete"
"""The word by which the scripts ask."""
TIME = 0.3
"""Seconds: a person at the prompt takes longer for a hang."""
VARIABLE = "ZTM_COMPLETION_TIMEOUT"
"""Environment variable with other seconds than `TIME`, for slow machines."""
END = 0.02
"""Seconds of these that the process takes to end."""
STARTED = 0.05
"""Seconds assumed for the start of the interpreter where the system does not tell."""
SCRIPTS = {"bash": "ztm.bash", "zsh": "_ztm", "fish": "ztm.fish"}


def completion(context: Context, arguments: Arguments) -> None:
    """Print the script for a shell.

    Raises:
        UsageError: there is none for this shell.
    """
    word = arguments.word("shell")
    if word.lower() not in SCRIPTS:
        raise arguments.error(f"unsupported shell '{word}'. Supported shells: {', '.join(SCRIPTS)}")
    script = Path(__file__).parent / "shells" / SCRIPTS[word.lower()]
    context.out(script.read_text(encoding="utf-8").rstrip("\n"))


def answer(words: Sequence[str]) -> int:
    """Print what may stand at the cursor, for a script of ours; always 0, and silent where anything goes wrong.

    `words` are ``bash LINE BREAKS``, the line as far as the cursor; or ``zsh|fish -- WORDS... CURRENT``.
    """
    limit = threading.Timer(_time_left(), os._exit, (0,))  # also where a name is being resolved, say
    limit.daemon = True
    limit.start()
    try:
        text = _text(words)
    except Exception:  # whatever it is, a prompt is no place for it
        text = ""
    limit.cancel()
    sys.stdout.write(text)
    return 0


def _text(words: Sequence[str]) -> str:
    from ztm.cli.completing.engine import complete

    if words[0] == "bash":
        from ztm.cli.completing.shellwords import parse

        line = parse(*words[1:3])
        found = complete(line.words[1:], line.current, _live)
        replies = (line.reply(word) for word, _ in found.names if _is_typable(word))
        return _lines([found.kind, *filter(None, replies)])
    found = complete(words[2:-1], words[-1], _live)
    rows = [f"{word}\t{about}" if about else word for word, about in found.names if _is_typable(word + about)]
    return _lines([found.kind, *rows])


def _is_typable(text: str) -> bool:
    """Whether it is one line without anything that a terminal would obey; nothing else is offered."""
    from ztm.apps.text import clean

    return clean(text) == text and "\n" not in text and "\t" not in text


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _live(target: object, kind: str, begun: str) -> Iterable[tuple[str, str]]:
    from ztm.cli.completing.live import Live
    from ztm.cli.shared import Target

    assert isinstance(target, Target)
    return Live(target.context()).named(kind, begun)


def _time_left() -> float:
    """Seconds until the answer must be out."""
    try:
        whole = float(os.environ.get(VARIABLE) or TIME)
    except ValueError:
        whole = TIME
    return max(0.01, whole - END - _age())


def _age() -> float:
    """Seconds since this process was started, as Linux counts them."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii").rpartition(")")[2].split()
        return time.clock_gettime(time.CLOCK_BOOTTIME) - int(fields[19]) / os.sysconf("SC_CLK_TCK")
    except (OSError, ValueError, IndexError, AttributeError):
        return STARTED


COMMANDS = (
    Command(
        usage="completion <shell>",
        title="Print the completion script for bash, zsh or fish",
        run=completion,
        local=True,
        choices={"shell": tuple(SCRIPTS)},
        notes=(
            "  bash   source <(ztm completion bash)\n"
            "  zsh    source <(ztm completion zsh)\n"
            "  fish   ztm completion fish | source\n\n"
            f"Names are asked of the agent at each Tab. An answer that would take longer than {TIME:g} s is left out;\n"
            f"{VARIABLE} gives another time."
        ),
    ),
)
