"""Work ahead: what an iterator yields next is made by a thread while the present item is used."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

Item = TypeVar("Item")


def ahead(items: Iterator[Item], depth: int = 2) -> Iterator[Item]:
    """Yield an iterator's items, at most ``depth`` of which are made before they are asked for.

    An error in the making is raised where its item would have come.
    """
    end: Any = object()
    worker = ThreadPoolExecutor(1, thread_name_prefix="ahead")
    try:
        waiting = deque(worker.submit(next, items, end) for _ in range(depth))
        while (item := waiting.popleft().result()) is not end:
            waiting.append(worker.submit(next, items, end))
            yield item
            del item  # it may be large
    finally:
        worker.shutdown(cancel_futures=True)
