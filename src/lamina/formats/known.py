"""Known data sets: what they are, where they lie on this machine, and how to get them.

A set is looked for in ``LAMINA_DATA_DIR/name``, then in the user's cache, and downloaded into the
cache only when `fetch` is called. Checksums are those that publishers and the usual loaders state.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lamina.cache import cache_folder
from lamina.errors import InputError, check_choice
from lamina.formats.dataset import Dataset
from lamina.formats.download import RemoteFile, download
from lamina.formats.files import unwritable


@dataclass(frozen=True)
class KnownDataset:
    """A data set that Lamina knows by name.

    Parameters
    ----------
    name : str
        The name that `locate` and `fetch` take, and the name of its folder.
    title, shape, licence, home : str
        What it is, how many rows of what form, under which terms, and its own page.
    files : tuple of RemoteFile
        What `fetch` downloads; empty where scikit-learn brings the set along.
    """

    name: str
    title: str
    shape: str
    licence: str
    home: str
    files: tuple[RemoteFile, ...] = ()


def _files(base: str, *rows: tuple[str, str, int]) -> tuple[RemoteFile, ...]:
    return tuple(RemoteFile(name, base + name, md5, size) for name, md5, size in rows)


_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"
_MNIST_MIRROR = "https://ossci-datasets.s3.amazonaws.com/mnist/"
_TORONTO = "https://www.cs.toronto.edu/~kriz/"
_CIFAR_TERMS = "none stated; cite Krizhevsky (2009)"
# fmt: off
_ALL = (
    KnownDataset(
        "mnist", "MNIST handwritten digits", "60,000 + 10,000 grey images of 28x28, 10 classes",
        "none stated by its authors", "http://yann.lecun.com/exdb/mnist/",
        _files(
            _MNIST_MIRROR,
            ("train-images-idx3-ubyte.gz", "f68b3c2dcbeaaa9fbdd348bbdeb94873", 9_912_422),
            ("train-labels-idx1-ubyte.gz", "d53e105ee54ea40749a09fcbcd1e9432", 28_881),
            ("t10k-images-idx3-ubyte.gz", "9fb629c4189551a2d022fa330f9573f3", 1_648_877),
            ("t10k-labels-idx1-ubyte.gz", "ec29112dd5afa0611ce80d1b7f02629c", 4_542),
        ),
    ),
    KnownDataset(
        "fashion-mnist", "Fashion-MNIST, Zalando's articles",
        "60,000 + 10,000 grey images of 28x28, 10 classes",
        "MIT", "https://github.com/zalandoresearch/fashion-mnist",
        _files(
            _FASHION,
            ("train-images-idx3-ubyte.gz", "8d4fb7e6c68d591d4c3dfef9ec88bf0d", 26_421_880),
            ("train-labels-idx1-ubyte.gz", "25c81989df183df01b3e8a0aad5dffbe", 29_515),
            ("t10k-images-idx3-ubyte.gz", "bef4ecab320f06d8554ea6380940ec79", 4_422_102),
            ("t10k-labels-idx1-ubyte.gz", "bb300cfdad3c16e7a12a480ee83cd310", 5_148),
        ),
    ),
    KnownDataset(
        "cifar-10", "CIFAR-10", "50,000 + 10,000 colour images of 32x32, 10 classes",
        _CIFAR_TERMS, _TORONTO + "cifar.html",
        _files(
            _TORONTO,
            ("cifar-10-binary.tar.gz", "c32a1d4ab5d03f1284b67883e8d87530", 170_052_171),
        ),
    ),
    KnownDataset(
        "cifar-10-python", "CIFAR-10, the pickled version",
        "50,000 + 10,000 colour images of 32x32, 10 classes",
        _CIFAR_TERMS, _TORONTO + "cifar.html",
        _files(
            _TORONTO,
            ("cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a", 170_498_071),
        ),
    ),
    KnownDataset(
        "cifar-100", "CIFAR-100", "50,000 + 10,000 colour images of 32x32, 100 classes",
        _CIFAR_TERMS, _TORONTO + "cifar.html",
        _files(
            _TORONTO,
            ("cifar-100-binary.tar.gz", "03b5dce01913d631647c71ecec9e9cb8", 168_513_733),
        ),
    ),
    KnownDataset(
        "digits", "Optical recognition of handwritten digits",
        "1,797 grey images of 8x8, 10 classes",
        "CC BY 4.0", "https://archive.ics.uci.edu/dataset/80",
    ),
    KnownDataset(
        "iris", "Fisher's iris", "150 rows of 4 numbers, 3 classes",
        "CC BY 4.0", "https://archive.ics.uci.edu/dataset/53",
    ),
)
# fmt: on
KNOWN_DATASETS: dict[str, KnownDataset] = {known.name: known for known in _ALL}


def locate(name: str) -> Path | None:
    """Return the folder of a known set on this machine, or None.

    ``LAMINA_DATA_DIR/name`` counts as soon as it is there, whatever form its files have; the
    cache's only when it is complete.
    """
    known = _known(name)
    if data_dir := os.environ.get("LAMINA_DATA_DIR"):
        folder = Path(data_dir).expanduser() / name
        if folder.is_dir():
            return folder
    folder = _cached(name)
    return folder if known.files and all(file.is_in(folder) for file in known.files) else None


def fetch(
    name: str,
    folder: str | Path | None = None,
    progress: Callable[[str, int, int], None] | None = None,
) -> Path:
    """Return the folder of a known set, downloading what is missing.

    Parameters
    ----------
    name : str
        A set of `KNOWN_DATASETS` that has files.
    folder : str or Path, optional
        Where to put the files; where not given, the folder that `locate` finds, else the cache.
    progress : callable, optional
        Called with a file's name, the bytes done and its size in bytes.

    Returns
    -------
    Path
        The folder; every file downloaded into it has the size and the checksum expected.
    """
    known = _known(name)
    if not known.files:
        raise InputError(
            f"{name} comes with scikit-learn, so there is nothing to fetch. Read it by its name."
        )
    if folder is None and (located := locate(name)):
        return located
    folder = Path(folder or _cached(name))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(folder, error) from error
    remedy = (
        f"Try again, or put the files of {known.home} in LAMINA_DATA_DIR/{name} by hand "
        "(the environment variable LAMINA_DATA_DIR names a folder of yours)."
    )
    for file in known.files:
        if not file.is_in(folder):
            download(file, folder, remedy, progress or (lambda *_: None))
    return folder


def load_bundled(name: str) -> Dataset:
    """Return a set that scikit-learn brings along.

    Parameters
    ----------
    name : {"digits", "iris"}
        ``digits``: ``X`` float32 of shape (1797, 8, 8, 1) from 0 to 1, ``y`` int64. ``iris``: ``X``
        a table of 150 rows and four columns in centimetres, ``y`` the species' names.
    """
    check_choice("name", name, [known.name for known in _ALL if not known.files])
    from sklearn import datasets

    source = f"scikit-learn's {name}"
    if name == "digits":
        digits: Any = datasets.load_digits()
        images = (digits["images"] / 16).astype(np.float32)  # stored as 0 to 16
        return Dataset(images[..., None], digits["target"].astype(np.int64), "images", source)
    iris: Any = datasets.load_iris(as_frame=True)
    return Dataset(iris["data"], iris["target_names"][iris["target"]], "table", source)


def _known(name: str) -> KnownDataset:
    return KNOWN_DATASETS[check_choice("data set", name, KNOWN_DATASETS)]


def _cached(name: str) -> Path:
    return cache_folder() / "datasets" / name
