"""Debian's Chromium, headless: has one URL open for as long as a test wants."""

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SECONDS = 60.0
"""For a page to say what it found, with the browser's start; a loaded machine takes some."""


@asynccontextmanager
async def showing(url: str, profile: Path) -> AsyncIterator[None]:
    """Show `url` in a browser of its own while the body runs."""
    assert CHROMIUM is not None
    words = ["--headless", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--no-proxy-server"]
    words += [f"--user-data-dir={profile}", "--remote-debugging-port=0"]  # without it, it ends at once
    words += ["--no-sandbox"] if os.geteuid() == 0 else []
    process = await asyncio.create_subprocess_exec(
        CHROMIUM,
        *words,
        url,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        yield
    finally:
        if process.returncode is None:
            os.killpg(process.pid, signal.SIGKILL)
        await process.wait()
