"""Data larger than memory: read from disk piece by piece, each time they are needed."""

from lamina.formats.streams.door import stream
from lamina.formats.streams.pieces import Part, Stream, checked_weights, named
from lamina.formats.streams.sizes import bytes_once_read, only_streams

__all__ = [
    "Part",
    "Stream",
    "bytes_once_read",
    "checked_weights",
    "named",
    "only_streams",
    "stream",
]
