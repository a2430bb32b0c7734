"""What the first use of a stopped proxy has to load: nothing that waits for a client, for TLS or for a request log."""

import subprocess
import sys

import pytest

LATER = (
    *("entry.door", "entry.http", "entry.socks", "entry.association"),
    *("interception.intercept", "interception.mint", "requests.watch", "requests.file", "requests.splunk"),
    *("cli", "commands.config"),
)


@pytest.mark.parametrize("name", LATER)
def test_the_first_use_of_the_proxy_does_not_wait_for_what_it_does_not_need(name: str, loaded: str) -> None:
    assert f"ztm.apps.proxy.{name}" not in loaded.split()


@pytest.fixture(scope="module")
def loaded() -> str:
    program = "import sys, ztm.apps.proxy.api; print(*sys.modules)"
    return subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True).stdout
