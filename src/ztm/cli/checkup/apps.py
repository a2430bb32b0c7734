"""Whether this machine can hold apps by others in their bounds; silent where it can."""

from ztm.cli.checkup.findings import Check, Finding

WHAT = "apps by others"


def apps_check() -> Check:
    """What keeps an app by others from the agent's keys is there."""
    return Check(WHAT, _lack)


def _lack() -> list[Finding]:
    from ztm_app.confine.wall import lack

    why = lack()
    do = "nothing, if no apps by others are to run here; else see --unconfined-apps in 'ztm run agent --help'"
    return [Finding("warn", WHAT, f"they are not started here: {why}", do)] if why else []
