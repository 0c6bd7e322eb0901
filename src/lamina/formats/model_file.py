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
import importlib.metadata
import json
import os
import secrets
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from lamina.errors import FileFormatError, InputError, did_you_mean

FORMAT_VERSION = 1
# version v → the function that turns the document and arrays of v into those of v + 1
MIGRATIONS: dict[int, Callable[[dict, dict], tuple[dict, dict]]] = {}

_DTYPES = {
    "BOOL": "bool", "U8": "uint8", "I8": "int8", "U16": "uint16", "I16": "int16", "F16": "float16",
    "U32": "uint32", "I32": "int32", "F32": "float32", "U64": "uint64", "I64": "int64",
    "F64": "float64",
}  # fmt: skip
_CODES = {name: code for code, name in _DTYPES.items()}
_LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit
_KINDS_OF_FILE = {
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
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path} expected a file's name to write the model to; got a folder.")
    if not path.parent.is_dir():
        raise InputError(f"{path} cannot be written: there is no folder {path.parent}.")
    try:
        text = json.dumps(dict(document), allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        raise InputError(f"document expected what JSON can hold; got another: {error}.") from error
    stored = {name: _storable(name, array) for name, array in arrays.items()}
    metadata = {
        "format_version": str(FORMAT_VERSION),
        "lamina": text,
        "lamina_version": _lamina_version(),
    }
    metadata["sha256"] = _digest(metadata, stored)
    # Widest numbers first keeps every array aligned.
    stored = dict(sorted(stored.items(), key=lambda item: (-item[1].dtype.itemsize, item[0])))
    header: dict[str, Any] = {"__metadata__": metadata}
    start = 0
    for name, array in stored.items():
        code, place = _CODES[array.dtype.name], [start, start + array.nbytes]
        header[name] = {"dtype": code, "shape": list(array.shape), "data_offsets": place}
        start += array.nbytes
    encoded = json.dumps(header).encode()
    encoded += b" " * (-len(encoded) % 8)
    passing = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with passing.open("xb") as out:
            out.write(len(encoded).to_bytes(8, "little") + encoded)
            for array in stored.values():
                out.write(_bytes(array))
            out.flush()
            os.fsync(out.fileno())
        os.replace(passing, path)
    except OSError as error:
        raise InputError(f"{path} could not be written: {error.strerror or error}.") from error
    finally:
        passing.unlink(missing_ok=True)


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
    from safetensors.numpy import load_file

    path = Path(path)
    if not path.is_file():
        what = "a folder" if path.is_dir() else "no such file"
        near = did_you_mean(path.name, _names_beside(path))
        raise InputError(f"{path} expected a model file; got {what}.{near}")
    try:
        header = _read_header(path)
        document, version, metadata = _read_metadata(path, header)
        loaded = load_file(path)
        arrays = {name: loaded.pop(name).copy() for name in sorted(loaded)}
    except InputError:
        raise
    except OSError as error:
        raise InputError(f"{path} could not be read: {error.strerror or error}.") from error
    except Exception as error:  # safetensors' own error is a plain Exception; NumPy adds others
        raise FileFormatError(f"{path} is a damaged safetensors file: {error}.") from error
    stated = metadata.pop("sha256", None)
    if stated != _digest(metadata, arrays):
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


def _listed(word: str, names: list[str]) -> str:
    """Return ``"7 missing (a, b, c, d, e, …)"``, or ``""`` for none."""
    more = ", …" if len(names) > 5 else ""
    return f"{len(names)} {word} ({', '.join(names[:5])}{more})" if names else ""


def _storable(name: str, array: np.ndarray) -> np.ndarray:
    """Return the array as the file stores it: little-endian, row by row."""
    array = np.asarray(array)
    if not isinstance(name, str) or not name or name == "__metadata__":
        raise InputError(f"arrays expected names such as dense_0/W; got {name!r}.")
    if array.dtype.name not in _CODES:
        raise InputError(
            f"{name} expected bool, whole numbers or floats of 16 to 64 bits; got {array.dtype}."
        )
    return np.asarray(array, array.dtype.newbyteorder("<"), order="C")


def _bytes(stored: np.ndarray) -> memoryview:
    return stored.reshape(-1).view(np.uint8).data


def _lamina_version() -> str:
    try:
        return importlib.metadata.version("lamina")
    except importlib.metadata.PackageNotFoundError:  # run from its source, not installed
        return "an unknown version"


def _digest(metadata: Mapping[str, str], arrays: Mapping[str, np.ndarray]) -> str:
    """Return the SHA-256, in hexadecimal, of the texts and of the arrays, sorted by name."""
    sha256 = hashlib.sha256(json.dumps(metadata, sort_keys=True).encode())
    for name, array in sorted(arrays.items()):
        stored = _storable(name, array)
        sha256.update(json.dumps([name, stored.dtype.name, stored.shape]).encode())
        sha256.update(_bytes(stored))
    return sha256.hexdigest()


def _names_beside(path: Path) -> Iterable[str]:
    try:
        return [entry.name for entry in path.parent.iterdir()]
    except OSError:
        return []


def _read_header(path: Path) -> dict[str, Any]:
    """Return a safetensors header whose claims the file's size has been found to honour."""
    size = path.stat().st_size
    if size == 0:
        raise FileFormatError(f"{path} expected a model file; got an empty file.")
    with path.open("rb") as file:
        start = file.read(9)
        length = int.from_bytes(start[:8], "little")
        if start[8:] != b"{" or length > _LONGEST_HEADER:
            kinds = (kind for magic, kind in _KINDS_OF_FILE.items() if start.startswith(magic))
            kind = next(kinds, f"something else, or a part of one ({size} bytes)")
            raise FileFormatError(f"{path} expected a safetensors file; it looks like {kind}.")
        if 8 + length > size:
            raise _truncated(path, 8 + length, size)
        file.seek(8)
        encoded = file.read(length)
    try:
        header = json.loads(encoded)
        rows = {name: row for name, row in header.items() if name != "__metadata__"}
        end = 8 + length + max((row["data_offsets"][1] for row in rows.values()), default=0)
        dtypes = {row["dtype"] for row in rows.values()}
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise FileFormatError(f"{path} has a damaged header: {error}.") from error
    if end > size:
        raise _truncated(path, end, size)
    if strange := sorted(map(str, dtypes - set(_DTYPES))):
        raise FileFormatError(
            f"{path} expected arrays of bool, whole numbers or floats of 16 to 64 bits; got "
            f"{', '.join(strange[:5])}."
        )
    return header


def _truncated(path: Path, expected: int, size: int) -> FileFormatError:
    return FileFormatError(
        f"{path} is truncated: expected {expected} bytes, got {size}. Copy or save the model again."
    )


def _read_metadata(path: Path, header: dict) -> tuple[dict[str, Any], int, dict[str, str]]:
    """Return the document, its format version and all metadata."""
    metadata = header.get("__metadata__")
    if not isinstance(metadata, dict) or "lamina" not in metadata:
        raise FileFormatError(
            f"{path} expected a model that Lamina wrote; got a safetensors file without Lamina's "
            "document, so another library wrote it."
        )
    writer = f"{path} was written by Lamina {metadata.get('lamina_version')}"
    try:
        version = int(metadata.get("format_version", ""))
        if version > FORMAT_VERSION:
            raise FileFormatError(
                f"{writer} in format {version}; this is {_lamina_version()}, which reads formats "
                f"up to {FORMAT_VERSION}. Upgrade Lamina."
            )
        if any(step not in MIGRATIONS for step in range(version, FORMAT_VERSION)):
            raise FileFormatError(
                f"{writer} in format {version}; this is {_lamina_version()}, which no longer reads "
                "it. Load it in that version."
            )
        document = json.loads(metadata["lamina"], parse_constant=_refuse_constant)
    except FileFormatError:
        raise
    except (ValueError, TypeError, RecursionError) as error:
        raise FileFormatError(f"{path} has a damaged document: {error}.") from error
    if not isinstance(document, dict):
        raise FileFormatError(f"{path} has a damaged document: it is no JSON object.")
    return document, version, metadata


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
