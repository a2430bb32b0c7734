"""`python -m ztm.cli.manual [--check] DIRECTORY`: writes the manual below a checkout's `docs/`, or compares it."""

import sys
from pathlib import Path

from ztm.cli.manual.markdown import markdown
from ztm.cli.manual.pages import agent, hub, permit, program
from ztm.cli.manual.roff import roff

FIRST = (
    "Every command of `ztm`, as `ztm help` tells it as well. The man pages ztm(1), ztm-hub(8), ztm-agent(8) and "
    "ztm-permit(5) are in [man](man)."
)


def documents() -> dict[str, str]:
    """Every file of the manual, by its path below `docs/`."""
    pages = (program(), hub(), agent(), permit())
    made = {f"man/{page.name}.{page.number}": roff(page) for page in pages}
    return {"cli.md": markdown(pages[0], "The command line", FIRST), **made}


def main(words: list[str]) -> int:
    """Write all files; or with ``--check``, name those that are stale and return 1 if there are any."""
    directory = Path(next((word for word in words if not word.startswith("-")), "docs"))
    found = documents()
    if "--check" in words:
        stale = [name for name, text in found.items() if _present(directory / name) != text]
        for name in stale:
            print(f"{directory / name} is stale: run 'make docs'", file=sys.stderr)
        return 1 if stale else 0
    for name, text in found.items():
        (directory / name).parent.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(text, encoding="utf-8")
    return 0


def _present(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
