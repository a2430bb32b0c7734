"""`ztm` whose event loop stands still for two seconds at each SIGUSR2, as under a handler that computes for so long.

usage: spinning.py PROGRAM WORDS...     runs ``ztm WORDS...``; PROGRAM is what would have run them, as in ``nice``

Nothing of `ztm` is changed: Python runs the signal's handler in the main thread, which is the event loop's.
"""

import signal
import sys
import time
from types import FrameType

SPIN = 2.0
"""Seconds."""
BEGUN = "spinning has begun"
"""Said on stderr, a line of its own."""
ENDED = "spinning has ended"


def spin(_number: int, _frame: FrameType | None) -> None:
    """Compute, and come back after `SPIN` seconds."""
    print(BEGUN, file=sys.stderr, flush=True)
    end = time.monotonic() + SPIN
    while time.monotonic() < end:
        pass
    print(ENDED, file=sys.stderr, flush=True)


if __name__ == "__main__":
    from ztm.__main__ import main

    signal.signal(signal.SIGUSR2, spin)
    sys.argv = sys.argv[1:]
    main()
