"""Pages of code are given back, and nothing that was ever written."""

import subprocess
import sys

import pytest

from ztm.net.pages import clean

SMAPS = """\
1000-2000 r--p 00000000 fe:01 12 /usr/lib/liba.so
Rss: 4 kB
Anonymous:             0 kB
2000-4000 r-xp 00001000 fe:01 12 /usr/lib/liba.so
Rss: 8 kB
Anonymous:             0 kB
VmFlags: rd ex mr mw me
4000-5000 r--p 00003000 fe:01 12 /usr/lib/liba.so
Anonymous:             4 kB
5000-6000 rw-p 00004000 fe:01 12 /usr/lib/liba.so
Anonymous:             0 kB
6000-7000 r--s 00000000 fe:01 13 /usr/lib/gconv-modules.cache
Anonymous:             0 kB
6100-6200 r--p 00000000 fe:01 14 /var/lib/data that may be unmapped.bin
Anonymous:             0 kB
7000-8000 r-xp 00000000 00:00 0 [vdso]
Anonymous:             0 kB
""".splitlines()

PROBE = """
import ssl, sqlite3
from ztm.net import pages

pages.FREE_FROM = 0
before = pages._file_bytes()
assert pages.give_back_code() > 0
assert pages._file_bytes() < before
ssl.create_default_context(), sqlite3.connect(":memory:").execute("select 1"), open("/dev/null").close()
"""


def test_only_what_nobody_has_ever_written_is_given_back() -> None:
    assert list(clean(SMAPS)) == [(0x1000, 0x2000), (0x2000, 0x4000)]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs /proc")
def test_a_process_takes_less_memory_and_runs_on_when_its_code_was_given_back() -> None:
    subprocess.run([sys.executable, "-c", PROBE], check=True, timeout=60)
