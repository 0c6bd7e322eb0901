"""Models on disk: one safetensors file, the arrays by their paths and one JSON document about them.

The layout is https://huggingface.co/docs/safetensors: eight bytes with the header's length, the
header (JSON: each array's dtype, shape and place, and ``__metadata__``, texts by name), the bytes
of the arrays. Lamina's metadata::

    lamina          the document, as JSON
    format_version  "1"
    lamina_version  who wrote it
    sha256          over all of the above and the arrays: tells an edited file from a whole one

Loading runs no code from the file and reserves no memory on its word. The digest finds accidents
and edits; it is no signature.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from lamina import __version__
from lamina.errors import FileFormatError, InputError
from lamina.formats.files import reading, written_whole
from lamina.placement import is_first_process

FORMAT_VERSION = 1
# version v → the function that turns the document and arrays of v into those of v + 1
MIGRATIONS: dict[int, Callable[[dict, dict], tuple[dict, dict]]] = {}

_CODES = {
    "bool": "BOOL", "uint8": "U8", "int8": "I8", "uint16": "U16", "int16": "I16", "float16": "F16",
    "uint32": "U32", "int32": "I32", "float32": "F32", "uint64": "U64", "int64": "I64",
    "float64": "F64",
}  # fmt: skip
_FOREIGN = {
    b"PK\x03\x04": "a zip archive (PyTorch's .pt and Keras' .keras are such)",
    b"\x89HDF": "an HDF5 file (Keras' .h5)",
    b"\x1f\x8b": "a gzip file",
    b"\x93NUMPY": "a NumPy array (.npy)",
    b"\x80": "a pickle",
    b"{": "JSON text",
}


def write_model(
    path: str | Path, document: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
) -> None:
    """Write a model: all of it, or nothing where anything fails.

    Parameters
    ----------
    path : str or Path
        The file; one that is there is replaced at the last moment, in one step.
    document : mapping
        What JSON can hold, without NaN and infinity; keys become text and tuples lists.
    arrays : mapping of str to array
        The arrays by their paths, such as ``dense_0/W``: bool, whole numbers, or floats of 16 to 64
        bits. The same model gives the same bytes.

    Notes
    -----
    Of processes that were joined (`lamina.placement.join_processes`) only the first one writes.
    """
    if not is_first_process():
        return
    try:
        text = json.dumps(dict(document), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"document expected what JSON can hold; got another: {error}.") from error
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "lamina": text,
        "lamina_version": __version__,
    }
    header: dict[str, Any] = {"__metadata__": metadata | {"sha256": _digest(metadata, stored)}}
    # Widest numbers first keeps every array aligned.
    stored = dict(sorted(stored.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    start = 0
    for name, array in stored.items():
        code, place = _CODES[_name(array.dtype)], [start, start + array.nbytes]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        start += array.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    with written_whole(Path(path)) as draft, draft.open("xb") as out:
        out.write(len(encoded).to_bytes(8, "little") + encoded)
        for array in stored.values():
            out.write(_bytes(array))


def read_model(path: str | Path) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Return the document and the arrays of a model, checked to be as they were written.

    Parameters
    ----------
    path : str or Path
        A file that `write_model` wrote.

    Returns
    -------
    document : dict
    arrays : dict of str to array
        By path, sorted; ordinary arrays, to be written to as the caller likes.
    """
    from safetensors import safe_open

    path = Path(path)
    with reading(path), path.open("rb") as file:
        start = file.read(9)
    try:
        with safe_open(path, framework="np") as model:
            metadata = model.metadata() or {}
            document, version = _read_document(path, metadata)
            arrays = {name: model.get_tensor(name).copy() for name in sorted(model.keys())}
    except FileFormatError:
        raise
    except Exception as error:  # safetensors' own error is a plain Exception; NumPy adds others
        raise _not_whole(path, start, error) from error
    if metadata.pop("sha256", None) != _digest(metadata, arrays):
        raise FileFormatError(
            f"{path} was changed after it was written (its SHA-256 differs). Use the file as it "
            "was, or save the model again."
        )
    while version < FORMAT_VERSION:
        document, arrays = MIGRATIONS[version](document, arrays)
        version += 1
    return document, arrays


def check_arrays(
    subject: str,
    expected: Mapping[str, tuple[tuple[int, ...], Any]],
    got: Mapping[str, np.ndarray],
) -> None:
    """Raise unless ``got`` has just the names, shapes and dtypes that the architecture has.

    Parameters
    ----------
    subject : str
        The file, for the message.
    expected : mapping of str to (shape, dtype)
        What the architecture needs.
    got : mapping of str to array
        What the file holds.
    """
    missing = [name for name in expected if name not in got]
    unexpected = [name for name in got if name not in expected]
    if missing or unexpected:
        parts = [_listed("missing", missing), _listed("unexpected", unexpected)]
        raise FileFormatError(
            f"{subject} expected the {len(expected)} arrays of its architecture; "
            f"{' and '.join(part for part in parts if part)}. The file belongs to another model."
        )
    for name, (shape, dtype) in expected.items():
        array = got[name]
        if (array.shape, array.dtype) != (tuple(shape), np.dtype(dtype)):
            raise FileFormatError(
                f"{subject} expected {name} of shape {tuple(shape)} and {np.dtype(dtype)}; got "
                f"{array.shape} and {array.dtype}. The file belongs to another model."
            )


@cache
def _name(dtype: np.dtype) -> str:
    """Return a dtype's name, which NumPy puts together anew each time: a tenth of a checkpoint."""
    return dtype.name


def _listed(word: str, names: list[str]) -> str:
    """Return ``"7 missing (a, b, c, d, e, …)"``, or ``""`` for none."""
    more = ", …" if len(names) > 5 else ""
    return f"{len(names)} {word} ({', '.join(names[:5])}{more})" if names else ""


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array as the file stores it, once name and dtype are known to fit."""
    array = np.asarray(array)
    if not isinstance(name, str) or not name or name == "__metadata__":
        raise InputError(f"arrays expected names such as dense_0/W; got {name!r}.")
    if _name(array.dtype) not in _CODES:
        raise InputError(
            f"{name} expected bool, whole numbers or floats of 16 to 64 bits; got {array.dtype}."
        )
    return _little_endian(array)


def _little_endian(array: np.ndarray) -> np.ndarray:
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _bytes(stored: np.ndarray) -> memoryview:
    return stored.reshape(-1).view(np.uint8).data


def _digest(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256, in hexadecimal, of the texts and of the arrays, sorted by name."""
    sha256 = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        sha256.update(json.dumps([name, _name(array.dtype), array.shape]).encode())
        sha256.update(_bytes(_little_endian(array)))
    return sha256.hexdigest()


def _not_whole(path: Path, start: bytes, reason: Exception) -> FileFormatError:
    """Return the error for a file that safetensors refuses, told by its first nine bytes."""
    if not start:
        got = "an empty file"
    elif start[8:] == b"{":
        got = "a damaged or truncated one"
    else:
        kinds = (kind for magic, kind in _FOREIGN.items() if start.startswith(magic))
        got = next(kinds, "something else")
    return FileFormatError(
        f"{path} expected a whole safetensors file, got {got} ({reason}). Copy or save the model "
        f"again."
    )


def _read_document(path: Path, metadata: Mapping[str, str]) -> tuple[dict[str, Any], int]:
    """Return the document and its format version, one that this version of Lamina can read."""
    if "lamina" not in metadata:
        raise FileFormatError(
            f"{path} expected a model that Lamina wrote; got a safetensors file without Lamina's "
            "document, so another library wrote it."
        )
    try:
        version = int(metadata.get("format_version", ""))
        steps_known = all(step in MIGRATIONS for step in range(version, FORMAT_VERSION))
        if version <= FORMAT_VERSION and steps_known:
            document = json.loads(metadata["lamina"], parse_constant=_refuse_constant)
            if not isinstance(document, dict):
                raise ValueError("it is no JSON object")
            return document, version
    except (ValueError, RecursionError) as error:
        raise FileFormatError(f"{path} has a damaged document: {error}.") from error
    newer = version > FORMAT_VERSION
    raise FileFormatError(
        f"{path} was written by Lamina {metadata.get('lamina_version')} in format {version}; this "
        f"is {__version__}, which {'does not yet read' if newer else 'no longer reads'} it. "
        f"{'Upgrade Lamina.' if newer else 'Load it in that version.'}"
    )


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
