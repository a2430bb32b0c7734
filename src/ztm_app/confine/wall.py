"""Confining this process: all of it, or a reason why not. Nothing of the app may have been imported before.

It trusts no theory: what must be out of reach is tried once the walls stand.
"""

from pathlib import Path

from ztm.errors import ConflictError
from ztm.wire.processes import Start
from ztm_app.confine import keeper, landlock, limits, reach, seccomp, system

REASON = (
    "apps by others are not started here: {why}, so nothing would keep them from the agent's keys. "
    "'ztm run agent --unconfined-apps' starts them all the same"
)


def lack() -> str:
    """What this system lacks to confine an app; empty if nothing."""
    if not system.IS_LINUX:
        return f"this system ({limits.platform_name()}) has no Landlock"
    if not seccomp.is_known():
        return f"there is no filter of system calls for {limits.platform_name()}"
    if not landlock.version():
        return "this kernel has no Landlock, or it is switched off (lsm= in its command line)"
    return ""


def bound(start: Start) -> None:
    """Set the limits that need no wall, and see to the end of all that is started.

    Raises:
        OSError: the system refused, or the agent has ended.
    """
    limits.end_with(start.agent)
    if "exec" in start.permissions or not start.is_confined:
        keeper.keep()
    limits.set_limits(memory=start.memory_mb << 20, files=start.files, starts_programs="exec" in start.permissions)


def confine(start: Start) -> None:
    """Build the walls, and try whether they stand.

    Raises:
        ConflictError: they do not; the message says why.
    """
    why = lack()
    if why:
        raise ConflictError(REASON.format(why=why))
    try:
        limits.drop_privileges()
        landlock.restrict(reach.rules(Path(start.folder), Path(start.data), start.permissions))
        granted = seccomp.Calls(
            net="net" in start.permissions,
            exec="exec" in start.permissions,
            are_signals_scoped=landlock.version() >= landlock.SIGNALS_SINCE,
        )
        seccomp.restrict(granted)
    except OSError as error:
        raise ConflictError(REASON.format(why=f"the kernel refused to confine one ({error})")) from error
    for kept in start.kept:
        check_kept(Path(kept))


def check_kept(directory: Path) -> None:
    """Make sure that `directory` cannot be read.

    Raises:
        ConflictError: it can.
    """
    try:
        next(directory.iterdir(), None)
    except PermissionError:
        return
    except OSError as error:
        raise ConflictError(REASON.format(why=f"it is not known whether {directory} is kept ({error})")) from error
    why = f"{directory} lies where Python or the system has its files; move the agent's data elsewhere"
    raise ConflictError(REASON.format(why=why))
