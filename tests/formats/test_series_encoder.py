"""SeriesEncoder: every channel standardised over all steps, and the series that is wrong named."""

import json
from dataclasses import replace

import numpy as np
import pytest

from lamina.errors import FileFormatError, InputError
from lamina.formats.readings import LongTable, SoundFrames
from lamina.formats.series_encoder import SeriesEncoder

rng = np.random.default_rng(0)
X = [rng.normal([1, -5], [2, 0.1], (t, 2)) for t in (4, 1, 9)]


def test_channels_are_standardised_over_all_steps():
    encoder = SeriesEncoder().fit(X)
    steps = np.concatenate(X)
    np.testing.assert_allclose(encoder.mean, steps.mean(axis=0))
    np.testing.assert_allclose(encoder.scale, steps.std(axis=0))
    Z = encoder.transform(X)
    assert [each.shape for each in Z] == [(4, 2), (1, 2), (9, 2)]
    assert {each.dtype for each in Z} == {np.dtype(np.float32)}
    expected = (X[2] - steps.mean(axis=0)) / steps.std(axis=0)
    np.testing.assert_allclose(Z[2], expected, rtol=1e-5)
    assert encoder.output_names == ("channel 0", "channel 1")
    assert encoder.input_width == 2


def test_other_steps_are_measured_by_the_training_ones():
    encoder = SeriesEncoder().fit([np.array([[0.0], [2.0]])])
    np.testing.assert_array_equal(encoder.transform([[[3.0], [5.0]]])[0], [[2], [4]])


def test_an_array_stays_an_array():
    A = rng.normal(size=(3, 5, 2))
    encoder = SeriesEncoder().fit(A)
    assert encoder == SeriesEncoder().fit(list(A))
    Z = encoder.transform(A)
    assert isinstance(Z, np.ndarray)
    np.testing.assert_array_equal(Z, np.stack(encoder.transform(list(A))))
    assert encoder.transform(A[:0]).shape == (0, 5, 2)


def test_one_channel_constants_and_numbers_as_they_are():
    encoder = SeriesEncoder().fit([np.array([3, 3]), np.array([3])])
    assert (encoder.mean, encoder.scale) == ((3.0,), (1.0,))
    np.testing.assert_array_equal(encoder.transform([np.array([4, 3])])[0], [[1], [0]])
    plain = SeriesEncoder(standardize=False).fit(X)
    for Z, each in zip(plain.transform(X), X, strict=True):
        np.testing.assert_array_equal(Z, each.astype(np.float32))
    loose = np.empty(2, object)
    loose[:] = X[:2]
    np.testing.assert_array_equal(plain.transform(loose)[1], X[1].astype(np.float32))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (np.zeros((0, 2)), r"at least one step.*shape \(0, 2\) in series 3 \(X\[3\]\)"),
        (np.zeros((2, 0)), r"at least one step and one channel.*series 3"),
        (np.zeros((2, 3)), r"2 channels, as in .*got shape \(2, 3\) in series 3 \(X\[3\]\)"),
        (np.array([[0, 1], [2, np.nan]]), r"got nan in series 3, step 1, channel 1 \(X\[3\]\[1, 1"),
        (np.array([[np.inf, 1]]), r"got inf in series 3, step 0, channel 0"),
        (np.array([["a", "b"]]), r"numeric series of shape \(t, m\), got <U1 of shape"),
        (np.zeros((1, 2, 2)), r"numeric series of shape \(t, m\).*series 3"),
        ([[1, 2], [3]], r"numeric series of shape \(t, m\).*series 3"),
        (None, r"numeric series of shape \(t, m\).*series 3"),
    ],
)
def test_the_wrong_series_is_named(wrong, words):
    for call in (SeriesEncoder().fit, SeriesEncoder().fit(X).transform):
        with pytest.raises(InputError, match=words):
            call([*X, wrong])


@pytest.mark.parametrize("wrong", [np.zeros((3, 4)), np.zeros(3), 3, "abc", {}])
def test_what_is_no_list_of_series(wrong):
    with pytest.raises(InputError, match=r"a list of arrays \(t, m\) or an array \(n, t, m\)"):
        SeriesEncoder().fit(wrong)


def test_no_series_and_unfitted():
    with pytest.raises(InputError, match="at least one series, got none"):
        SeriesEncoder().fit([])
    assert SeriesEncoder().fit(X).transform([]) == []
    with pytest.raises(InputError, match="expected to be fitted first"):
        SeriesEncoder().transform(X)


def test_what_leaves_float32_is_named():
    encoder = SeriesEncoder().fit([np.array([[0.0], [1e-3]])])
    with pytest.raises(InputError, match=r"got 1e\+38 in series 0, step 0, channel 0"):
        encoder.transform([np.array([[1e38]])])


def test_how_files_were_read_travels_along():
    encoder = SeriesEncoder(reading=LongTable("who", "when", ("a", "b"))).fit(X)
    assert encoder.output_names == ("a", "b")
    for reading in (encoder.reading, SoundFrames("samples", 0.5, 1, 3, 8000), None):
        told = replace(encoder, reading=reading)
        document = json.loads(json.dumps(told.to_document()))
        assert SeriesEncoder.from_document(document) == told
    document.pop("reading")  # as written before there were readings
    assert SeriesEncoder.from_document(document) == replace(encoder, reading=None)


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ({"kind": "tape"}, "'kind' to be one of long table, sound frames, text column"),
        ({"kind": "long table", "id": None, "time": "t", "channels": [1]}, "names of columns"),
        ({"kind": "long table", "id": 3, "time": "t", "channels": []}, "'id' to be"),
        ({"kind": "sound frames", "features": "mfcc"}, "'features' to be one of log-mel, samples"),
        ({"kind": "sound frames", "features": "samples", "frame": 0, "hop": 1, "bands": 4,
          "rate": 8000}, "'frame' to be a finite number above 0"),
        ({"kind": "sound frames", "features": "samples", "frame": 1, "hop": 1, "bands": 4,
          "rate": -1}, "'rate' to be a whole number"),
        ("long table", "the entry 'kind'"),
    ],
)  # fmt: skip
def test_an_edited_reading_is_refused(reading, words):
    document = SeriesEncoder().fit(X).to_document() | {"reading": reading}
    with pytest.raises(FileFormatError, match=words):
        SeriesEncoder.from_document(document)
