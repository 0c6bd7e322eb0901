"""Unusable parameters and data: each one clear error, and nothing half fitted left behind."""

import numpy as np
import pytest

from lamina import LinearClassifier, LinearRegressor, MLPClassifier, MLPRegressor
from lamina.errors import InputError


@pytest.mark.parametrize(
    ("parameters", "words"),
    [
        ({"alpha": -1.0}, "alpha expected a number at least 0; got -1.0."),
        ({"alpha": "strong"}, "alpha expected a number at least 0; got 'strong'."),
        ({"penalty": "l3"}, "penalty expected one of l1, l2, elastic_net; got 'l3'."),
        ({"penalty": "elastic_net", "l1_ratio": 1.5}, "l1_ratio expected a number at least 0 and"),
        ({"activation": "rleu"}, "got 'rleu'. Did you mean 'relu'?"),
        ({"init": "hee"}, "init expected one of"),
        ({"hidden": 64}, "units of each hidden layer, got 64. Use hidden=(64,)."),
        ({"hidden": np.int64(64)}, "units of each hidden layer, got 64. Use hidden=(64,)."),
        ({"hidden": (64, 0)}, "units expected a whole number at least 1; got 0."),
        ({"hidden": (64, 2.5)}, "units expected a whole number at least 1; got 2.5."),
        ({"dropout": 1.0}, "dropout rate expected a number at least 0 and below 1; got 1.0."),
        ({"dropout": -0.1}, "dropout rate expected a number at least 0 and below 1; got -0.1."),
        ({"batch_size": 0}, "batch_size expected a whole number at least 1; got 0."),
        ({"batch_size": 32.0}, "batch_size expected a whole number at least 1; got 32.0."),
        ({"max_epochs": 0}, "max_epochs expected a whole number at least 1; got 0."),
        ({"learning_rate": 0.0}, "learning_rate expected a number above 0; got 0.0."),
        ({"learning_rate": float("nan")}, "learning_rate expected a number above 0; got nan."),
        ({"clip_norm": -1}, "clip_norm expected a number above 0; got -1."),
        ({"early_stopping": 0}, "early_stopping expected a whole number at least 1; got 0."),
        (
            {"validation_fraction": 1.0},
            "validation_fraction expected a number at least 0 and below 1",
        ),
        ({"optimizer": "adm"}, "got 'adm'. Did you mean 'adam'?"),
        ({"schedule": "cosin"}, "got 'cosin'. Did you mean 'cosine'?"),
        ({"loss": "hing"}, "got 'hing'. Did you mean 'hinge'?"),
        ({"loss": "squared"}, "loss expected one of softmax, hinge for these targets"),
        (
            {"precision": "float16"},
            "precision expected one of float32, float64, bfloat16; got 'float16'.",
        ),
        ({"random_state": -1}, "random_state expected None, a whole number of at least 0"),
        ({"random_state": "lucky"}, "random_state expected None, a whole number of at least 0"),
        ({"callbacks": ["print"]}, "callbacks expected Callback objects or functions"),
        ({"optimizer": "lbfgs", "penalty": "l1"}, "got 'lbfgs'. Use 'adam', 'sgd' or 'gd'."),
    ],
    ids=lambda case: "-".join(map(str, case.items())) if isinstance(case, dict) else "",
)
def test_bad_parameters(iris, parameters, words):
    model = MLPClassifier(max_epochs=1).set_params(**parameters)
    with pytest.raises(InputError) as caught:
        model.fit(*iris)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    # A fit that was refused has learned nothing, so it must not predict.
    assert not hasattr(model, "weights_")


def test_a_refused_fit_leaves_the_model_before_it(iris):
    X, y = iris
    model = LinearClassifier(random_state=0).fit(X, y)
    before = model.predict_proba(X)
    with pytest.raises(InputError, match="alpha"):
        model.set_params(alpha=-1).fit(X, y)
    np.testing.assert_array_equal(model.predict_proba(X), before)


@pytest.mark.parametrize("Estimator", [LinearClassifier, LinearRegressor, MLPRegressor])
def test_negative_alpha_without_a_penalty_counts_too(iris, Estimator):
    X, y = iris
    with pytest.raises(InputError, match=r"alpha expected a number at least 0; got -0\.1"):
        Estimator(alpha=-0.1, penalty=None).fit(X, y)


def test_one_class_only(iris):
    X, _ = iris
    with pytest.raises(InputError, match=r"at least 2 classes, got one class only: 'setosa'"):
        LinearClassifier().fit(X, np.full(150, "setosa"))


def test_lengths_that_differ(iris):
    X, y = iris
    with pytest.raises(InputError, match=r"one entry for each of the 150 rows of X, got 149"):
        LinearClassifier().fit(X, y[:-1])
    with pytest.raises(InputError, match=r"sample_weight expected shape \(150,\).*got \(149,\)"):
        LinearClassifier().fit(X, y, sample_weight=np.ones(149))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_numbers_that_are_not_finite(iris, bad, kind):
    X, y = iris
    X = X.astype(kind)
    X[3, 1] = bad
    word = "NaN" if np.isnan(bad) else "infinity"
    with pytest.raises(ValueError, match=rf"Input X contains {word}"):
        LinearClassifier().fit(X, y)
    clean = LinearClassifier(max_epochs=1).fit(iris[0], y)
    with pytest.raises(ValueError, match=rf"Input X contains {word}"):
        clean.predict(X)
    with pytest.raises(ValueError, match=rf"Input y contains {word}"):
        LinearRegressor().fit(iris[0], X[:, 1])


def test_infinities_that_cancel_are_found(iris):
    X, y = iris
    X = X.copy()
    X[0, 0], X[1, 0] = np.inf, -np.inf
    with pytest.raises(ValueError, match="Input X contains infinity"):
        LinearClassifier().fit(X, y)


def test_numbers_too_large_for_float32(iris):
    X, y = iris
    X = X.astype(np.float64)
    X[0, 0] = 1e300
    with pytest.raises(ValueError, match="Input X contains infinity or a value too large"):
        LinearClassifier().fit(X, y)


@pytest.mark.parametrize(
    ("weight", "words"),
    [
        (-1.0, "a negative, NaN or infinite one in row 4"),
        (np.nan, "a negative, NaN or infinite one in row 4"),
        (np.inf, "a negative, NaN or infinite one in row 4"),
    ],
)
def test_unusable_sample_weights(iris, weight, words):
    weights = np.ones(150)
    weights[4] = weight
    with pytest.raises(InputError, match=words):
        LinearClassifier().fit(*iris, sample_weight=weights)


def test_text_where_numbers_are_needed(iris):
    X, y = iris
    words = np.array(X, dtype=object)
    words[0, 0] = "wide"
    with pytest.raises(ValueError, match="could not convert string to float: 'wide'"):
        LinearClassifier().fit(words, y)


def test_columns_that_differ(iris):
    model = LinearClassifier(max_epochs=1).fit(*iris)
    for call in (model.predict, model.predict_proba, model.decision_function):
        with pytest.raises(ValueError, match=r"X has 3 features, but Linear.* is expecting 4"):
            call(iris[0][:, :3])


def test_labels_unseen_in_training(iris):
    X, y = iris
    model = LinearClassifier(max_epochs=1)
    with pytest.raises(InputError, match=r"training \(0, 1\), got 2 as well, in 50 rows"):
        model.fit(X[:100], y[:100], validation_data=(X, y))
    with pytest.raises(InputError, match=r"got 2 as well, in 50 rows\. Drop these rows or train"):
        model.fit(X[:100], y[:100]).evaluate(X, y)


@pytest.mark.parametrize("data", ["test", (1,), np.ones((2, 2))])
def test_validation_data_of_another_form(iris, data):
    with pytest.raises(InputError, match=r"validation_data expected a tuple \(X, y\)"):
        LinearClassifier().fit(*iris, validation_data=data)


def test_too_few_rows_to_hold_out(iris):
    X, y = iris
    rows = [0, 1, 60, 61]
    with pytest.raises(InputError, match="at least one row to hold out, got 4 rows"):
        LinearClassifier(early_stopping=2).fit(X[rows], y[rows])


def test_targets_that_are_real_numbers(iris):
    X, _ = iris
    with pytest.raises(ValueError, match="Unknown label type: continuous"):
        LinearClassifier().fit(X, X[:, 0])


def test_other_numbers_of_targets(diabetes):
    X, y = diabetes
    model = LinearRegressor(max_epochs=1).fit(X, np.column_stack([y, y]))
    with pytest.raises(InputError, match="y expected 2 target columns, as in training, got 1"):
        model.evaluate(X, y)


def test_no_target(iris):
    with pytest.raises(InputError, match=r"y to be passed, but the target y is None"):
        LinearClassifier().fit(iris[0], None)
    with pytest.raises(InputError, match=r"y to be passed, but the target y is None"):
        LinearRegressor().fit(iris[0], None)
