"""Dictionaries of arrays in a pickle, rebuilt by stand-ins that run none of the pickle's code.

A pickle is a program: it names the functions to call. Here the few names that an array needs stand
for harmless classes of our own, and every other name is refused.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from typing import IO, Any

import numpy as np

from lamina.errors import FileFormatError

_MOST_OPCODES = 1_000_000  # a batch of CIFAR, with 10,000 images, has some 50,000
_AGAIN = "Get it again from its publisher."


def unpickle(source: str, content: bytes) -> dict[str, Any]:
    """Return the dictionary that a pickle holds, keys as text, and run nothing.

    Parameters
    ----------
    source : str
        The file, for messages.
    content : bytes
        The pickle, of any protocol.
    """
    try:
        check_opcodes(source, io.BytesIO(content))
        document = _Unpickler(source, content).load()
    except FileFormatError:
        raise
    except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
        raise FileFormatError(
            f"{source} is a damaged pickle ({type(error).__name__}: {str(error)[:200]}). {_AGAIN}"
        ) from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{source} expected a dictionary; got {type(document).__name__}.")
    return {
        text_of(key): value.array if isinstance(value, _Array) else value
        for key, value in document.items()
    }


def check_opcodes(source: str, stream: IO[bytes]) -> None:
    """Look through a pickle's opcodes, up to its end, before any is followed.

    A length that the file does not have, or a vast index, would reserve memory on its word.
    """
    for count, (opcode, argument, _) in enumerate(pickletools.genops(stream)):
        index = argument if "PUT" in opcode.name and isinstance(argument, int) else 0
        if max(count, index) > _MOST_OPCODES:
            raise FileFormatError(f"{source} is a pickle built to fill memory; refused.")


def text_of(value: object) -> str:
    """Return the text of a value from a pickle: Python 2 wrote it as bytes."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return value if isinstance(value, str) else type(value).__name__


class _Unpickler(pickle.Unpickler):
    """An unpickler for which the world holds nothing but arrays of numbers."""

    def __init__(self, source: str, content: bytes):
        super().__init__(io.BytesIO(content), encoding="bytes")
        self._source = source
        self._encoded: dict[str, bytes] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global that an array needs; refuse every other."""
        if (module, name) == ("_codecs", "encode"):
            return self._encode
        if (module, name) == ("numpy", "ndarray"):
            return "ndarray"
        if (module, name) == ("numpy", "dtype"):
            return _Dtype
        if module in {"numpy.core.multiarray", "numpy._core.multiarray"} and name == "_reconstruct":
            return _Array
        raise FileFormatError(
            f"{self._source} asks to run {module}.{name}; refused. Arrays and lists are all "
            f"that such a file needs. {_AGAIN}"
        )

    def _encode(self, text: str, encoding: str) -> bytes:
        """Return the bytes that Python 3 wrote as text; once for each text, to bound memory."""
        if encoding not in {"latin1", b"latin1"}:
            raise ValueError("text that is not latin1")
        if text not in self._encoded:
            self._encoded[text] = text.encode("latin1")
        return self._encoded[text]


class _Dtype:
    """Stands for a NumPy dtype while a pickle is read: whole numbers only."""

    def __init__(self, code: str | bytes, *_: object):
        self._code, self._order = text_of(code), "|"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self._order = text_of(state[1])

    def dtype(self) -> np.dtype:
        """Return the dtype, refused unless it is one of whole numbers."""
        if self._code not in {"u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8"}:
            raise ValueError(f"array of {self._code}")
        return np.dtype(self._code).newbyteorder(self._order)  # type: ignore[arg-type]


class _Array:
    """Stands for a NumPy array while a pickle is read; its bytes must all be in the pickle."""

    array: np.ndarray | None = None

    def __init__(self, *_: object): ...

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, content = state
        flat = np.frombuffer(content, dtype.dtype())
        self.array = flat.reshape(shape, order="F" if fortran else "C")
