"""The language model: what it learns, writes, measures, keeps and refuses."""

import numpy as np
import pytest

import lamina
from lamina import CharacterModel
from lamina.errors import InputError
from lamina.estimators.language import windows
from lamina.layers import PREDICTING

TEXT = "the cat sat on the mat. " * 60


@pytest.fixture(scope="module")
def model():
    model = CharacterModel(
        hidden=(24,), window=8, batch_size=4, max_epochs=12, learning_rate=0.02, random_state=0
    )
    return model.fit(TEXT)


def test_windows_continue_row_by_row():
    """Three streams of two windows: minibatch i holds window i of each, y is one step later."""
    X, y = windows(np.arange(100, 120), streams=3, window=3)
    assert X.tolist() == [
        [100, 101, 102], [106, 107, 108], [112, 113, 114],
        [103, 104, 105], [109, 110, 111], [115, 116, 117],
    ]  # fmt: skip
    np.testing.assert_array_equal(y, X + 1)


def test_it_learns_and_writes(model):
    assert model.history_["bits_per_code"][-1] < 0.5
    assert model.evaluate(TEXT[:200])["bits_per_code"] < 0.5
    assert model.generate("the c", length=12, temperature=0.1, seed=0) == "at sat on th"


def test_a_text_is_measured_by_what_came_before(model):
    """-log₂ p of each character given all before it, computed here by scoring each prefix."""
    text = TEXT[:12]
    codes = model.vocabulary_.encode(text)
    network, weights = model.network_, model.weights_
    bits = []
    for t in range(1, len(codes)):
        scores, _ = network.apply(weights, {}, codes[None, :t], PREDICTING)
        last = np.asarray(scores)[0, -1].astype(np.float64)
        bits.append(-np.log2(np.exp(last[codes[t]]) / np.exp(last).sum()))
    assert model.evaluate(text)["bits_per_code"] == pytest.approx(np.mean(bits), rel=1e-4)


def test_the_held_out_end_is_not_trained_on():
    known, unseen = "abab" * 100, "zyzy" * 20
    model = CharacterModel(
        hidden=(4,), window=4, validation_fraction=80 / 480, max_epochs=1, random_state=0
    )
    model.fit(known + unseen)
    assert set(model.vocabulary_.tokens) == {"a", "b"}
    assert model.history_["val_bits_per_code"][0] > model.history_["bits_per_code"][0]


def test_the_same_seed_writes_the_same(model, tmp_path):
    settings = {"length": 30, "temperature": 3.0}
    first = model.generate("the", seed=3, **settings)
    assert model.generate("the", seed=3, **settings) == first
    assert model.generate("the", seed=4, **settings) != first
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    assert read.generate("the", seed=3, **settings) == first
    assert read.evaluate(TEXT[:50]) == model.evaluate(TEXT[:50])


def test_one_likeliest_is_greedy(model):
    greedy = model.generate("the c", length=20, top_k=1, seed=0)
    assert greedy == model.generate("the c", length=20, top_k=1, temperature=5.0, seed=1)


def test_states_are_carried_over_windows(model):
    """Two windows, one after the other, score as the two read at once."""
    network = model._carrying(3)
    codes = np.random.default_rng(0).integers(0, 8, (3, 16)).astype(np.int32)
    _, empty = network.initialize(np.random.default_rng(0), (8,))
    first, carried = network.apply(model.weights_, empty, codes[:, :8], PREDICTING)
    second, _ = network.apply(model.weights_, carried, codes[:, 8:], PREDICTING)
    whole, _ = model.network_.apply(model.weights_, {}, codes, PREDICTING)
    np.testing.assert_allclose(np.concatenate([first, second], axis=1), whole, atol=1e-5)
    alone, _ = network.apply(model.weights_, empty, codes[:, 8:], PREDICTING)
    assert np.abs(alone - second).max() > 0.1


def test_words(tmp_path):
    model = CharacterModel(
        level="word", hidden=(16,), window=4, batch_size=2, max_epochs=30, learning_rate=0.02,
        random_state=0,
    )  # fmt: skip
    model.fit(TEXT)
    assert model.generate("the cat", length=3, temperature=0.1, seed=0) == "sat on the"


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda m: m.generate("Étude"), "got 'É' at position 0"),
        (lambda m: m.generate("the", temperature=0), "temperature expected a number above 0"),
        (lambda m: m.generate("the", length=0), "length expected a whole number at least 1"),
        (lambda m: m.generate("the", top_k=0), "top_k expected a whole number at least 1"),
        (lambda m: m.evaluate("t"), "at least two characters"),
        (lambda m: CharacterModel().fit("too short"), "more than two windows of 64 steps, got 8"),
        (lambda m: CharacterModel().fit(["a", "b"]), r"a text \(str\), got list"),
        (lambda m: CharacterModel(level="line").fit(TEXT), "level expected"),
    ],
)
def test_bad_input_is_refused(model, call, message):
    with pytest.raises(InputError, match=message):
        call(model)


def test_unseen_characters_can_be_replaced(model):
    assert len(model.generate("Étude", length=5, seed=0, unknown="replace")) == 5
