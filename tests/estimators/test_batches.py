"""Fits on iterables of batches: generators, lists and data loaders of tuples (X, y)."""

import jax
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from lamina import LinearRegressor, MLPClassifier
from lamina.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(160, 5)).astype(np.float32)
Y = np.array(["a", "b", "c"])[(X @ RNG.normal(size=(5, 3))).argmax(axis=1)]
BATCHES = [(X[i : i + 32], Y[i : i + 32]) for i in range(0, 160, 32)]
SETTINGS = {"hidden": (8,), "schedule": "constant", "random_state": 0}
CLASSES = ["a", "b", "c"]


class Loader:
    """Begins anew each time, and has no length."""

    def __iter__(self):
        return iter(BATCHES)


@pytest.fixture(scope="module")
def by_generator():
    """Return the model of one walk over a generator."""
    return MLPClassifier(**SETTINGS).fit((batch for batch in BATCHES), classes=CLASSES)


def test_a_generator_is_one_epoch_and_as_good_as_partial_fit(by_generator):
    step_by_step = MLPClassifier(**SETTINGS, batch_size=32)
    for x, y in BATCHES:
        step_by_step.partial_fit(x, y, classes=CLASSES)
    jax.tree.map(
        lambda a, b: assert_allclose(a, b, rtol=1e-4, atol=1e-6),
        by_generator.weights_,
        step_by_step.weights_,
    )
    assert by_generator.history_["epoch"] == [1]


def test_a_list_and_a_loader_are_walked_as_often_as_asked(by_generator):
    once = MLPClassifier(**SETTINGS, max_epochs=1).fit(Loader(), classes=CLASSES)
    jax.tree.map(assert_array_equal, once.weights_, by_generator.weights_)
    a, b = (
        MLPClassifier(**SETTINGS, max_epochs=3).fit(
            batches, classes=CLASSES, validation_data=(X, Y)
        )
        for batches in (BATCHES, Loader())
    )
    jax.tree.map(assert_array_equal, a.weights_, b.weights_)
    assert len(a.history_["val_loss"]) == 3
    assert a.history_["loss"][-1] < a.history_["loss"][0]
    assert a.evaluate(Loader()) == pytest.approx(a.evaluate(X, Y))


def test_a_schedule_needs_a_length():
    clf = MLPClassifier(hidden=(8,), max_epochs=2, random_state=0)
    with pytest.warns(UserWarning, match="schedule='cosine'.*stays constant"):
        clf.fit(Loader(), classes=CLASSES)
    assert clf.history_["learning_rate"] == [1e-3] * 2
    rates = clf.fit(BATCHES, classes=CLASSES).history_["learning_rate"]
    assert rates[1] < rates[0] < 1e-3


def test_weights_of_rows_and_of_classes_count():
    ones = [(x, y, np.ones(len(x))) for x, y in BATCHES]
    halves = [(x, y, (y == "a") * 1.0) for x, y in BATCHES]
    by_rows, by_class = (
        MLPClassifier(**SETTINGS, max_epochs=2, class_weight=weight).fit(batches, classes=CLASSES)
        for batches, weight in ((halves, None), (ones, {"a": 1.0, "b": 0, "c": 0}))
    )
    jax.tree.map(assert_array_equal, by_rows.weights_, by_class.weights_)
    assert (by_rows.predict(X) == "a").mean() > (
        MLPClassifier(**SETTINGS, max_epochs=2).fit(BATCHES, classes=CLASSES).predict(X) == "a"
    ).mean()


def test_values_take_their_scale_from_the_first_batch():
    values = X @ np.arange(5.0) + 3
    batches = [(X[i : i + 32], values[i : i + 32]) for i in range(0, 160, 32)]
    reg = LinearRegressor(max_epochs=60, random_state=0).fit(batches)
    assert_allclose(reg.target_mean_, values[:32].mean())
    assert reg.score(X, values) > 0.99


def test_a_bad_batch_leaves_what_was_trained():
    def batches():
        yield from BATCHES[:3]
        yield BATCHES[3][0], BATCHES[3][1][:5]

    clf = MLPClassifier(**SETTINGS)
    with pytest.raises(InputError, match="one target for each of its 32 rows, got shape"):
        clf.fit(batches(), classes=CLASSES)
    assert clf.score(X, Y) > 0


@pytest.mark.parametrize(
    ("batches", "settings", "told", "message"),
    [
        (iter(BATCHES), {}, {}, "to know all classes before.*Pass classes="),
        (iter(BATCHES), {"max_epochs": 2}, {"classes": CLASSES}, "max_epochs expected 1"),
        (iter([]), {}, {"classes": CLASSES}, "at least one batch"),
        (iter([X, X]), {}, {"classes": CLASSES}, "tuple .X, y..*got ndarray of 160"),
        (BATCHES, {"checkpoint": "run"}, {"classes": CLASSES}, "checkpoint expected data whose"),
        (BATCHES, {"early_stopping": 1}, {"classes": CLASSES}, "expected validation_data"),
        (BATCHES, {"class_weight": "balanced"}, {"classes": CLASSES}, "'balanced' expected"),
        (BATCHES, {}, {"classes": ["a", "b"]}, "got c as well"),
        ([(X, Y, -np.ones(160))], {}, {"classes": CLASSES}, "Sample weights.*at least 0"),
        (BATCHES, {"optimizer": "lbfgs"}, {"classes": CLASSES}, "all data at once"),
    ],
)
def test_what_batches_cannot_do_is_said(batches, settings, told, message):
    clf = MLPClassifier(**SETTINGS | settings)
    with pytest.raises(InputError, match=message):
        clf.fit(batches, **told)


def test_rows_without_targets_are_not_taken_for_batches():
    for rows in (X, X.tolist()):
        with pytest.raises(ValueError, match=r"target y is None|requires y"):
            MLPClassifier().fit(rows)
