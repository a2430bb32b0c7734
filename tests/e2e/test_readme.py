"""Every shell block of the README and the guides is run as it stands, on machines that a kernel can pretend."""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from e2e.machines import Machines, machines

ROOT = Path(__file__).parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"(?:<!-- on: (?P<where>[^>]*?) -->\n)?```(?:sh|bash|shell|console)\n(?P<text>.*?)```", re.DOTALL)
