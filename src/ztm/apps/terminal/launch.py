"""What is started for a caller: the program, its words, and an environment that holds nothing of the agent's.

It looks for programs on the disk, and starts none.
"""

import os
import shlex
import shutil
from dataclasses import dataclass
from pathlib import Path

from ztm.apps.terminal.accounts import Account
from ztm.apps.terminal.model import Ask
from ztm.errors import UsageError, ZtmError

NOT_FOUND, NOT_RUNNABLE = 127, 126
"""Exit statuses, as shells have them (POSIX, Shell Command Language 2.8.2)."""
PATH = "/usr/local/bin:/usr/bin:/bin"
ROOT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class LaunchError(ZtmError):
    """The program cannot be started; `exit_status` is what a shell would have given."""

    def __init__(self, message: str, exit_status: int) -> None:
        super().__init__(message)
        self.exit_status = exit_status


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """One program, ready to be started."""

    executable: str
    words: tuple[str, ...]
    """Its own name first; a login shell's begins with a dash."""
    environment: dict[str, str]
    directory: str
    account: Account


def shell_words(shell: str) -> list[str]:
    """A shell's program and words, split at blanks with quotes as v1 does.

    Raises:
        UsageError: the quotes do not match, or nothing is there.
    """
    try:
        words = shlex.split(shell)
    except ValueError as error:
        raise UsageError(f"the shell's command cannot be read: {error}") from None
    if not words:
        raise UsageError("the shell's command is empty")
    return words


def prepare(ask: Ask, shell: str, account: Account) -> Launch:
    """What `ask` starts for `account`; `shell` is that of the settings, or empty.

    Raises:
        LaunchError: there is no such program, or it cannot be run.
    """
    environment = _environment(ask, account)
    directory = account.home if os.path.isdir(account.home) else "/"  # noqa: PTH112 - see `_find`
    if ask.words:
        executable = _find(ask.words[0], environment["PATH"], directory)
        return _launch(executable, ask.words, environment, directory, account)
    try:
        words = shell_words(shell or account.shell)
    except UsageError as error:
        raise LaunchError(str(error), NOT_FOUND) from None
    executable = _find(words[0], environment["PATH"], directory)
    environment["SHELL"] = executable
    name = Path(executable).name
    started = (name, *words[1:], "-c", ask.line) if ask.line else (f"-{name}", *words[1:])
    return _launch(executable, started, environment, directory, account)


def _launch(
    executable: str, words: tuple[str, ...], environment: dict[str, str], directory: str, account: Account
) -> Launch:
    return Launch(executable=executable, words=words, environment=environment, directory=directory, account=account)


def _environment(ask: Ask, account: Account) -> dict[str, str]:
    """As `login` makes it (login(1)), with the caller's locale."""
    made = {
        "HOME": account.home,
        "USER": account.name,
        "LOGNAME": account.name,
        "SHELL": account.shell,
        "PATH": PATH if account.uid else ROOT_PATH,
        **ask.environment,
    }
    if ask.has_terminal:
        made["TERM"] = ask.term
    return made


def _find(program: str, path: str, directory: str) -> str:
    """The file of a program.

    Raises:
        LaunchError: there is none that can be run.
    """
    if "/" in program:
        found = str(Path(directory, program))
        # not those of Path, which raise for what may not be looked at and for names that no file can have
        if not os.path.exists(found):  # noqa: PTH110
            raise LaunchError(f"{program}: no such program on this endpoint", NOT_FOUND)
        if os.path.isdir(found) or not os.access(found, os.X_OK):  # noqa: PTH112
            raise LaunchError(f"{program}: is not executable", NOT_RUNNABLE)
        return found
    located = shutil.which(program, path=path)
    if located is None:
        raise LaunchError(f"{program}: no such program on this endpoint (searched {path})", NOT_FOUND)
    return located
