"""Log-mel features: against the discrete Fourier sum written out, and tones of known pitch."""

import math

import numpy as np
import pytest

from lamina.errors import InputError
from lamina.formats.log_mel import frames, log_mel, mel_filters

rng = np.random.default_rng(0)


def test_frames_worked_by_hand():
    np.testing.assert_array_equal(frames(np.arange(8), 4, 3), [[0, 1, 2, 3], [3, 4, 5, 6]])
    np.testing.assert_array_equal(frames(np.arange(7), 4, 3), [[0, 1, 2, 3], [3, 4, 5, 6]])
    np.testing.assert_array_equal(frames(np.arange(6), 4, 3), [[0, 1, 2, 3]])
    np.testing.assert_array_equal(frames(np.ones(2), 4, 3), [[1, 1, 0, 0]])


def test_filters_are_triangles_evenly_spaced_in_mel():
    rate, size, bands = 16_000, 512, 20
    M = mel_filters(rate, size, bands)
    assert M.shape == (bands, 257)
    top = 2595 * math.log10(1 + 8000 / 700)
    edges = [700 * (10 ** (top * k / (bands + 1) / 2595) - 1) for k in range(bands + 2)]
    f = np.arange(257) * 31.25
    for k in range(bands):
        expected = np.interp(f, edges[k : k + 3], [0, 1, 0])
        np.testing.assert_allclose(M[k], expected, atol=1e-9)
    # Between the first and the last centre, falling and rising sides add up to 1.
    inner = (f >= edges[1]) & (f <= edges[-2])
    np.testing.assert_allclose(M[:, inner].sum(axis=0), 1, atol=1e-9)


def test_features_against_the_sum_written_out():
    rate, length, hop, bands = 1000, 12, 5, 4
    x = rng.uniform(-1, 1, 30)
    size = 16  # the power of two above 12
    M = mel_filters(rate, size, bands)
    expected = np.empty((4, bands))
    for i in range(4):
        w = [math.sin(math.pi * n / length) ** 2 for n in range(length)]
        S = [
            abs(
                sum(
                    w[n] * x[i * hop + n] * np.exp(-2j * np.pi * k * n / size)
                    for n in range(length)
                )
            )
            ** 2
            for k in range(size // 2 + 1)
        ]
        expected[i] = np.log(M @ S)
    found = log_mel(x, rate, length, hop, bands)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=1e-5)


def test_a_power_of_two_is_not_widened():
    x = rng.uniform(-1, 1, 16)
    S = np.abs(np.fft.rfft(x * np.sin(np.pi * np.arange(16) / 16) ** 2)) ** 2
    expected = np.log(mel_filters(1000, 16, 4) @ S)
    np.testing.assert_allclose(log_mel(x, 1000, 16, 16, 4)[0], expected, rtol=1e-5)


@pytest.mark.parametrize(("pitch", "band"), [(1000, 13), (3000, 26), (6000, 36)])
def test_a_tone_is_loudest_in_the_band_of_its_pitch(pitch, band):
    # Centres lie at (band + 1) · 2840.02 / 41 mel; 1000 Hz is 999.99 mel, or 14.4 steps.
    tone = np.sin(2 * np.pi * pitch * np.arange(16_000) / 16_000)
    features = log_mel(tone, 16_000, 400, 160, 40)
    assert features.shape == (98, 40)
    np.testing.assert_array_equal(features.argmax(axis=1), band)


def test_silence_is_the_floor_and_doubling_adds_ln_4():
    np.testing.assert_allclose(log_mel(np.zeros(100), 1000, 20, 10, 4), np.log(1e-10), rtol=1e-6)
    x = rng.uniform(-1, 1, 100)
    quiet, loud = (log_mel(gain * x, 1000, 20, 10, 4) for gain in (1, 2))
    np.testing.assert_allclose(loud - quiet, np.log(4), rtol=1e-4)


def test_many_frames_are_those_of_each_part():
    x = rng.uniform(-1, 1, 20 * 1500)
    np.testing.assert_array_equal(
        log_mel(x, 1000, 20, 20, 4)[1100:], log_mel(x[20 * 1100 :], 1000, 20, 20, 4)
    )


def test_more_bands_than_frequencies():
    with pytest.raises(InputError, match=r"62\.5 Hz apart, got none in band 0 of 100.*fewer"):
        mel_filters(16_000, 256, 100)
