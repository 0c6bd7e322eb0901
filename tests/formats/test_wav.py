"""Samples of `.wav` files: every width against SciPy's and Python's own writers."""

import struct
import wave

import numpy as np
import pytest
from scipy.io import wavfile

from lamina.errors import FileFormatError, InputError
from lamina.formats.wav import read_wav_samples

rng = np.random.default_rng(0)
X = rng.uniform(-1, 1, (50, 2))


def riff(fmt, data, *before, size=None):
    body = b"WAVE" + b"".join(before)
    body += struct.pack("<4sI", b"fmt ", len(fmt)) + fmt
    body += struct.pack("<4sI", b"data", len(data) if size is None else size) + data
    return struct.pack("<4sI", b"RIFF", len(body)) + body


def fmt(code=1, channels=1, rate=8000, bits=16, width=None):
    width = channels * bits // 8 if width is None else width
    return struct.pack("<HHIIHH", code, channels, rate, rate * width, width, bits)


@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize(
    ("dtype", "offset", "scale"),
    [("u1", 128, 128), ("i2", 0, 2**15), ("i4", 0, 2**31), ("f4", 0, 1), ("f8", 0, 1)],
)
def test_widths_that_scipy_writes(tmp_path, dtype, offset, scale, channels):
    stored = X[:, :channels] * (0.99 * scale) + offset
    stored = (stored if dtype[0] == "f" else np.round(stored)).astype(dtype)
    wavfile.write(tmp_path / "a.wav", 11_025, stored)
    sound = read_wav_samples(tmp_path / "a.wav")
    assert sound.rate == 11_025
    assert sound.samples.dtype == np.float32
    expected = ((stored.astype(np.float64) - offset) / scale).mean(axis=1)
    np.testing.assert_allclose(sound.samples, expected, rtol=1e-6, atol=1e-7)


def test_twenty_four_bits_by_pythons_writer(tmp_path):
    values = [0, 1, -1, 2**23 - 1, -(2**23), 0x123456, -0x123456]
    with wave.open(str(tmp_path / "a.wav"), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(3)
        file.setframerate(44_100)
        file.writeframes(b"".join(v.to_bytes(3, "little", signed=True) for v in values))
    sound = read_wav_samples(tmp_path / "a.wav")
    np.testing.assert_array_equal(sound.samples, np.array(values) / 2**23)


def test_extensible_header_and_other_chunks(tmp_path):
    extension = struct.pack("<HHIH14s", 22, 16, 0, 1, b"")  # PCM is the sub-format's first word
    odd = struct.pack("<4sI", b"LIST", 3) + b"abc\0"  # padded to an even place
    data = struct.pack("<2h", 2**14, -(2**15))
    (tmp_path / "a.wav").write_bytes(riff(fmt(0xFFFE) + extension, data, odd) + b"LIST")
    np.testing.assert_array_equal(read_wav_samples(tmp_path / "a.wav").samples, [0.5, -1])


def test_a_stream_whose_size_was_left_open(tmp_path):
    (tmp_path / "a.wav").write_bytes(riff(fmt(), b"\0\x40" * 3, size=0xFFFFFFFF))
    np.testing.assert_array_equal(read_wav_samples(tmp_path / "a.wav").samples, [0.5] * 3)


GOOD = riff(fmt(), b"\0" * 8)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", r"RIFF/WAVE file, got an empty file"),
        (b"ID3 an mp3 file", r"RIFF/WAVE file, got one that begins with b'ID3 an"),
        (GOOD[:10], r"RIFF/WAVE file"),
        (GOOD[:12], r"chunks 'fmt ' and 'data', got none"),
        (GOOD[:24], r"expected 16 bytes in its chunk 'fmt ', got 4"),
        (GOOD[:36], r"chunks 'fmt ' and 'data', got 'fmt '"),
        (GOOD[:-3], r"expected 8 bytes in its chunk 'data', got 5.*cut short"),
        (riff(fmt()[:14], b"\0" * 8), r"chunks 'fmt ' and 'data'"),
        (riff(fmt(), b"\0" * 7), r"samples of 2 bytes, got 7"),
        (riff(fmt(), b""), r"samples of 2 bytes, got 0"),
        (riff(fmt(code=7, bits=8), b"\0"), r"got format 7 of 8 bits"),
        (riff(fmt(bits=12, width=2), b"\0\0"), r"got format 1 of 12 bits"),
        (riff(fmt(code=3, bits=16), b"\0\0"), r"got format 3 of 16 bits"),
        (riff(fmt(channels=0), b"\0\0"), r"0 channels"),
        (riff(fmt(width=4), b"\0" * 4), r"4 bytes a frame"),
        (riff(fmt(rate=0), b"\0\0"), r"0 Hz"),
        (riff(fmt(rate=2**27), b"\0\0"), r"134217728 Hz"),
        (riff(fmt(code=3, bits=32), struct.pack("<2f", 0, np.nan)), r"got nan at sample 1"),
    ],
)  # fmt: skip
def test_bad_files_are_refused(tmp_path, content, words):
    path = tmp_path / "a.wav"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=words) as caught:
        read_wav_samples(path)
    assert str(path) in str(caught.value)


def test_nothing_there(tmp_path):
    with pytest.raises(InputError, match="No such file"):
        read_wav_samples(tmp_path / "a.wav")
