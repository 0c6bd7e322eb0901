"""Named arrays from the files in which weights travel, and back: ``.safetensors``, ``.pt``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from lamina.errors import FileFormatError, InputError
from lamina.formats.files import reading, written_whole
from lamina.formats.torch_file import LEGACY_MAGIC, read_torch, widened
from lamina.formats.torch_writer import write_torch

_DTYPES = {
    "BOOL": "?", "U8": "u1", "I8": "i1", "U16": "u2", "I16": "i2", "F16": "f2", "BF16": "u2",
    "U32": "u4", "I32": "i4", "F32": "f4", "U64": "u8", "I64": "i8", "F64": "f8",
}  # fmt: skip


def read_weights(path: str | Path) -> dict[str, np.ndarray]:
    """Return the arrays of a file of weights by name, and run no code from it.

    Parameters
    ----------
    path : path
        A ``.safetensors`` file, or a state dict that ``torch.save`` wrote (``.pt``, ``.pth``); told
        apart by content.

    Returns
    -------
    dict of str to array
        In the file's order. 16-bit floats (half, bfloat16) become float32.

    Raises
    ------
    FileFormatError
        For a file that is truncated or foreign, or that asks to run code.
    InputError
        For a path that cannot be read.
    """
    path = Path(path)
    with reading(path), path.open("rb") as file:
        start = file.read(len(LEGACY_MAGIC))
    if start[:2] == b"PK" or start == LEGACY_MAGIC:
        return read_torch(path)
    return _read_safetensors(path)


def write_weights(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays by name, for PyTorch and others to read.

    Parameters
    ----------
    path : path
        ``.safetensors``, or ``.pt`` and ``.pth`` for ``torch.load(path, weights_only=True)``.
    arrays : mapping of str to array
        The weights.
    """
    path = Path(path)
    if path.suffix in (".pt", ".pth"):
        write_torch(path, arrays)
        return
    if path.suffix != ".safetensors":
        raise InputError(
            f"{path} expected a name that ends in .safetensors, .pt or .pth, got {path.suffix!r}. "
            "Choose one of them."
        )
    from safetensors.numpy import save

    content = save({name: np.asarray(array, order="C") for name, array in arrays.items()})
    with written_whole(path) as draft:
        draft.write_bytes(content)


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    from safetensors import deserialize

    with reading(path):
        content = path.read_bytes()
    try:
        entries = deserialize(content)
    except Exception as error:  # safetensors' own error is a plain Exception
        raise FileFormatError(
            f"{path} expected a whole .safetensors file or one of torch.save, got a damaged, "
            f"truncated or foreign one ({error}). Copy it again."
        ) from error
    arrays = {}
    for name, entry in entries:
        code = entry["dtype"]
        if code not in _DTYPES:
            raise FileFormatError(
                f"{path} expected bool, whole numbers or floats of 16 to 64 bits, got {name} in "
                f"{code}. Convert it before saving."
            )
        numbers = np.frombuffer(entry["data"], np.dtype(_DTYPES[code]).newbyteorder("<"))
        if code == "BF16":
            numbers = widened(numbers)
        elif code == "F16":
            numbers = numbers.astype(np.float32)
        arrays[name] = numbers.reshape(entry["shape"])
    return arrays
