"""Files to arrays and back."""

from lamina.formats.streams import stream
from lamina.formats.weights import read_weights, write_weights

__all__ = ["read_weights", "stream", "write_weights"]
