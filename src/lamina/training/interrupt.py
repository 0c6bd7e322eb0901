"""Signals during training: the first one asks the loop to stop, the second one stops the process.

Ctrl-C (SIGINT) is always heeded so; SIGTERM, which cluster managers send before they kill, where
the run is kept in checkpoints: it then ends after its last one.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from lamina.placement import of_each_process

_USUAL = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}


class Interruption:
    """Which signal has asked to stop, if any."""

    by: signal.Signals | None = None

    @property
    def requested(self) -> bool:
        """Whether one has; one that reached any of the processes of a fit has reached all."""
        by = max(of_each_process(self.by or 0))
        if by:
            self.by = signal.Signals(by)
        return by > 0


@contextmanager
def interruptible(*, terminable: bool = False) -> Iterator[Interruption]:
    """Turn signals into a flag while the block runs, in the main thread; elsewhere do nothing.

    Parameters
    ----------
    terminable : bool
        Whether SIGTERM is one of them. After the block it is raised again.
    """
    interruption = Interruption()
    ours = threading.current_thread() is threading.main_thread()
    wanted = (signal.SIGINT, signal.SIGTERM) if terminable else (signal.SIGINT,)
    taken = [number for number in wanted if ours and signal.getsignal(number) is _USUAL[number]]

    def request(number, frame):
        if interruption.by is not None:
            raise KeyboardInterrupt
        interruption.by = signal.Signals(number)

    for number in taken:
        signal.signal(number, request)
    try:
        yield interruption
    finally:
        for number in taken:
            signal.signal(number, _USUAL[number])
    if interruption.by is signal.SIGTERM:
        signal.raise_signal(signal.SIGTERM)
