"""Which apps of one endpoint wait for the answer of which: a circle of them would wait for ever.

Only an app that is just started or stopped makes others wait, so only then is a question refused.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from ztm.agent.apps.names import AppName
from ztm.errors import UnreachableError


class Questions:
    """The questions that are open between apps."""

    def __init__(self) -> None:
        self._open: dict[AppName, list[AppName]] = {}

    @contextmanager
    def asking(self, asker: AppName, asked: AppName, *, is_changing: bool) -> Iterator[None]:
        """Hold `asker` as waiting for `asked`, which is started or stopped just now if `is_changing`.

        Raises:
            UnreachableError: `asked` waits for `asker` itself meanwhile.
        """
        if is_changing and asker in self._waited_for(asked):
            raise UnreachableError(
                f"app {asker} cannot ask app {asked} now, which waits for it while it is started or stopped"
            )
        self._open.setdefault(asker, []).append(asked)
        try:
            yield
        finally:
            self._open[asker].remove(asked)
            if not self._open[asker]:
                del self._open[asker]

    def _waited_for(self, app: AppName) -> set[AppName]:
        """`app`, and all whose answers it waits for, directly or not."""
        found, ahead = {app}, [app]
        while ahead:
            fresh = set(self._open.get(ahead.pop(), ())) - found
            found |= fresh
            ahead += fresh
        return found
