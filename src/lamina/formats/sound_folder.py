"""Sounds as series: a `.wav` file, or a folder of them with one sub-folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.formats.class_folders import folder_of_part, list_files
from lamina.formats.dataset import Dataset
from lamina.formats.image_folder import IMAGE_SUFFIXES
from lamina.formats.log_mel import frames, log_mel
from lamina.formats.wav import read_wav_samples

SOUND_SUFFIXES = (".wav",)
_FEATURES = ("log-mel", "samples")


def read_wav(
    path: str | os.PathLike[str],
    features: str = "log-mel",
    frame: float = 0.025,
    hop: float = 0.010,
    bands: int = 40,
) -> Dataset:
    """Return the frames of one sound, as `read_sound_folder` describes them."""
    path = Path(path)
    series, _ = _read_sound(path, features, frame, hop, bands)
    return Dataset([series], None, "series", str(path), (path.name,))


def read_sound_folder(
    path: str | os.PathLike[str],
    features: str = "log-mel",
    frame: float = 0.025,
    hop: float = 0.010,
    bands: int = 40,
    part: str | None = None,
) -> Dataset:
    """Return the frames of a folder's sounds, sorted by class and name.

    Parameters
    ----------
    path : path
        A folder with one sub-folder a class; or with ``train`` and ``test`` that each hold such
        sub-folders; or with sounds only, which then have no labels. All have one sampling rate.
    features : {"log-mel", "samples"}
        What a frame is described by: the logarithms of its energies in mel bands, or its samples.
    frame, hop : float
        Seconds in a frame, and from the start of one to the start of the next; rounded to samples.
    bands : int
        Mel bands; unused for samples.
    part : {"train", "test"}, optional
        Which part of a folder that has both, "train" where not given.

    Returns
    -------
    Dataset
        Of kind "series": ``X`` a list of float32 arrays of shape (frames, bands), or (frames,
        samples in a frame); ``y`` the sub-folders' names (n,), or None; ``row_names`` relative to
        ``path``.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} expected a folder of sounds, got no such folder.")
    files, labels = list_files(folder_of_part(path, part), SOUND_SUFFIXES, "sounds")
    names = tuple(file.relative_to(path).as_posix() for file in files)
    X: list[np.ndarray] = []
    first_rate = 0
    for name, file in zip(names, files, strict=True):
        series, rate = _read_sound(file, features, frame, hop, bands)
        first_rate = first_rate or rate
        if rate != first_rate:
            raise InputError(
                f"{path} expected sounds of one sampling rate, got {names[0]} of {first_rate} Hz "
                f"and {name} of {rate} Hz. Resample them: ffmpeg -i FILE -ar {first_rate} out.wav."
            )
        X.append(series)
    return Dataset(X, np.array(labels) if labels else None, "series", str(path), names)


def is_sound_file(path: str | os.PathLike[str]) -> bool:
    """Tell whether ``path`` is a file with a sound's name."""
    path = Path(path)
    return path.is_file() and path.suffix.lower() in SOUND_SUFFIXES


def is_sound_folder(path: str | os.PathLike[str]) -> bool:
    """Tell whether the first visible sound or image in a folder, or below it, is a sound."""
    for _, folders, names in os.walk(path):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            suffix = Path(name).suffix.lower()
            if not name.startswith(".") and suffix in (*SOUND_SUFFIXES, *IMAGE_SUFFIXES):
                return suffix in SOUND_SUFFIXES
    return False


def _read_sound(
    path: Path, features: str, frame: float, hop: float, bands: int
) -> tuple[np.ndarray, int]:
    """Return the frames of one sound, float32, and its sampling rate."""
    check_choice("features", features, _FEATURES)
    check_number("frame, in seconds,", frame, above=0, at_most=60)
    check_number("hop, in seconds,", hop, above=0, at_most=60)
    check_number("bands", bands, whole=True, at_least=1)
    sound = read_wav_samples(path)
    length, step = (max(1, round(seconds * sound.rate)) for seconds in (frame, hop))
    if features == "samples":
        return frames(sound.samples, length, step).copy(), sound.rate
    return log_mel(sound.samples, sound.rate, length, step, bands), sound.rate
