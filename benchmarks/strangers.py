"""Files as strangers send them: each reader with small valid files of its kind, to be damaged.

A reader must take any bytes whatever: it returns, or raises one `lamina.errors.LaminaError`; any
other is a fault of the reader. `benchmarks.fuzz` and
``tests/formats/test_strangers.py`` go through this table.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from lamina.errors import LaminaError

PLAIN_TABLE = b'a,b,"c ""x"""\n1,2,red\n3.5,,blue\n"1e3",NA,"a,b"\n'
SERIES = b"""#x
@problemName P
@timeStamps false
@univariate false
@dimensions 2
@equalLength false
@classLabel true a b
@data
1,2,3:4,5,6:a
1.5,2:-4,1e3:b
"""


@dataclass(frozen=True)
class Stranger:
    """A kind of file.

    Parameters
    ----------
    name : str
        What the file is called: readers look at suffixes.
    read : callable
        Takes the path.
    valid : callable
        Returns the content of some files that can be read.
    pack : callable, optional
        Turns what is damaged into the file's content, where a checksum would give damage away.
    """

    name: str
    read: Callable[[Path], Any]
    valid: Callable[[], list[bytes]]
    pack: Callable[[bytes], bytes | None] = lambda content: content

    def try_with(self, content: bytes, folder: Path) -> LaminaError | None:
        """Read these bytes as the file's; return the error of Lamina's that was raised, if any."""
        packed = self.pack(content)
        if packed is None:
            return None
        path = folder / self.name
        path.write_bytes(packed)
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                self.read(path)
        except LaminaError as error:
            return error
        return None


def _read_with(module: str, function: str) -> Callable[[Path], Any]:
    """Return a reader that is imported when it is first called."""

    def read(path: Path) -> Any:
        from importlib import import_module

        return getattr(import_module(f"lamina.{module}"), function)(path)

    return read


def _npy() -> list[bytes]:
    arrays = (np.arange(12, dtype="f4").reshape(3, 4), np.zeros((2, 3, 3), np.uint8), np.eye(2))
    return [_saved(lambda file, A=A: np.save(file, A)) for A in arrays]


def _npz() -> list[bytes]:
    X, y = np.arange(12.0).reshape(3, 4), np.array(["a", "b", "a"])
    parts = {"x_train": X, "y_train": y, "x_test": X}
    return [
        _saved(lambda file: np.savez(file, X=X, y=y)),
        _saved(lambda file: np.savez_compressed(file, **parts)),
    ]


def _saved(save: Callable[[Any], Any]) -> bytes:
    file = io.BytesIO()
    save(file)
    return file.getvalue()


def _idx() -> list[bytes]:
    plain = struct.pack(">4B3I", 0, 0, 8, 3, 2, 3, 3) + bytes(range(18))
    return [plain, struct.pack(">4B1I", 0, 0, 13, 1, 2) + bytes(8), gzip.compress(plain, mtime=0)]


def _wav() -> list[bytes]:
    def sound(code: int, bits: int, channels: int, data: bytes) -> bytes:
        width = bits // 8 * channels
        head = struct.pack("<HHIIHH", code, channels, 8000, 8000 * width, width, bits)
        body = b"fmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", len(data))
        return b"RIFF" + struct.pack("<I", 4 + len(body) + len(data)) + b"WAVE" + body + data

    return [
        sound(1, 16, 1, bytes(range(200))),
        sound(1, 24, 2, bytes(240)),
        sound(3, 32, 1, np.linspace(-1, 1, 50, dtype="f4").tobytes()),
    ]


def _cifar_batch() -> list[bytes]:
    return [b"\3" + bytes(3072), (b"\1" + bytes(range(256)) * 12) * 2]


def _cifar_pickle() -> list[bytes]:
    batch = {b"data": np.zeros((2, 3072), np.uint8), b"labels": [0, 9]}
    return [pickle.dumps(batch, protocol) for protocol in (2, 4)]


def _cifar_archive() -> list[bytes]:
    def packed(mode: str) -> bytes:
        file = io.BytesIO()
        with tarfile.open(fileobj=file, mode=mode) as archive:
            for number in range(1, 6):
                content = _cifar_batch()[0]
                member = tarfile.TarInfo(f"cifar-10-batches-bin/data_batch_{number}.bin")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        return file.getvalue()

    return [packed("w"), packed("w:gz")]


def _parquet() -> list[bytes]:
    import pandas as pd

    frame = pd.DataFrame({"a": [1.0, 2.0], "b": ["x", "y"]})
    return [_saved(lambda file: frame.to_parquet(file, index=False))]


def _image() -> list[bytes]:
    from PIL import Image

    image = Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3))
    kinds = ("PNG", "JPEG", "GIF", "BMP", "TIFF", "WEBP", "PPM")
    return [_saved(lambda file, kind=kind: image.save(file, kind)) for kind in kinds]


def _torch() -> list[bytes]:
    from lamina.formats.torch_writer import write_torch

    arrays = {"0.weight": np.eye(3, dtype="f4"), "0.bias": np.zeros(3, np.float32)}
    return [_written("weights.pt", lambda path: write_torch(path, arrays))]


def _safetensors() -> list[bytes]:
    from lamina.formats.weights import write_weights

    arrays = {"0.weight": np.eye(3, dtype="f4"), "0.bias": np.zeros(3, np.float16)}
    return [_written("weights.safetensors", lambda path: write_weights(path, arrays))]


def _written(name: str, write: Callable[[Path], Any]) -> bytes:
    with TemporaryDirectory() as folder:
        path = Path(folder) / name
        write(path)
        return path.read_bytes()


def _models() -> list[bytes]:
    """Return three model files: a network with an encoder, a convolution, and a factorisation."""
    import pandas as pd

    import lamina

    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 4)), np.arange(12) % 2
    pairs = pd.DataFrame({"u": np.arange(12) % 4, "i": np.arange(12) % 3, "v": rng.random(12)})
    fits = (
        lamina.MLPClassifier(hidden=(2,), max_epochs=1, random_state=0).fit(X, y),
        lamina.ConvClassifier(
            filters=(2,), depth=1, hidden=(), image_shape=(2, 2, 1), max_epochs=1, random_state=0
        ).fit(X, y),
        lamina.RatingFactorization(rank=2, iterations=1, random_state=0).fit(pairs),
    )
    return [_written("m.safetensors", model.save) for model in fits]


def _documents() -> list[bytes]:
    """Return what the models of `_models` are described by, and their arrays, all as JSON."""
    return [_document_of(content) for content in _models()]


def _document_of(content: bytes) -> bytes:
    from lamina.formats.model_file import read_model

    with TemporaryDirectory() as folder:
        path = Path(folder) / "m.safetensors"
        path.write_bytes(content)
        document, arrays = read_model(path)
    told = {name: [str(A.dtype), list(A.shape), A.ravel().tolist()] for name, A in arrays.items()}
    return json.dumps([document, told]).encode()


def _as_model(content: bytes) -> bytes | None:
    """Return a model file, its digest right, with this document and these arrays."""
    from lamina.formats.model_file import write_model

    try:
        document, told = json.loads(content)
        arrays = {
            name: np.array(values, dtype).reshape(shape)
            for name, (dtype, shape, values) in told.items()
        }
        return _written("m.safetensors", lambda path: write_model(path, document, arrays))
    except (ValueError, TypeError, AttributeError, RecursionError, SyntaxError, OverflowError):
        return None  # no document at all; what write_model refuses is an InputError, a ValueError


def _checkpoints() -> list[bytes]:
    """Return the document and arrays of a checkpoint; see `_documents`."""
    import lamina

    with TemporaryDirectory() as folder:
        _small().set_params(checkpoint=lamina.Checkpoint(folder)).fit(*_SMALL_DATA)
        newest = max(Path(folder).glob("step-*"))
        return [_document_of(newest.read_bytes())]


_SMALL_DATA = (np.linspace(-1, 1, 24).reshape(6, 4), np.arange(6) % 2)


def _small() -> Any:
    import lamina

    return lamina.MLPClassifier(hidden=(2,), max_epochs=1, random_state=0, verbose=0)


def _resume(path: Path) -> None:
    _small().set_params(checkpoint=str(path.parent)).fit(*_SMALL_DATA)
    for kept in path.parent.glob("step-*"):
        kept.unlink()


def _onnx() -> list[bytes]:
    import lamina

    X, y = _SMALL_DATA
    model = lamina.MLPClassifier(hidden=(2,), max_epochs=1, random_state=0).fit(X, y)
    return [_written("m.onnx", lambda path: lamina.export_onnx(model, path))]


STRANGERS: dict[str, Stranger] = {
    "npy": Stranger("a.npy", _read_with("formats.arrays", "read_npz"), _npy),
    "npz": Stranger("a.npz", _read_with("formats.arrays", "read_npz"), _npz),
    "idx": Stranger("a-idx3-ubyte", _read_with("formats.idx", "read_idx_array"), _idx),
    "ts": Stranger("a.ts", _read_with("formats.ts_file", "read_ts"), lambda: [SERIES]),
    "text": Stranger("a.txt", _read_with("formats.text_file", "read_text"), lambda: [b"a\r\nb"]),
    "wav": Stranger("a.wav", _read_with("formats.sound_folder", "read_wav"), _wav),
    "csv": Stranger("a.csv", _read_with("formats.tables", "read_table"), lambda: [PLAIN_TABLE]),
    "csv.gz": Stranger(
        "a.csv.gz",
        _read_with("formats.tables", "read_table"),
        lambda: [gzip.compress(PLAIN_TABLE, mtime=0)],
    ),
    "parquet": Stranger("a.parquet", _read_with("formats.tables", "read_table"), _parquet),
    "image": Stranger("a.png", _read_with("formats.image_folder", "read_image_file"), _image),
    "cifar": Stranger("data_batch_1.bin", _read_with("formats.cifar", "read_cifar"), _cifar_batch),
    "cifar pickle": Stranger(
        "data_batch_1", _read_with("formats.cifar", "read_cifar"), _cifar_pickle
    ),
    "cifar archive": Stranger(
        "cifar-10-binary.tar.gz", _read_with("formats.cifar", "read_cifar"), _cifar_archive
    ),
    "torch": Stranger("a.pt", _read_with("formats.weights", "read_weights"), _torch),
    "weights": Stranger(
        "a.safetensors", _read_with("formats.weights", "read_weights"), _safetensors
    ),
    "model": Stranger("m.safetensors", _read_with("estimators.persistence", "load"), _models),
    "document": Stranger(
        "m.safetensors", _read_with("estimators.persistence", "load"), _documents, _as_model
    ),
    "checkpoint": Stranger("step-0000000001.safetensors", _resume, _checkpoints, _as_model),
    "onnx": Stranger("m.onnx", _read_with("formats.onnx.reading", "read_onnx"), _onnx),
}
"""All kinds of files by name. A new reader is a row here."""
