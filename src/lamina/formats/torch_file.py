"""PyTorch's files of weights (``.pt``, ``.pth``), read without PyTorch.

``torch.save`` writes a zip archive: ``NAME/data.pkl``, a pickle of the state dict in which each
tensor is a call with the number of its storage, and ``NAME/data/NUMBER``, that storage's bytes.
Before version 1.6 it wrote pickles one after another, and the storages after them.

A pickle is a program. Here the few names that a state dict needs stand for stand-ins of our own,
and every other name is refused; storages are taken from the file, never longer than it is.
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.array_pickle import check_opcodes
from lamina.formats.files import reading

LEGACY_MAGIC = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""The first pickle of a file from before version 1.6: its magic number."""

STORAGES = {
    "FloatStorage": "f4", "DoubleStorage": "f8", "HalfStorage": "f2", "BFloat16Storage": "bf16",
    "LongStorage": "i8", "IntStorage": "i4", "ShortStorage": "i2", "CharStorage": "i1",
    "ByteStorage": "u1", "BoolStorage": "?",
}  # fmt: skip
_HOLDERS = ("state_dict", "model_state_dict", "model", "weights")
"""Under which of these a checkpoint keeps its state dict."""
_AGAIN = "Get it again from its publisher, or save model.state_dict() alone."


def read_torch(path: Path) -> dict[str, np.ndarray]:
    """Return a state dict's arrays by name, in the file's order, and run nothing.

    Parameters
    ----------
    path : Path
        What ``torch.save(model.state_dict(), path)`` wrote, or a checkpoint with a state dict under
        ``state_dict``, ``model_state_dict``, ``model`` or ``weights``.

    Returns
    -------
    dict of str to array
        16-bit floats (half and bfloat16) as float32, all else as it is. Tensors that share memory
        in the file share it here.

    Raises
    ------
    FileFormatError
        For a file that is truncated or foreign, or whose pickle asks to run code.
    """
    with reading(path), path.open("rb") as file:
        start = file.read(len(LEGACY_MAGIC))
        file.seek(0)
        try:
            document = _zipped(path, file) if start[:2] == b"PK" else _legacy(path, file)
            return _named(path, document)
        except FileFormatError:
            raise
        except OSError:
            raise
        except zipfile.BadZipFile as error:
            raise FileFormatError(
                f"{path} expected a whole zip archive, got a damaged one ({error}). Copy it again."
            ) from error
        except Exception as error:  # a damaged pickle raises whatever its bytes happen to ask for
            raise FileFormatError(
                f"{path} is damaged or truncated ({type(error).__name__}: {str(error)[:200]}). "
                "Copy it again."
            ) from error


def _zipped(path: Path, file: IO[bytes]) -> Any:
    size = file.seek(0, io.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        records = archive.infolist()
        packed = any(record.compress_type != zipfile.ZIP_STORED for record in records)
        if packed or sum(record.file_size for record in records) > size:
            raise FileFormatError(
                f"{path} expected records stored as they are, which is how PyTorch writes them; "
                f"got compressed or overlapping ones. {_AGAIN}"
            )
        names = [record.filename for record in records]
        pickles = [name for name in names if name.count("/") == 1 and name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise FileFormatError(
                f"{path} expected one data.pkl, as torch.save writes it, got a zip archive with "
                f"{len(pickles)} of them. {_AGAIN}"
            )
        folder = pickles[0].removesuffix("data.pkl")
        big = f"{folder}byteorder" in names and archive.read(f"{folder}byteorder") == b"big"
        content = archive.read(pickles[0])
        check_opcodes(str(path), io.BytesIO(content))
        read = _Unpickler(path, io.BytesIO(content), big)
        document = read.load()
        for key, storage in read.storages.items():
            storage.fill(archive.read(f"{folder}data/{key}"))
        return document


def _legacy(path: Path, file: IO[bytes]) -> Any:
    if not file.read(len(LEGACY_MAGIC)) == LEGACY_MAGIC:
        raise FileFormatError(
            f"{path} expected a file of torch.save, got something else. Use a .pt, .pth or "
            ".safetensors file of weights."
        )
    for _ in range(2):  # the protocol's version, and facts about the machine
        _loaded(path, file)
    read, document = _loaded(path, file)
    _, keys = _loaded(path, file)
    if [str(key) for key in keys] != list(dict.fromkeys(map(str, keys))):
        raise FileFormatError(f"{path} expected each storage once. {_AGAIN}")
    for key in keys:
        count, storage = int.from_bytes(file.read(8), "little"), read.storages[str(key)]
        if count != storage.count:
            raise ValueError(f"storage {key} of another size")
        storage.fill(file.read(storage.nbytes))
    return document


def _loaded(path: Path, file: IO[bytes]) -> tuple[_Unpickler, Any]:
    place = file.tell()
    check_opcodes(str(path), file)
    end = file.tell()
    file.seek(place)
    read = _Unpickler(path, io.BytesIO(file.read(end - place)))
    return read, read.load()


class _Storage:
    """The numbers that one or more tensors look at, filled in after the pickle was read."""

    def __init__(self, code: str, count: int, big: bool):
        self.code, self.count, self._order = code, count, ">" if big else "<"
        self._stored = np.dtype("u2" if code == "bf16" else code).newbyteorder(self._order)
        self.nbytes = count * self._stored.itemsize
        self.numbers: np.ndarray | None = None

    def fill(self, content: bytes) -> None:
        """Take the storage's bytes; 16-bit floats become float32."""
        if len(content) != self.nbytes:
            raise ValueError(f"storage of {len(content)} bytes instead of {self.nbytes}")
        stored = np.frombuffer(bytearray(content), self._stored)
        native = stored.astype(stored.dtype.newbyteorder("="), copy=False)
        self.numbers = {"bf16": widened, "f2": lambda half: half.astype(np.float32)}.get(
            self.code, lambda plain: plain
        )(native)


def widened(bits: np.ndarray) -> np.ndarray:
    """Return bfloat16 numbers, given as uint16, as float32: their bits are its upper half."""
    return (bits.astype(np.uint32) << 16).view(np.float32)


class _Tensor:
    """A view of a storage: where it starts, its shape, and its steps in numbers."""

    def __init__(self, storage: Any, offset: Any, shape: Any, strides: Any):
        if not isinstance(storage, _Storage):
            raise ValueError("a tensor without a storage")
        if len(shape) != len(strides) or len(shape) > 32:
            raise ValueError("a tensor whose shape and strides differ in number")
        if not all(type(x) is int and x >= 0 for x in (offset, *shape, *strides)):
            raise ValueError("a tensor whose place is not told in whole numbers")
        reach = sum((size - 1) * step for size, step in zip(shape, strides, strict=True))
        entries = int(np.prod([float(size) for size in shape]))
        if entries and (offset + reach >= storage.count or entries > storage.count):
            raise ValueError("a tensor larger than its storage")
        self.storage, self.offset, self.shape, self.strides = storage, offset, shape, strides

    def array(self) -> np.ndarray:
        """Return the tensor; it shares the storage's memory."""
        numbers = self.storage.numbers
        if numbers is None:
            raise ValueError("a tensor whose storage is not in the file")
        if 0 in self.shape:
            return np.zeros(self.shape, numbers.dtype)
        steps = [step * numbers.itemsize for step in self.strides]
        view = np.lib.stride_tricks.as_strided(numbers[self.offset :], self.shape, steps)
        return view if view.ndim else view.reshape(())


class _Names(dict):
    """Stands for an OrderedDict, attributes left out."""

    def __setstate__(self, state: Any) -> None: ...


class _Call:
    """Stands for a function; it has nothing that a pickle could set."""

    __slots__ = ("_function",)

    def __init__(self, function: Callable[..., Any]):
        self._function = function

    def __call__(self, *arguments: Any) -> Any:
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise ValueError("a function with a state")


class _Unpickler(pickle.Unpickler):
    """An unpickler for which the world holds nothing but tensors by name."""

    def __init__(self, path: Path, stream: IO[bytes], big: bool = False):
        super().__init__(stream, encoding="utf-8")
        self._path, self._big = path, big
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        """Return the stand-in for a global that a state dict needs; refuse every other."""
        if (module, name) == ("collections", "OrderedDict"):
            return _Call(_Names)
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _Call(lambda *arguments: _Tensor(*arguments[:4]))
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _Call(lambda tensor, *_: tensor)
        if module == "torch" and name in STORAGES:
            return name
        raise FileFormatError(
            f"{self._path} asks to run {module}.{name}; refused, for tensors by name are all that "
            f"a file of weights needs. {_AGAIN}"
        )

    def persistent_load(self, pid: Any) -> _Storage:
        """Return the storage of ``("storage", kind, key, device, count)``."""
        word, kind, key, _, count = pid[:5]
        if word != "storage" or kind not in STORAGES or type(count) is not int or count < 0:
            raise ValueError("a storage of an unknown kind")
        if len(pid) > 5 and pid[5] is not None:
            raise ValueError("a storage that is a part of another")
        key, code = str(key), STORAGES[kind]
        found = self.storages.setdefault(key, _Storage(code, count, self._big))
        if (found.code, found.count) != (code, count):
            raise ValueError("one storage told in two ways")
        return found


def _named(path: Path, document: Any) -> dict[str, np.ndarray]:
    """Return the arrays of a state dict, or of the one in a checkpoint."""
    if isinstance(document, dict) and not any(isinstance(v, _Tensor) for v in document.values()):
        held = [document[name] for name in _HOLDERS if isinstance(document.get(name), dict)]
        document = held[0] if held else document
    if not isinstance(document, dict):
        raise FileFormatError(
            f"{path} expected a state dict, tensors by name; got {type(document).__name__}. "
            f"{_AGAIN}"
        )
    arrays = {str(k): v.array() for k, v in document.items() if isinstance(v, _Tensor)}
    if not arrays:
        found = ", ".join(str(name)[:40] for name in list(document)[:5])
        raise FileFormatError(
            f"{path} expected a state dict, tensors by name; got none among {found or 'nothing'}. "
            f"{_AGAIN}"
        )
    return arrays
