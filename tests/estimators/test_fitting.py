"""How a fit goes: weights of samples and classes, validation, stopping, going on, going wrong."""

import io
import pickle

import numpy as np
import pytest

import lamina
from lamina import LinearClassifier, LinearRegressor, MLPClassifier, MLPRegressor
from lamina.errors import DivergenceError


def scores_of(model, X):
    return model.decision_function(X)


def small(**parameters):
    return MLPClassifier(**{"hidden": (16,), "max_epochs": 5, "random_state": 0} | parameters)


# Weights of samples and classes


def test_rows_of_weight_zero_are_ignored(iris):
    X, y = iris
    rng = np.random.default_rng(0)
    garbage = rng.normal(0, 100, X.shape).astype(np.float32)
    mixed, labels = np.concatenate([X, garbage]), np.concatenate([y, rng.permutation(y)])
    weight = np.repeat([1.0, 0.0], 150)
    model = LinearClassifier(precision="float64", random_state=0)
    expected = scores_of(model.fit(X, y), X)
    found = scores_of(model.fit(mixed, labels, sample_weight=weight), X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(scores_of(model.fit(mixed, labels), X) - expected).max() > 1


def test_class_weight_multiplies_sample_weight(iris):
    X, y = iris
    weight = np.random.default_rng(0).uniform(0.5, 2, 150)
    by_class = LinearClassifier(class_weight={0: 3.0, 2: 0.5}, precision="float64")
    by_hand = LinearClassifier(precision="float64")
    factor = np.array([3.0, 1.0, 0.5])[y]
    found = scores_of(by_class.fit(X, y, sample_weight=weight), X)
    expected = scores_of(by_hand.fit(X, y, sample_weight=weight * factor), X)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert np.abs(scores_of(by_hand.fit(X, y, sample_weight=weight), X) - expected).max() > 0.1


def test_balanced_gives_each_class_the_same_total(iris):
    X, y = iris
    few = np.concatenate([np.flatnonzero(y != 1), np.flatnonzero(y == 1)[:10]])
    X, y = X[few], y[few]
    counts = np.bincount(y)
    balanced = LinearClassifier(class_weight="balanced", random_state=0).fit(X, y)
    weight = dict(enumerate(len(y) / (3 * counts)))
    by_dict = LinearClassifier(class_weight=weight, random_state=0).fit(X, y)
    plain = LinearClassifier(random_state=0).fit(X, y)
    np.testing.assert_allclose(scores_of(balanced, X), scores_of(by_dict, X), atol=1e-4)
    rare = y == 1
    gain = balanced.predict_proba(X)[rare, 1] - plain.predict_proba(X)[rare, 1]
    assert (gain > 0).all()


def test_class_weight_names_what_it_cannot_use(iris):
    with pytest.raises(ValueError, match=r"keys among the classes \[0, 1, 2\], got 'setosa'"):
        small(class_weight={"setosa": 2.0}).fit(*iris)
    with pytest.raises(ValueError, match="'balanced', a dict from class to weight, or None; got"):
        small(class_weight="even").fit(*iris)


def test_balanced_bears_a_class_that_a_chunk_lacks(iris):
    X, y = iris
    model = small(class_weight="balanced")
    for part in (y != 2, y != 0):
        model.partial_fit(X[part], y[part], classes=[0, 1, 2])
    assert np.isfinite(scores_of(model, X)).all()


def test_weights_of_all_targets_scale_freely(diabetes):
    X, y = diabetes
    model = LinearRegressor(precision="float64")
    once = model.fit(X, y, sample_weight=np.full(442, 1.0)).predict(X)
    thousandfold = model.fit(X, y, sample_weight=np.full(442, 1000.0)).predict(X)
    np.testing.assert_allclose(thousandfold, once, rtol=1e-9)


# Validation


def test_validation_data_are_recorded_and_never_trained_on(iris):
    X, y = iris
    held = np.arange(0, 150, 5)
    kept = np.setdiff1d(np.arange(150), held)
    alone = small().fit(X[kept], y[kept])
    model = small().fit(X[kept], y[kept], validation_data=(X[held], y[held]))
    np.testing.assert_array_equal(scores_of(model, X), scores_of(alone, X))
    assert {len(values) for values in model.history_.values()} == {5}
    assert model.history_["epoch"] == [1, 2, 3, 4, 5]
    last = {name: values[-1] for name, values in model.history_.items()}
    p = model.predict_proba(X[held])[np.arange(30), y[held]]
    assert last["val_loss"] == pytest.approx(-np.log(p).mean(), rel=1e-5)
    assert last["val_accuracy"] == pytest.approx(model.score(X[held], y[held]))
    assert "val_loss" not in alone.history_


def test_validation_weights_weigh_the_figures(iris):
    X, y = iris
    weight = np.where(y == 0, 1.0, 0.0)
    model = small().fit(X, y, validation_data=(X, y, weight))
    found = model.evaluate(X[y == 0], y[y == 0])
    assert model.history_["val_loss"][-1] == pytest.approx(found["loss"], rel=1e-5)
    assert found["loss"] != pytest.approx(model.evaluate(X, y)["loss"], rel=1e-2)


def test_early_stopping_keeps_the_best_weights(two_labels):
    X, labels = two_labels
    rng = np.random.default_rng(1)
    y = np.where(rng.random(400) < 0.3, 1 - labels[:, 0], labels[:, 0])  # noise to overfit
    train, held = slice(0, 100), slice(100, 400)
    model = MLPClassifier(
        hidden=(64, 64), learning_rate=1e-2, max_epochs=200, early_stopping=5, random_state=0
    )
    model.fit(X[train], y[train], validation_data=(X[held], y[held]))
    losses = model.history_["val_loss"]
    best = int(np.argmin(losses))
    assert len(losses) == best + 1 + 5
    assert model.evaluate(X[held], y[held])["loss"] == pytest.approx(losses[best], rel=1e-5)
    assert losses[-1] > losses[best] + 1e-3


def test_early_stopping_holds_out_a_share_of_each_class(iris):
    X, y = iris
    model = small(early_stopping=3, validation_fraction=0.2, max_epochs=3)
    model.fit(X, y)
    assert len(model.history_["val_loss"]) == 3
    train, targets, _, held = model._hold_out(X, y, None, seed=0)
    assert (len(train), len(held[0])) == (120, 30)
    assert np.bincount(held[1]).tolist() == [10, 10, 10]
    rows = {row.tobytes() for row in X}
    assert {row.tobytes() for row in np.concatenate([train, held[0]])} == rows
    assert np.bincount(targets).tolist() == [40, 40, 40]


def test_callbacks_see_each_epoch_and_may_stop(iris):
    seen = []

    def stop_after_two(record):
        seen.append(record)
        return len(seen) == 2

    model = small(callbacks=[stop_after_two], max_epochs=9).fit(*iris)
    assert [record["epoch"] for record in seen] == [1, 2]
    assert model.history_["loss"] == [record["loss"] for record in seen]


# Going on


def test_warm_start_goes_on_from_the_present_weights(iris):
    X, y = iris
    cold = small(schedule="constant", max_epochs=3)
    first = cold.fit(X, y).history_["loss"]
    assert cold.fit(X, y).history_["loss"] == first
    warm = small(schedule="constant", max_epochs=3, warm_start=True)
    warm.fit(X, y)
    losses = warm.fit(X, y).history_["loss"]
    assert losses[:3] == first
    assert len(losses) == 6
    assert losses[3] < losses[2]


def test_warm_start_keeps_classes_and_columns(iris):
    X, y = iris
    model = small(warm_start=True).fit(X, y)
    assert model.fit(X[y < 2], y[y < 2]).classes_.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"got 7 as well, in 50 rows"):
        model.fit(X, np.where(y == 2, 7, y))
    with pytest.raises(ValueError, match="X has 3 features, but MLPClassifier is expecting 4"):
        model.fit(X[:, :3], y)


@pytest.mark.parametrize("Estimator", [LinearClassifier, MLPClassifier])
def test_partial_fit_learns_from_chunks(digits, Estimator):
    X, y = digits
    model = Estimator(learning_rate=3e-3, random_state=0)
    for epoch in range(5):
        for start in range(0, 1500, 300):
            part = slice(start, start + 300)
            model.partial_fit(X[part], y[part], classes=np.arange(10))
        if epoch == 0:
            early = model.score(X[1500:], y[1500:])
    assert model.score(X[1500:], y[1500:]) > max(0.85, early)
    assert len(model.history_["loss"]) == 25


def test_partial_fit_keeps_the_optimisers_state_between_calls(iris):
    X, y = iris
    # Order aside, one call after the other is one run: so compare full batches.
    run = small(optimizer="adam", batch_size=150, schedule="constant", penalty=None, max_epochs=4)
    run.fit(X, y)
    steps = small(optimizer="adam", batch_size=150, penalty=None)
    for _ in range(4):
        steps.partial_fit(X, y)
    np.testing.assert_allclose(scores_of(steps, X), scores_of(run, X), rtol=1e-5, atol=1e-6)


def test_another_optimiser_between_two_calls_of_partial_fit_starts_afresh(iris, tmp_path):
    """The second pass is that of a model read from a file, which holds no optimiser's state."""
    X, y = iris
    model = small(optimizer="adam").partial_fit(X, y)
    model.save(tmp_path / "model.safetensors")
    read = lamina.load(tmp_path / "model.safetensors")
    for each in (model, read):
        each.set_params(optimizer="momentum").partial_fit(X, y)
    np.testing.assert_array_equal(scores_of(model, X), scores_of(read, X))


def test_partial_fit_needs_all_classes_at_first(iris):
    X, y = iris
    model = small()
    with pytest.raises(ValueError, match=r"at least 2 classes, got one class only: 0\."):
        model.partial_fit(X[:50], y[:50])
    model = small().partial_fit(X[:100], y[:100])
    with pytest.raises(ValueError, match=r"classes of training \(0, 1\), got 2 as well"):
        model.partial_fit(X, y)
    model = small().partial_fit(X[:50], y[:50], classes=[0, 1, 2])
    assert model.predict_proba(X).shape == (150, 3)


def test_partial_fit_weighs_samples(iris):
    X, y = iris
    weight = np.where(y == 2, 0.0, 1.0)
    model = small(learning_rate=0.05)
    for _ in range(20):
        model.partial_fit(X, y, sample_weight=weight)
    assert not (model.predict(X) == 2).any()


def test_partial_fit_of_a_regressor_keeps_the_first_scale(diabetes):
    X, y = diabetes
    model = LinearRegressor(learning_rate=0.05, random_state=0)
    for _ in range(60):
        model.partial_fit(X[:300], y[:300])
        model.partial_fit(X[300:] * 1.0, y[300:])
    assert model.target_mean_ == pytest.approx(y[:300].mean())
    assert model.score(X, y) > 0.45


# Several labels a row


def test_multilabel_fits_predicts_and_scores(two_labels):
    X, Y = two_labels
    model = MLPClassifier(hidden=(32,), learning_rate=1e-2, random_state=0).fit(X[:300], Y[:300])
    P, found = model.predict_proba(X[300:]), model.predict(X[300:])
    assert P.shape == (100, 2)
    np.testing.assert_array_equal(found, P > 0.5)
    assert model.score(X[300:], Y[300:]) > 0.9
    assert model.score(X[300:], Y[300:]) == (found == Y[300:]).all(axis=1).mean()
    both = P.sum(axis=1)  # labels are independent: no softmax
    assert both.max() > 1.8
    assert both.min() < 0.2
    scores = model.decision_function(X[300:])
    np.testing.assert_allclose(P, 1 / (1 + np.exp(-scores)), rtol=1e-4)


def test_multilabel_partial_fit(two_labels):
    X, Y = two_labels
    model = MLPClassifier(hidden=(32,), learning_rate=1e-2, random_state=0)
    for _ in range(30):
        for part in (slice(0, 150), slice(150, 300)):
            model.partial_fit(X[part], Y[part])
    assert model.score(X[300:], Y[300:]) > 0.9
    with pytest.raises(ValueError, match=r"expected 2 label columns, as in training, got 3"):
        model.partial_fit(X, np.concatenate([Y, Y[:, :1]], axis=1))
    with pytest.raises(ValueError, match="expected an indicator matrix, as in training"):
        model.partial_fit(X, Y[:, 0])


def test_multilabel_refuses_class_weight(two_labels):
    with pytest.raises(ValueError, match=r"class_weight expected one label for each row.*sample_w"):
        small(class_weight="balanced").fit(*two_labels)


def test_multilabel_takes_sparse_labels(two_labels):
    from scipy.sparse import csr_array

    X, Y = two_labels
    dense, sparse = small().fit(X, Y), small().fit(X, csr_array(Y))
    np.testing.assert_array_equal(scores_of(sparse, X), scores_of(dense, X))


# The same seed, the same result; pickles; a quiet terminal


def test_the_same_seed_gives_the_same_bits(digits):
    X, y = digits
    fits = [small(dropout=0.2, random_state=seed).fit(X, y) for seed in (3, 3, 4)]
    a, b, c = (scores_of(model, X) for model in fits)
    assert a.tobytes() == b.tobytes()
    assert a.tobytes() != c.tobytes()
    generators = [small(random_state=np.random.RandomState(5)).fit(X, y) for _ in range(2)]
    assert scores_of(generators[0], X).tobytes() == scores_of(generators[1], X).tobytes()


def test_no_seed_gives_another_result_each_time(iris):
    a, b = (scores_of(small(random_state=None).fit(*iris), iris[0]) for _ in range(2))
    assert a.tobytes() != b.tobytes()


def test_a_pickle_predicts_and_goes_on_alike(iris):
    X, y = iris
    model = small().partial_fit(X, y)
    copy = pickle.loads(pickle.dumps(model))
    assert scores_of(copy, X).tobytes() == scores_of(model, X).tobytes()
    assert copy.get_params() == model.get_params()
    again = [scores_of(each.partial_fit(X, y), X).tobytes() for each in (model, copy)]
    assert again[0] == again[1]


def test_silent_when_piped(iris, capfd):
    small(verbose=1).fit(*iris)
    assert capfd.readouterr() == ("", "")


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_verbose_draws_on_a_terminal_and_zero_does_not(iris, monkeypatch):
    for verbose, drawn in ((1, True), (0, False)):
        terminal = Terminal()
        monkeypatch.setattr("sys.stderr", terminal)
        small(verbose=verbose).fit(*iris)
        assert ("accuracy" in terminal.getvalue()) is drawn


# Divergence


def is_finite(model):
    return all(np.isfinite(W).all() for layer in model.weights_.values() for W in layer.values())


def test_divergence_names_the_epoch_and_what_overflowed(diabetes):
    X, y = diabetes
    model = MLPRegressor(hidden=(8,), optimizer="sgd", learning_rate=1e6, random_state=0)
    with pytest.raises(DivergenceError) as caught:
        model.fit(X * 1e3, y)
    words = str(caught.value)
    assert words.startswith("Training diverged in epoch 1, minibatch ")
    assert "the loss is no longer finite in float32" in words
    assert "1e+06" in words
    assert "clip_norm=1.0" in words
    assert is_finite(model)
    assert model.predict(X).shape == (442,)


def test_divergence_names_the_matrix(diabetes):
    X, y = diabetes
    model = MLPRegressor(hidden=(8, 6), optimizer="sgd", learning_rate=1e25, random_state=0)
    with pytest.raises(DivergenceError, match=r"epoch 1, minibatch 2: the output of dense_[01] "):
        model.fit(X, y)
    assert is_finite(model)


def test_weights_are_kept_that_are_finite_when_a_step_overflows_them(diabetes):
    X, y = diabetes
    model = LinearRegressor(optimizer="sgd", learning_rate=3e38, scale_target=False)
    with pytest.raises(DivergenceError, match="dense_0"):
        model.fit(X, y)
    assert is_finite(model)


def test_divergence_later_keeps_the_epochs_before(diabetes):
    X, y = diabetes

    class Shock:
        """A schedule that leaps in the second half."""

        def __call__(self, progress):
            return np.where(progress < 0.5, 1.0, 1e30)

    model = LinearRegressor(
        optimizer="sgd", learning_rate=1e-3, schedule=Shock(), max_epochs=10, batch_size=442
    )
    with pytest.raises(DivergenceError, match=r"in epoch (6|7), minibatch 1"):
        model.fit(X, y)
    assert len(model.history_["loss"]) in (5, 6)
    assert np.isfinite(model.history_["loss"]).all()
    assert np.isfinite(model.coef_).all()
