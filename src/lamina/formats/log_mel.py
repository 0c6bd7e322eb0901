"""Sound as frames of samples, and as the log-mel features of each frame.

The energies of a frame in bands that are evenly wide to the ear:

    S = |rfft(w ⊙ frame)|²        E = M S        feature = ln max(E, 1e-10)

with w Hann's window and M the triangular filters of S. Davis and P. Mermelstein, *Comparison of
parametric representations for monosyllabic word recognition*, IEEE Trans. ASSP 28(4), 1980, figure
1, at even steps of the mel scale ``mel = 2595 log10(1 + f / 700)`` (D. O'Shaughnessy, *Speech
Communication*, 1987, p. 150).
"""

from __future__ import annotations

import numpy as np

from lamina.errors import InputError

_FLOOR = 1e-10  # the energy of silence, so that its logarithm is finite
_BLOCK = 1024  # frames transformed at once


def frames(samples: np.ndarray, length: int, hop: int) -> np.ndarray:
    """Return frames of a sound.

    Parameters
    ----------
    samples : array of shape (t,)
        A sound; one shorter than a frame is filled up with zeros.
    length, hop : int
        Samples in a frame, and from the start of one to the start of the next.

    Returns
    -------
    array of shape (1 + (t - length) // hop, length)
        A view, not to be written to; what is left at the end is passed over.
    """
    if len(samples) < length:
        samples = np.pad(samples, (0, length - len(samples)))
    return np.lib.stride_tricks.sliding_window_view(samples, length)[::hop]


def log_mel(samples: np.ndarray, rate: int, length: int, hop: int, bands: int) -> np.ndarray:
    """Return the log-mel features of a sound.

    Parameters
    ----------
    samples : array of shape (t,)
        A sound, from -1 to 1.
    rate : int
        Samples a second.
    length, hop : int
        Samples in a frame, and from frame to frame.
    bands : int
        Mel bands, from 0 Hz to half the rate.

    Returns
    -------
    float32 array of shape (1 + (t - length) // hop, bands)
        Natural logarithms of energies.
    """
    size = 1 << max(length - 1, 1).bit_length()  # of the transform, a power of two
    M = mel_filters(rate, size, bands).T
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    framed = frames(samples, length, hop)
    features = np.empty((len(framed), bands), np.float32)
    for start in range(0, len(framed), _BLOCK):
        block = slice(start, start + _BLOCK)
        S = np.abs(np.fft.rfft(framed[block] * window, size)) ** 2
        features[block] = np.log(np.maximum(S @ M, _FLOOR))
    return features


def mel_filters(rate: int, size: int, bands: int) -> np.ndarray:
    """Return the triangular filters over the frequencies of a real Fourier transform.

    Parameters
    ----------
    rate : int
        Samples a second.
    size : int
        Samples in the transform.
    bands : int
        Filters. Each rises from the centre of the one before to 1 at its own, and falls to 0 at
        the centre of the next; centres are evenly spaced in mel.

    Returns
    -------
    array of shape (bands, size // 2 + 1)
        Weights, from 0 to 1.
    """
    edges = _hertz(np.linspace(0, _mel(rate / 2), bands + 2))[:, None]
    f = np.arange(size // 2 + 1) * rate / size
    rising = (f - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - f) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    empty = np.flatnonzero(filters.sum(axis=1) == 0)
    if len(empty):
        raise InputError(
            f"bands expected few enough that each holds a frequency of the transform, which are "
            f"{rate / size:.4g} Hz apart, got none in band {empty[0]} of {bands}. Ask for fewer "
            f"bands or longer frames."
        )
    return filters


def _mel(f: np.ndarray | float) -> np.ndarray:
    return 2595 * np.log10(1 + np.asarray(f) / 700)


def _hertz(mel: np.ndarray) -> np.ndarray:
    return 700 * (10 ** (mel / 2595) - 1)
