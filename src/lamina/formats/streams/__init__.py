"""Data larger than memory: read from disk piece by piece, each time they are needed."""

from lamina.formats.streams.door import stream
from lamina.formats.streams.pieces import Part, Stream, checked_weights, named

__all__ = ["Part", "Stream", "checked_weights", "named", "stream"]
