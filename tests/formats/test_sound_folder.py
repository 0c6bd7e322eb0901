"""Sounds as series: one file, a folder with a sub-folder a class, and what is refused."""

import numpy as np
import pytest
from PIL import Image
from scipy.io import wavfile

from lamina.errors import FileFormatError, InputError
from lamina.formats.log_mel import log_mel
from lamina.formats.read import read
from lamina.formats.readings import SoundFrames
from lamina.formats.sound_folder import is_sound_folder, read_sound_folder, read_wav

rng = np.random.default_rng(0)


def sound(path, n=2000, rate=8000):
    path.parent.mkdir(parents=True, exist_ok=True)
    samples = rng.integers(-(2**15), 2**15, n, dtype=np.int16)
    wavfile.write(path, rate, samples)
    return samples / 2**15


def test_one_file_as_features(tmp_path):
    samples = sound(tmp_path / "a.wav")
    data = read_wav(tmp_path / "a.wav", bands=10)
    assert data.kind == "series"
    assert data.y is None
    assert data.row_names == ("a.wav",)
    np.testing.assert_allclose(data.X[0], log_mel(samples, 8000, 200, 80, 10), rtol=1e-5)


def test_one_file_as_samples(tmp_path):
    samples = sound(tmp_path / "a.wav", 10)
    (X,) = read_wav(tmp_path / "a.wav", features="samples", frame=0.0005, hop=0.0005).X
    assert X.dtype == np.float32
    np.testing.assert_array_equal(X, samples[:8].reshape(2, 4))
    X[0] = 0  # not a view that cannot be written to


def test_one_sub_folder_a_class(tmp_path):
    for name, n in (("no/b.wav", 300), ("no/a.WAV", 2000), ("yes/c.wav", 1000)):
        sound(tmp_path / name, n)
    sound(tmp_path / "no/.hidden.wav")
    data = read_sound_folder(tmp_path)
    assert data.row_names == ("no/a.WAV", "no/b.wav", "yes/c.wav")
    assert data.y.tolist() == ["no", "no", "yes"]
    assert [series.shape for series in data.X] == [(23, 40), (2, 40), (11, 40)]
    assert data.take(np.array([2, 1])).row_names == ("yes/c.wav", "no/b.wav")


def test_parts_and_flat_folders(tmp_path):
    sound(tmp_path / "train/yes/a.wav")
    sound(tmp_path / "test/no/b.wav")
    for part, label in ((None, "yes"), ("train", "yes"), ("test", "no")):
        assert read_sound_folder(tmp_path, part=part).y.tolist() == [label]
    assert read_sound_folder(tmp_path / "test" / "no").y is None
    with pytest.raises(InputError, match=r"sub-folders train and test to read 'test'"):
        read_sound_folder(tmp_path / "test", part="test")


def test_what_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"a folder of sounds, got no such folder"):
        read_sound_folder(tmp_path / "none")
    with pytest.raises(InputError, match=r"expected sounds \(\.wav\), in sub-folders"):
        read_sound_folder(tmp_path)
    sound(tmp_path / "a/1.wav")
    sound(tmp_path / "b/2.wav", rate=16_000)
    with pytest.raises(InputError, match=r"a/1\.wav of 8000 Hz and b/2\.wav of 16000 Hz\. Resamp"):
        read_sound_folder(tmp_path)
    (tmp_path / "b/2.wav").write_bytes(b"RIFF")
    with pytest.raises(FileFormatError, match=r"2\.wav expected a RIFF/WAVE file"):
        read_sound_folder(tmp_path)
    sound(tmp_path / "3.wav")
    with pytest.raises(InputError, match=r"sounds in sub-folders, one a class, or sounds only"):
        read_sound_folder(tmp_path)
    for options, words in (
        ({"features": "mel"}, "features expected one of log-mel, samples"),
        ({"frame": 0}, "frame, in seconds, expected a number above 0"),
        ({"hop": -1}, "hop, in seconds, expected a number above 0"),
        ({"bands": 2.5}, "bands expected a whole number"),
        ({"bands": 500}, "got none in band 0 of 500"),
    ):
        with pytest.raises(InputError, match=words):
            read_wav(tmp_path / "3.wav", **options)


def test_a_folder_is_of_sounds_by_the_first_file_found(tmp_path):
    assert not is_sound_folder(tmp_path)
    assert not is_sound_folder(tmp_path / "none")
    sound(tmp_path / ".hidden/a.wav")
    (tmp_path / "notes.txt").write_text("not a sound")
    assert not is_sound_folder(tmp_path)
    sound(tmp_path / "b/a.wav")
    assert is_sound_folder(tmp_path)
    (tmp_path / "a").mkdir()
    Image.new("L", (2, 2)).save(tmp_path / "a/1.png")
    assert not is_sound_folder(tmp_path)


def test_how_sounds_were_read_is_kept_and_their_rate_asked_for(tmp_path):
    sound(tmp_path / "sounds/1.wav", 2000)
    data = read_sound_folder(tmp_path / "sounds", "samples", 0.01, 0.005)
    assert data.reading == SoundFrames("samples", 0.01, 0.005, 40, 8000)
    again = read(tmp_path / "sounds/1.wav", reading=data.reading)
    np.testing.assert_array_equal(again.X[0], data.X[0])
    assert again.reading == data.reading
    sound(tmp_path / "fast/2.wav", rate=16_000)
    for path in (tmp_path / "fast", tmp_path / "fast/2.wav"):
        words = r"2\.wav expected a sound of 8000 Hz, as in training, got 16000 Hz\. Resample it"
        with pytest.raises(InputError, match=words):
            read(path, reading=data.reading)
