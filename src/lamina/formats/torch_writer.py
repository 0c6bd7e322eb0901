"""A state dict as PyTorch's own file, a zip archive of a pickle and storages, without PyTorch."""

from __future__ import annotations

import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import InputError
from lamina.formats.files import written_whole
from lamina.formats.torch_file import STORAGES


def write_torch(path: str | Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write a state dict that ``torch.load(path, weights_only=True)`` reads.

    Parameters
    ----------
    path : path
        The file; written whole or not at all.
    arrays : mapping of str to array
        Floats of 16 to 64 bits, whole numbers or bool.
    """
    codes = {np.dtype(code): name for name, code in STORAGES.items() if code != "bf16"}
    stored = {name: np.asarray(array, order="C") for name, array in arrays.items()}
    for name, array in stored.items():
        if array.dtype not in codes:
            raise InputError(
                f"{name} expected floats of 16 to 64 bits, signed whole numbers, uint8 or bool; "
                f"got {array.dtype}. Convert it with astype."
            )
    with written_whole(Path(path)) as draft, zipfile.ZipFile(draft, "x") as archive:
        archive.writestr("archive/data.pkl", _pickled(stored, codes))
        archive.writestr("archive/byteorder", sys.byteorder)
        for number, array in enumerate(stored.values()):
            archive.writestr(f"archive/data/{number}", array.tobytes())
        archive.writestr("archive/version", "3\n")


def _pickled(arrays: Mapping[str, np.ndarray], codes: Mapping[np.dtype, str]) -> bytes:
    """Return the pickle (protocol 2) of a state dict, opcode by opcode."""

    def text(value: str) -> bytes:
        encoded = value.encode()
        return b"X" + len(encoded).to_bytes(4, "little") + encoded

    def whole(value: int) -> bytes:
        return b"\x8a\x09" + value.to_bytes(9, "little", signed=True)

    def wholes(values: Any) -> bytes:
        return b"(" + b"".join(map(whole, values)) + b"t"

    ordered = b"ccollections\nOrderedDict\n)R"
    out = [b"\x80\x02", ordered, b"("]
    for number, (name, array) in enumerate(arrays.items()):
        strides = [stride // array.itemsize for stride in array.strides]
        storage = b"(" + text("storage") + f"ctorch\n{codes[array.dtype]}\n".encode()
        storage += text(str(number)) + text("cpu") + whole(array.size) + b"tQ"
        out += [text(name), b"ctorch._utils\n_rebuild_tensor_v2\n(", storage, whole(0)]
        out += [wholes(array.shape), wholes(strides), b"\x89", ordered, b"tR"]
    return b"".join([*out, b"u."])
