"""Adds to a built package which commit it is of; everything else is in pyproject.toml."""

import json
import subprocess
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithCommit(build_py):
    """Writes ztm/build.json into what is built; where git does not know the commit, there is none."""

    def run(self) -> None:
        """Build as ever, and write the file."""
        super().run()
        commit, date = git("rev-parse", "--short=12", "HEAD"), git("show", "-s", "--format=%cI", "HEAD")
        package = Path(self.build_lib, "ztm")
        if commit and date and package.is_dir() and not getattr(self, "editable_mode", False):
            (package / "build.json").write_text(json.dumps({"commit": commit, "date": date}) + "\n", encoding="utf-8")


def git(*words: str) -> str:
    """One line that git says of this checkout, or an empty text."""
    here = Path(__file__).parent
    if not (here / ".git").exists():
        return ""
    words = ("git", *words)
    try:
        done = subprocess.run(words, cwd=here, capture_output=True, text=True, check=False, timeout=10)  # noqa: S603
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


setup(cmdclass={"build_py": BuildWithCommit})
