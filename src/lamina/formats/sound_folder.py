"""Sounds as series: a `.wav` file, or a folder of them with one sub-folder a class."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np

from lamina.errors import InputError, check_choice, check_number
from lamina.formats.class_folders import folder_of_part, list_files
from lamina.formats.dataset import Dataset
from lamina.formats.image_folder import IMAGE_SUFFIXES
from lamina.formats.log_mel import frames, log_mel
from lamina.formats.readings import FEATURES, SoundFrames
from lamina.formats.wav import read_wav_samples

SOUND_SUFFIXES = (".wav",)


def read_wav(
    path: str | os.PathLike[str],
    features: str = "log-mel",
    frame: float = 0.025,
    hop: float = 0.010,
    bands: int = 40,
    rate: int | None = None,
) -> Dataset:
    """Return the frames of one sound, as `read_sound_folder` describes them."""
    path = Path(path)
    asked = SoundFrames(features, frame, hop, bands, rate)
    series, found = _read_sound(path, asked)
    reading = replace(asked, rate=found)
    return Dataset([series], None, "series", str(path), (path.name,), reading)


def read_sound_folder(
    path: str | os.PathLike[str],
    features: str = "log-mel",
    frame: float = 0.025,
    hop: float = 0.010,
    bands: int = 40,
    part: str | None = None,
    rate: int | None = None,
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
    rate : int, optional
        Samples a second that all sounds must have; None for that of the first.

    Returns
    -------
    Dataset
        Of kind "series": ``X`` a list of float32 arrays of shape (frames, bands), or (frames,
        samples in a frame); ``y`` the sub-folders' names (n,), or None; ``row_names`` relative to
        ``path``; ``reading`` the features, with the rate that was found.

    Raises
    ------
    InputError
        For settings that are impossible, a file that is no sound, and another sampling rate.
    """
    path = Path(path)
    if not path.is_dir():
        raise InputError(f"{path} expected a folder of sounds, got no such folder.")
    files, labels = list_files(folder_of_part(path, part), SOUND_SUFFIXES, "sounds")
    names = tuple(file.relative_to(path).as_posix() for file in files)
    asked = SoundFrames(features, frame, hop, bands, rate)
    X: list[np.ndarray] = []
    first_rate = 0
    for name, file in zip(names, files, strict=True):
        series, found = _read_sound(file, asked)
        first_rate = first_rate or found
        if found != first_rate:
            raise InputError(
                f"{path} expected sounds of one sampling rate, got {names[0]} of {first_rate} Hz "
                f"and {name} of {found} Hz. Resample them: ffmpeg -i FILE -ar {first_rate} out.wav."
            )
        X.append(series)
    y, reading = np.array(labels) if labels else None, replace(asked, rate=first_rate)
    return Dataset(X, y, "series", str(path), names, reading)


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


def _read_sound(path: Path, asked: SoundFrames) -> tuple[np.ndarray, int]:
    """Return the frames of one sound, float32, and its sampling rate."""
    check_choice("features", asked.features, FEATURES)
    check_number("frame, in seconds,", asked.frame, above=0, at_most=60)
    check_number("hop, in seconds,", asked.hop, above=0, at_most=60)
    check_number("bands", asked.bands, whole=True, at_least=1)
    sound = read_wav_samples(path)
    if asked.rate not in (None, sound.rate):
        raise InputError(
            f"{path} expected a sound of {asked.rate} Hz, as in training, got "
            f"{sound.rate} Hz. Resample it: ffmpeg -i FILE -ar {asked.rate} out.wav."
        )
    length, step = (max(1, round(seconds * sound.rate)) for seconds in (asked.frame, asked.hop))
    if asked.features == "samples":
        return frames(sound.samples, length, step).copy(), sound.rate
    return log_mel(sound.samples, sound.rate, length, step, asked.bands), sound.rate
