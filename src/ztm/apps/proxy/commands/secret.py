"""Reading a password or token from the caller's terminal or pipe; it is printed nowhere."""

from ztm.apps.command import AppCommand
from ztm.errors import UsageError

_MAX_SECRET = 4096


async def read_secret(context: AppCommand, prompt: str) -> str:
    """One line that the caller types unseen, or pipes in.

    Raises:
        UsageError: there is none, or it is too long.
        BrokenStreamError: the caller went away.
    """
    console = context.console
    is_typed = console.call.is_typed  # the size of a terminal is told later, or never
    if is_typed:
        await console.complain(prompt.encode())
        await console.pass_keys(raw=True)
    typed = b""
    try:
        while not any(end in typed for end in (b"\n", b"\r", b"\x04")):
            data = await console.read()
            if not data:
                break
            typed += data
            if b"\x03" in data or len(typed) > _MAX_SECRET:
                raise UsageError("cancelled" if b"\x03" in data else "that is too long for a secret")
    finally:
        if is_typed:
            await console.pass_keys(raw=False)
            await console.complain(b"\n")
    line = typed.replace(b"\r", b"\n").replace(b"\x04", b"\n").split(b"\n")[0]
    secret = _edited(line) if is_typed else line
    if not secret:
        raise UsageError("nothing was given: type the secret, or pipe it into standard input")
    return secret.decode("utf-8", "replace")


def _edited(line: bytes) -> bytes:
    """What remains of typed keys where some rubbed out others."""
    kept = ""
    for key in line.decode("utf-8", "replace"):
        kept = kept[:-1] if key in "\x7f\b" else kept + key
    return kept.encode()
