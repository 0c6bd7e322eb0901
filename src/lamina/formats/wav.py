"""Sound in RIFF/WAVE files: whole numbers of 8 to 32 bits, or floating numbers, read as samples.

Microsoft and IBM, *Multimedia Programming Interface and Data Specifications 1.0* (1991), "Waveform
Audio File Format"; Microsoft, *Multiple channel audio data and WAVE files* (2001), for the
extensible header. All numbers are little-endian; 8-bit samples are unsigned, wider ones signed.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from lamina.errors import FileFormatError
from lamina.formats.files import reading

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_HIGHEST_RATE = 10_000_000  # Hz
_UNTOLD = 0xFFFFFFFF  # a size that a writer left open, as for a stream


@dataclass(frozen=True, eq=False)
class Sound:
    """Samples of one channel.

    Parameters
    ----------
    samples : array of shape (t,)
        float32; whole numbers are divided by their largest, so that they lie in [-1, 1).
    rate : int
        Samples a second.
    """

    samples: np.ndarray
    rate: int


def read_wav_samples(path: str | os.PathLike[str]) -> Sound:
    """Read the samples of a `.wav` file, its channels averaged to one.

    Parameters
    ----------
    path : path
        A RIFF/WAVE file of PCM in 8, 16, 24 or 32 bits or of floating numbers in 32 or 64 bits.
    """
    path = Path(path)
    with reading(path):
        content = path.read_bytes()
    if len(content) < 12 or content[:4] != b"RIFF" or content[8:12] != b"WAVE":
        got = f"one that begins with {content[:12]!r}" if content else "an empty file"
        raise FileFormatError(
            f"{path} expected a RIFF/WAVE file, got {got}. Convert it: ffmpeg -i FILE out.wav."
        )
    chunks = _chunks(path, content)
    if "fmt " not in chunks or "data" not in chunks or len(chunks["fmt "]) < 16:
        raise FileFormatError(
            f"{path} expected the chunks 'fmt ' and 'data', got "
            f"{', '.join(map(repr, chunks)) or 'none'}. The file is cut short: copy it again."
        )
    head = bytes(chunks["fmt "])
    code, channels, rate, _, width, bits = struct.unpack_from("<HHIIHH", head)
    if code == _EXTENSIBLE and len(head) >= 26:
        (code,) = struct.unpack_from("<H", head, 24)  # the sub-format's first two bytes
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    fits = channels >= 1 and width * 8 == channels * bits and 1 <= rate <= _HIGHEST_RATE
    if bits not in known.get(code, ()) or not fits:
        raise FileFormatError(
            f"{path} expected PCM of 8, 16, 24 or 32 bits or floating numbers of 32 or 64, got "
            f"format {code} of {bits} bits, {channels} channels, {width} bytes a frame, {rate} Hz. "
            f"Convert it: ffmpeg -i FILE -c:a pcm_s16le out.wav."
        )
    data = chunks["data"]
    if len(data) % width or not len(data):
        raise FileFormatError(
            f"{path} expected a whole number of samples of {width} bytes, got {len(data)} bytes. "
            f"The file is cut short: copy it again."
        )
    samples = _numbers(data, code == _FLOAT, bits // 8).reshape(-1, channels).mean(axis=1)
    with np.errstate(over="ignore"):
        samples = samples.astype(np.float32)
    wrong = np.flatnonzero(~np.isfinite(samples))
    if len(wrong):
        raise FileFormatError(
            f"{path} expected finite samples, got {samples[wrong[0]]} at sample {wrong[0]}. "
            f"Write the file again."
        )
    return Sound(samples, rate)


def _chunks(path: Path, content: bytes) -> dict[str, memoryview]:
    """Return the first chunk of each name up to the samples, or raise if one is cut short."""
    view, at = memoryview(content), 12
    chunks: dict[str, memoryview] = {}
    while at + 8 <= len(content) and "data" not in chunks:
        name = content[at : at + 4].decode("latin-1")
        (size,) = struct.unpack_from("<I", content, at + 4)
        left = len(content) - at - 8
        if name == "data" and size == _UNTOLD:
            size = left
        if size > left:
            raise FileFormatError(
                f"{path} expected {size} bytes in its chunk {name!r}, got {left}. "
                f"The file is cut short: copy it again."
            )
        chunks.setdefault(name, view[at + 8 : at + 8 + size])
        at += 8 + size + size % 2  # chunks begin at even places
    return chunks


def _numbers(data: memoryview, floating: bool, size: int) -> np.ndarray:
    """Return samples as float64, whole numbers divided by 2^(bits - 1)."""
    if floating:
        return np.frombuffer(data, f"<f{size}").astype(np.float64)
    if size == 1:
        return np.frombuffer(data, np.uint8) / 128 - 1
    if size == 3:  # NumPy has no such number: as the upper three bytes of four
        wide = np.zeros((len(data) // 3, 4), np.uint8)
        wide[:, 1:] = np.frombuffer(data, np.uint8).reshape(-1, 3)
        return wide.view("<i4").ravel() / 2.0**31
    return np.frombuffer(data, f"<i{size}") / 2.0 ** (8 * size - 1)
