"""Ctrl-C during training: the first one asks the loop to stop, the second one stops the process."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Interruption:
    """Whether the user has asked to stop."""

    requested = False


@contextmanager
def interruptible() -> Iterator[Interruption]:
    """Turn SIGINT into a flag while the block runs, in the main thread; elsewhere do nothing."""
    interruption = Interruption()
    ours = threading.current_thread() is threading.main_thread()
    if not (ours and signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        yield interruption
        return

    def request(signum, frame):
        if interruption.requested:
            raise KeyboardInterrupt
        interruption.requested = True

    signal.signal(signal.SIGINT, request)
    try:
        yield interruption
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
