"""Files to arrays and back."""

from lamina.formats.weights import read_weights, write_weights

__all__ = ["read_weights", "write_weights"]
