"""Convolutional estimators: what they accept, learn, keep and refuse, on 8×8 digits."""

import numpy as np
import pytest

import lamina
from lamina import ConvClassifier, ConvRegressor, LinearRegressor, NetworkClassifier
from lamina.errors import InputError
from lamina.formats.image_encoder import ImageEncoder
from lamina.layers import Conv2D, Cutout, Dense, Flatten, RandomFlip, RandomShift, Sequential
from lamina.training.loop import scores

SMALL = {
    "filters": (8,), "depth": 1, "hidden": (), "learning_rate": 0.02, "batch_size": 64,
    "max_epochs": 2, "random_state": 0,
}  # fmt: skip


def small(Estimator=ConvClassifier, **parameters):
    return Estimator(**SMALL | parameters)


@pytest.fixture(scope="module")
def images(digits):
    """Return 900 digits in random order: images (n, 8, 8, 1) from 0 to 1, and their classes."""
    X, y = digits
    rows = np.random.default_rng(0).permutation(len(X))[:900]
    return X[rows].reshape(-1, 8, 8, 1), y[rows]


def weights_of(model):
    """Return all weights and statistics, to be compared bit by bit."""
    parts = (model.weights_, model.statistics_)
    return [
        (layer, name, W.tobytes())
        for tree in parts
        for layer, arrays in tree.items()
        for name, W in arrays.items()
    ]


# What it learns


def test_a_classifier_reads_digits_it_has_not_seen(images):
    X, y = images
    model = ConvClassifier(
        filters=(8, 16), depth=1, hidden=(32,), learning_rate=0.01, batch_size=32, random_state=0
    )
    assert model.fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.92
    assert model.weights_["conv_0"]["W"].shape == (3, 3, 1, 8)
    assert model.weights_["conv_1"]["W"].shape == (3, 3, 8, 16)
    assert model.weights_["dense_0"]["W"].shape == (2 * 2 * 16, 32)
    assert model.image_shape_ == (8, 8, 1)
    P = model.predict_proba(X[600:])
    np.testing.assert_allclose(P.sum(axis=1), 1, atol=1e-5)
    np.testing.assert_array_equal(model.classes_[P.argmax(axis=1)], model.predict(X[600:]))


def test_a_regressor_measures_what_is_in_a_picture(images):
    X, _ = images
    y = 1000 + 50 * (X[:, :, 4:].mean(axis=(1, 2, 3)) - X[:, :, :4].mean(axis=(1, 2, 3)))
    model = small(ConvRegressor, dropout=0, max_epochs=10)
    assert model.fit(X[:600], y[:600]).score(X[600:], y[600:]) > 0.8


def test_several_labels_an_image(images):
    X, y = images
    Y = np.stack([y >= 5, y == 0, y % 2 == 1], axis=1).astype(int)
    model = small(max_epochs=10).fit(X[:600], Y[:600])
    assert (model.predict(X[600:]) == Y[600:]).mean() > 0.85
    P = model.predict_proba(X[600:])
    np.testing.assert_array_equal(model.predict(X[600:]), P > 0.5)
    assert P.sum(axis=1).max() > 1.2  # labels are independent: no softmax


def test_stages_without_normalisation_or_pooling(images):
    X, y = images
    model = small(batch_norm=False, pool=1, depth=2, filters=(3,)).fit(X[:64], y[:64])
    assert list(model.weights_) == ["conv_0", "conv_1", "dense_0"]
    assert model.weights_["conv_1"]["W"].shape == (3, 3, 3, 3)
    assert model.weights_["conv_1"]["b"].shape == (3,)
    assert model.weights_["dense_0"]["W"].shape == (8 * 8 * 3, 10)


# What images are


def test_images_planes_and_rows_make_the_same_model_to_the_bit(images):
    X, y = images
    flat = X.reshape(len(X), -1)
    models = [
        small().fit(X, y),
        small().fit(X[..., 0], y),
        small(image_shape=(8, 8, 1)).fit(flat, y),
        small(image_shape=(8, -1, 1)).fit(flat, y),
        small(image_shape=[-1, 8, 1]).fit(X, y),
        small(image_shape=(8, 8, 1)).fit(flat.tolist(), y),
    ]
    first = models[0]
    expected = first.predict_proba(X).tobytes()
    for model in models:
        assert weights_of(model) == weights_of(first)
        assert model.input_shape_ == (8, 8, 1)
        assert model.n_features_in_ == 64
        for same in (X, X[..., 0], flat):
            assert model.predict_proba(same).tobytes() == expected


def test_bytes_and_shares_of_255_make_the_same_model(images):
    X, y = images
    pixels = (X * 255).astype(np.uint8)
    shares = pixels / np.float32(255)
    of_bytes, of_shares = small().fit(pixels, y), small().fit(shares, y)
    encoded = small(encoder=ImageEncoder()).fit(pixels, y)
    P = of_shares.predict_proba(shares)
    np.testing.assert_allclose(of_bytes.predict_proba(pixels), P, rtol=1e-3, atol=1e-5)
    np.testing.assert_array_equal(of_bytes.predict(pixels), of_shares.predict(shares))
    assert encoded.predict_proba(pixels).tobytes() == P.tobytes()
    assert encoded.predict_proba(shares).tobytes() == P.tobytes()


def test_each_channel_is_standardised_by_the_training_images(images):
    X, y = images
    colour = np.concatenate([X, 100 * X + 7, np.full_like(X, 3)], axis=-1)
    model = small(max_epochs=1).fit(colour, y)
    found = model.statistics_["standardize_0"]
    pixels = colour.reshape(-1, 3).astype(np.float64)
    np.testing.assert_allclose(found["mean"], pixels.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found["scale"][:2], pixels.std(axis=0)[:2], rtol=1e-5)
    assert found["scale"][2] == 1  # one colour everywhere: nothing to divide by


# Samples that count more


def test_weights_equal_repeated_rows_with_batch_norm(images):
    """All that is trained is the same; the unbiased running variance knows how many rows it saw."""
    X, y = (part[:60] for part in images)
    times = np.random.default_rng(0).integers(0, 3, 60)
    settings = {"dropout": 0, "precision": "float64", "batch_size": 256, "max_epochs": 4}
    weighted, repeated, plain = (small(**settings) for _ in range(3))
    weighted.fit(X, y, sample_weight=times)
    repeated.fit(X.repeat(times, axis=0), y.repeat(times))
    plain.fit(X, y)
    for layer, arrays in repeated.weights_.items():
        for name, W in arrays.items():
            np.testing.assert_allclose(weighted.weights_[layer][name], W, rtol=1e-8, atol=1e-10)
    found, expected = weighted.statistics_, repeated.statistics_
    for layer, name in (("standardize_0", "mean"), ("standardize_0", "scale"),
                        ("batch_norm_0", "mean")):  # fmt: skip
        np.testing.assert_allclose(found[layer][name], expected[layer][name], rtol=1e-9)
    start, cells = 0.9**4, 8 * 8
    biased = [
        (statistics["batch_norm_0"]["variance"] - start) * (1 - 1 / (rows * cells))
        for statistics, rows in ((found, 60), (expected, times.sum()))
    ]
    np.testing.assert_allclose(*biased, rtol=1e-9)
    P = repeated.predict_proba(X)
    np.testing.assert_allclose(weighted.predict_proba(X), P, rtol=1e-3)
    assert np.abs(plain.predict_proba(X) - P).max() > 0.01


def test_a_class_that_counts_more_is_found_more_often(images):
    X, y = images
    eights = [
        (small(class_weight=weight).fit(X, y).predict(X) == 8).sum()
        for weight in (None, {8: 30.0}, {8: 0.0})
    ]
    assert eights[1] > 1.5 * eights[0]
    assert eights[2] == 0


def test_balanced_classes_are_what_equal_counts_are(images):
    X, y = images
    rows = np.concatenate([np.flatnonzero(y == label)[:40] for label in range(10)])
    plain, balanced = (small(class_weight=w).fit(X[rows], y[rows]) for w in (None, "balanced"))
    np.testing.assert_allclose(balanced.predict_proba(X), plain.predict_proba(X), rtol=1e-3)


# Going on and stopping


def test_partial_fit_learns_from_chunks(images):
    X, y = images
    model = small(dropout=0)
    for _ in range(8):
        for start in (0, 300):
            part = slice(start, start + 300)
            model.partial_fit(X[part], y[part], classes=np.arange(10))
    assert model.score(X[600:], y[600:]) > 0.85
    assert len(model.history_["loss"]) == 16


def test_the_first_pass_sets_the_standardisation(images):
    X, y = images
    model = small().partial_fit(X[:300], y[:300], classes=np.arange(10))
    first = model.statistics_["standardize_0"]["mean"].copy()
    model.partial_fit(5 * X[300:], y[300:])
    np.testing.assert_array_equal(model.statistics_["standardize_0"]["mean"], first)


def test_early_stopping_keeps_the_best_weights(images):
    X, y = images
    labels = np.random.default_rng(0).permutation(y[:128])  # noise: there is nothing to learn
    held_out = X[600:], y[600:]
    model = small(early_stopping=3, max_epochs=40, learning_rate=0.03, schedule="constant")
    model.fit(X[:128], labels, validation_data=held_out)
    losses = model.history_["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 3
    assert model.evaluate(*held_out)["loss"] == pytest.approx(losses[best], rel=1e-5)


# Augmentation


AUGMENTED = {"flip": RandomFlip(), "shift": RandomShift(1), "cutout": Cutout(3)}


@pytest.mark.parametrize("name", ["flip", "shift", "cutout", "mixup"])
def test_each_augmentation_trains(images, name):
    X, y = images
    plain = small(max_epochs=5).fit(X, y)
    model = small(augment=(name,), max_epochs=5).fit(X, y)
    own = [layer for layer in model.network_.layers if layer in AUGMENTED.values()]
    assert own == ([AUGMENTED[name]] if name in AUGMENTED else [])
    losses = model.history_["loss"]
    assert losses[-1] < 0.8 * losses[0]
    assert model.score(X, y) > 0.6
    assert losses[-1] > plain.history_["loss"][-1]  # harder images are learned more slowly


def test_augmentation_is_reproducible_and_absent_from_prediction(images):
    X, y = images
    everything = {"augment": ("flip", "shift", "cutout", "mixup"), "dropout": 0.2}
    first, again, other = (small(random_state=seed, **everything).fit(X, y) for seed in (1, 1, 2))
    assert weights_of(first) == weights_of(again)
    assert weights_of(first) != weights_of(other)
    P = first.decision_function(X)
    assert first.decision_function(X).tobytes() == P.tobytes()
    kept = [layer for layer in first.network_.layers if layer not in AUGMENTED.values()]
    assert len(kept) == len(first.network_.layers) - 3
    bare = scores(Sequential(kept), first.weights_, first.statistics_, X)
    assert bare.tobytes() == P.tobytes()


def test_one_augmentation_needs_no_list(images):
    X, y = images
    one, listed = (small(max_epochs=1, augment=given) for given in ("flip", ["flip"]))
    assert weights_of(one.fit(X, y)) == weights_of(listed.fit(X, y))


# The moving average of the weights


def test_averaged_weights_are_the_moving_average_of_descent():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(40, 3)), rng.normal(size=40)
    rate, decay, steps = 0.1, 0.7, 30
    settings = {
        "penalty": None, "optimizer": "sgd", "learning_rate": rate, "schedule": "constant",
        "batch_size": 64, "max_epochs": steps, "scale_target": False, "precision": "float64",
        "random_state": 3,
    }  # fmt: skip
    last = LinearRegressor(**settings).fit(X, y)
    averaged = LinearRegressor(average_weights=decay, **settings).fit(X, y)
    initial, _ = last.network_.initialize(np.random.default_rng(3), (3,))
    w = np.append(initial["dense_0"]["W"][:, 0], initial["dense_0"]["b"]).astype(np.float64)
    ones = np.column_stack([X, np.ones(40)])
    mean = w.copy()
    for t in range(steps):
        w = w - rate * ones.T @ (ones @ w - y) / 40
        kept = min(decay, (1 + t) / (10 + t))
        mean = kept * mean + (1 - kept) * w
    for model, expected in ((last, w), (averaged, mean)):
        found = np.append(model.weights_["dense_0"]["W"][:, 0], model.weights_["dense_0"]["b"])
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    assert np.abs(mean - w).max() > 1e-4


def test_averaged_weights_are_what_predicts(images):
    X, y = images
    last = small().fit(X, y)
    averaged = small(average_weights=0.9).fit(X, y, validation_data=(X, y))
    assert np.abs(averaged.weights_["conv_0"]["W"] - last.weights_["conv_0"]["W"]).max() > 1e-4
    shown = averaged.history_["val_loss"][-1]
    assert averaged.evaluate(X, y)["loss"] == pytest.approx(shown, rel=1e-5)


# Model files


PREDICT = """
import sys
import numpy as np
import lamina
model = lamina.load(sys.argv[1] + "/model.safetensors")
X = np.load(sys.argv[1] + "/X.npy")
np.savez(sys.argv[1] + "/answers.npz", predict=model.predict(X), scores=model._scores(X))
print(type(model).__name__, model.image_shape_)
"""


@pytest.mark.parametrize("Estimator", [ConvClassifier, ConvRegressor])
def test_a_new_process_predicts_the_same_bits(images, Estimator, in_new_process, tmp_path):
    X, y = images
    model = small(Estimator, augment=("shift", "mixup"), average_weights=0.9, kernel_size=(3, 2))
    model.fit(X, y)
    model.save(tmp_path / "model.safetensors")
    np.save(tmp_path / "X.npy", X)
    loaded = lamina.load(tmp_path / "model.safetensors")
    assert loaded.get_params() == model.get_params()
    assert loaded.network_ == model.network_
    assert weights_of(loaded) == weights_of(model)
    assert loaded.predict(X).tobytes() == model.predict(X).tobytes()
    assert in_new_process(PREDICT, tmp_path) == f"{Estimator.__name__} (8, 8, 1)\n"
    with np.load(tmp_path / "answers.npz") as answers:
        assert answers["predict"].tobytes() == model.predict(X).tobytes()
        assert answers["scores"].tobytes() == model._scores(X).tobytes()


# What is refused


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"augment": ("flpi",)}, r"augment expected one of flip.*got 'flpi'. Did you mean 'flip'"),
        ({"augment": None}, r"augment expected some of flip, shift.*got None. Use augment=\(\)"),
        ({"filters": 32}, r"filters expected a sequence .*, got 32. Use filters=\(32,\)\."),
        ({"filters": None}, r"filters expected a sequence .*, got None"),
        ({"hidden": 64}, r"hidden expected a sequence .*, got 64. Use hidden=\(64,\)\."),
        ({"hidden": "64"}, r"hidden expected a sequence .*, got '64'"),
        ({"filters": (0,)}, r"filters expected a whole number at least 1; got 0"),
        ({"kernel_size": 0}, r"kernel_size expected a whole number at least 1; got 0"),
        ({"pool": 0}, r"pool expected a whole number at least 1; got 0"),
        ({"depth": 1.5}, r"depth expected a whole number at least 1; got 1.5"),
        ({"dropout": 1}, r"dropout rate expected a number at least 0 and below 1; got 1"),
        ({"average_weights": 1}, r"average_weights expected a number above 0 and below 1; got 1"),
        ({"image_shape": (8, 8)}, r"image_shape expected \(h, w, c\), got \(8, 8\)"),
        ({"image_shape": 8}, r"image_shape expected \(h, w, c\), got 8"),
        ({"image_shape": (-2, 8, 1)}, r"image_shape expected \(h, w, c\), got \(-2, 8, 1\)"),
        ({"image_shape": (8, 4, 2)}, r"that fits X of shape \(900, 8, 8, 1\), got \(8, 4, 2\)"),
        ({"image_shape": (-1, -1, 1)}, r"that fits X of shape .*, got \(-1, -1, 1\)"),
    ],
)  # fmt: skip
def test_unusable_parameters(images, parameters, words):
    model = small(**parameters)
    with pytest.raises(InputError, match=words):
        model.fit(*images)
    assert not hasattr(model, "weights_")


def test_rows_of_unknown_shape(images):
    X, y = images
    flat = X.reshape(len(X), -1)
    with pytest.raises(InputError, match=r"got shape \(900, 64\)\. Pass image_shape=\(h, w, c\)"):
        small().fit(flat, y)
    with pytest.raises(InputError, match=r"fits X of shape \(900, 64\), got \(7, 9, 1\)"):
        small(image_shape=(7, 9, 1)).fit(flat, y)


@pytest.mark.parametrize(
    ("shape", "words"),
    [
        ((-1, 4, 8, 1), r"samples of shape \(8, 8, 1\), as in training, got \(4, 8, 1\)"),
        ((-1, 4, 8), r"samples of shape \(8, 8, 1\), as in training, got \(4, 8, 1\)"),
        ((-1, 4, 4, 4), r"samples of shape \(8, 8, 1\), as in training, got \(4, 4, 4\)"),
        ((-1, 32), r"X has 32 features, but ConvClassifier is expecting 64"),
    ],
)
def test_images_of_another_size(images, shape, words):
    X, y = images
    model = small(max_epochs=1).fit(X, y)
    with pytest.raises(InputError, match=words):
        model.predict(X.reshape(shape))
    with pytest.raises(InputError, match=words):
        model.fit(X, y, validation_data=(X.reshape(shape), y))


@pytest.mark.parametrize("padding", ["valid", 1])
def test_a_window_larger_than_the_image(images, padding):
    network = Sequential([Conv2D(4, 11, padding=padding), Flatten(), Dense(10)])
    words = (
        r"conv_0 expected samples no smaller than its window \(11, 11\), got \(8, 8\)\. Use a sm"
    )
    with pytest.raises(InputError, match=words):
        NetworkClassifier(network=network).fit(*images)
