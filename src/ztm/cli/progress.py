"""A bar for long work: how many bytes have been moved, of how many.

It is drawn on standard error, on a terminal only, and only once the work has taken a moment; so scripts see nothing
of it, and what draws it is loaded by nobody else.
"""

import sys
import time
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ztm.apps.text import clean
from ztm.cli.output import is_terminal

if TYPE_CHECKING:
    from rich.progress import Progress as Bar
    from rich.progress import TaskID

PATIENCE = 0.5
"""Seconds of work before a bar is worth drawing."""


class Progress:
    """The bar of one piece of work; a context manager, which takes the bar away again at the end.

    `total` is bytes, or None where nobody knows; `now` is seconds.
    """

    def __init__(self, label: str, total: int | None = None, *, now: Callable[[], float] = time.monotonic) -> None:
        self._label = clean(label)
        self._total = total
        self._now = now
        self._begin = now()
        self._done = 0
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def __enter__(self) -> Self:
        self._begin = self._now()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, count: int) -> None:
        """Note that `count` more bytes are done."""
        self._done += count
        if self._bar is None and self._now() - self._begin >= PATIENCE and is_terminal(sys.stderr):
            self._draw()
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done)

    def _draw(self) -> None:
        from rich import progress
        from rich.console import Console

        self._bar = progress.Progress(
            progress.TextColumn("{task.description}", markup=False),
            progress.BarColumn(),
            progress.DownloadColumn(),
            progress.TransferSpeedColumn(),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task = self._bar.add_task(self._label, total=self._total)
        self._bar.start()
