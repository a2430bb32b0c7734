"""Writes the example units beside it, from the same code by which `ztm start` writes those of a machine."""

from pathlib import Path

from ztm.cli.services.systemd import unit_text
from ztm.cli.services.unit import SYSTEM_DATA, SYSTEM_USER, Unit

HERE = Path(__file__).parent / "systemd"
OPTIONS = {
    "hub": (f"--data={SYSTEM_DATA}", "--names=hub.example.com:8888"),
    "agent": (f"--data={SYSTEM_DATA}",),
}


def texts() -> dict[Path, str]:
    """Path to text of each."""
    found = {}
    for kind, options in OPTIONS.items():
        unit = Unit(kind=kind, program=("/usr/bin/ztm",), options=options, data=SYSTEM_DATA, user=SYSTEM_USER)
        found[HERE / f"{unit.name}.service"] = unit_text(unit)
    return found


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text)
