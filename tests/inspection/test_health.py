"""Health as a measured classifier: planted faults are named, healthy networks are left alone."""

import importlib.util
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import lamina
from lamina import (
    LinearClassifier,
    MLPClassifier,
    MLPRegressor,
    NetworkClassifier,
    RatingFactorization,
)
from lamina.errors import InputError
from lamina.inspection import health
from lamina.inspection.data_checks import relation
from lamina.inspection.evidence import gathered
from lamina.inspection.matrix_checks import duplicated
from lamina.inspection.signals import signals, through_time
from lamina.inspection.updates import first_ratio, update_ratios
from lamina.layers import RNN, Dense, Embedding, GlobalAveragePool, Sequential

SEED = 11
"""No threshold was set on it: those were set on the seeds 0, 4 and 5."""
DOCS = Path(__file__).parents[2] / "docs" / "health.py"


def loaded():
    spec = importlib.util.spec_from_file_location("docs_health", DOCS)
    module = importlib.util.module_from_spec(spec)
    sys.modules["docs_health"] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


planted = loaded()
FREE = [one for one in planted.CASES if not one.data]
ON_DATA = [one for one in planted.CASES if one.data]


@pytest.fixture(scope="module")
def judgements(compiled_programs):
    """Return what was said first, and all that was said, by case."""
    return {one: planted.judged(one, SEED) for one in FREE}


@pytest.fixture(scope="module")
def judgements_on_data(compiled_programs):
    if not all(one.available for one in ON_DATA):
        pytest.skip("LAMINA_DATA_DIR names no folder with fashion-mnist and japanese-vowels")
    return {one: planted.judged(one, SEED) for one in ON_DATA}


def wrong(judgements, healthy):
    return [
        f"{one.name}: {said} instead of {one.fault}"
        for one, (said, _) in judgements.items()
        if (one.fault == planted.HEALTHY) == healthy and said != one.fault
    ]


def misplaced(judgements):
    """Return the cases whose verdict names another place than that of the fault."""
    return [
        f"{one.name}: {found.problems[0].where} instead of {one.where}"
        for one, (said, found) in judgements.items()
        if one.where and said == one.fault and not found.problems[0].where.startswith(one.where)
    ]


def test_planted_faults_are_named(judgements):
    faults = [one for one in judgements if one.fault != planted.HEALTHY]
    assert len(faults) >= 20
    assert {one.family for one in faults} == {"linear", "dense", "convolutional", "recurrent"}
    assert len({one.fault for one in faults}) >= 12
    missed = wrong(judgements, healthy=False)
    assert len(missed) <= len(faults) // 10, missed
    assert not misplaced(judgements)


def test_healthy_networks_are_left_alone(judgements):
    healthy = [one for one in judgements if one.fault == planted.HEALTHY]
    assert len(healthy) >= 12
    alarms = wrong(judgements, healthy=True)
    assert len(alarms) <= 1, alarms


@pytest.mark.data
def test_clothes_and_vowels(judgements_on_data):
    missed = wrong(judgements_on_data, healthy=False) + wrong(judgements_on_data, healthy=True)
    assert len(missed) <= 1, missed
    assert not misplaced(judgements_on_data)


def test_every_verdict_says_what_to_do(judgements):
    said = [verdict for _, found in judgements.values() for verdict in found.verdicts]
    for verdict in said:
        assert np.isfinite(verdict.figure)
        assert verdict.severity in ("problem", "notice")
        assert verdict.healthy.startswith(("below", "above", "0", "1"))
        assert verdict.remedy.endswith(".")
        assert f"{verdict.fault} in {verdict.where}: {verdict.measured}" in str(verdict)


def test_problems_stand_before_notices(judgements):
    for _, found in judgements.values():
        severities = [verdict.severity for verdict in found.verdicts]
        assert severities == sorted(severities, reverse=True)


# What each figure is, by cases known


@pytest.fixture(scope="module")
def model():
    """Return a small perceptron on points, and its points."""
    X = np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    y = (X[:, 0] > 0).astype(int)
    fitted = MLPClassifier(hidden=(4, 4), max_epochs=8, random_state=0, verbose=0).fit(X, y)
    return fitted, X, y


def test_figures_of_layers_are_those_of_their_matrices(model):
    fitted, X, y = model
    found = {layer.path: layer for layer in health(fitted, X, y).layers}
    W, b = fitted.weights_["dense_0"]["W"], fitted.weights_["dense_0"]["b"]
    A = np.maximum(X @ W + b, 0)
    first = found["dense_0"]
    np.testing.assert_allclose([first.mean, first.spread], [A.mean(), A.std()], rtol=1e-4)
    assert first.dead == np.mean(A.max(axis=0) <= 0)
    assert first.saturated is None
    assert first.weight_norm == pytest.approx(np.sqrt((W**2).sum() + (b**2).sum()), rel=1e-5)
    # Of the scores the gradient is (p - q) / n, and dX = dY Wᵀ.
    W2 = fitted.weights_["dense_2"]["W"]
    n = len(X)
    dY = (fitted.predict_proba(X) - np.eye(2)[y]) / n
    gain = np.linalg.norm(dY @ W2.T) / np.linalg.norm(dY)
    assert found["dense_2"].backward_gain == pytest.approx(gain, rel=1e-3)
    rate = np.median(fitted.history_["learning_rate"])
    assert found["dense_2"].update_ratio == pytest.approx(
        rate * np.sqrt(W2.size) / np.linalg.norm(W2), rel=1e-4
    )


def test_without_data_only_weights_are_known(model):
    found = health(model[0])
    assert [layer.path for layer in found.layers] == ["dense_0", "dense_1", "dense_2"]
    assert all(layer.mean is None and layer.backward_gain is None for layer in found.layers)


def test_watched_ratios_come_first(model, monkeypatch):
    fitted, _, _ = model
    seen = {"update_ratio": [0.5, 0.25, float("nan"), 0.125]}
    watched = {"epoch": [1, 2, 3, 4], "matrices": {"dense_0/W": seen, "dense_0/b": {}}}
    monkeypatch.setattr(fitted, "watched_", watched, raising=False)
    assert update_ratios(gathered(fitted)) == {"dense_0": 0.25}


def test_a_saved_model_gets_the_same_verdicts(model, tmp_path):
    fitted, X, y = model
    fitted.save(tmp_path / "m.safetensors")
    assert health(lamina.load(tmp_path / "m.safetensors"), X, y) == health(fitted, X, y)


@pytest.mark.parametrize(("times", "expected"), [(0.5, 0.5), (1.5, 1.5)])
def test_the_factor_through_time_is_the_eigenvalue(times, expected):
    """Of relu states that stay positive, ∂h_t/∂h_{t-1} is W_h itself: here a multiple of one."""
    X = np.random.default_rng(0).uniform(1, 2, (40, 8, 2)).astype(np.float32)
    network = Sequential([RNN(3, activation="relu"), Dense(2)])
    fitted = NetworkClassifier(network=network, max_epochs=1, verbose=0, random_state=0)
    fitted.fit(X, np.arange(40) % 2)
    own = fitted.weights_["rnn_0"]
    own["W_h"][:], own["W_x"][:] = times * np.eye(3), np.abs(own["W_x"])
    evidence = gathered(fitted, X, np.arange(40) % 2)
    ((path, steps, factor),) = through_time(signals(evidence.data.trace)[0])
    assert (path, steps) == ("rnn_0", 8)
    assert factor == pytest.approx(expected, rel=1e-4)


def test_labels_related_and_not():
    rng = np.random.default_rng(0)
    X = rng.normal(size=(300, 5))
    line = np.eye(2)[(X[:, 0] > 0).astype(int)]
    ring = np.eye(2)[((X[:, :2] ** 2).sum(axis=1) > 1.4).astype(int)]
    assert relation(X, line) > 10
    assert relation(X[:, :2], ring) > 10  # no linear map sees it
    assert max(relation(X, line[rng.permutation(300)]) for _ in range(5)) < 3.5
    assert relation(X * [1, 1e6, 1, 1, 1], line) == pytest.approx(relation(X, line))


def test_copies_count_and_zeros_only_alone():
    W = np.random.default_rng(0).normal(size=(20, 10))
    assert duplicated(W) == 0
    W[:, [3, 4]] = W[:, :1]
    W[:, 7] = W[:, 8] = 0  # pruned
    assert duplicated(W) == 0.2
    assert duplicated(0 * W) == 0.9


def test_history_alone_tells_of_overfitting_and_rates(model):
    """Each verdict turns with the figure that it rests on."""
    fitted, _, _ = model
    evidence = replace(gathered(fitted), stopped_early=False)

    def said(history, **others):
        from lamina.inspection import training_checks as checks

        of = replace(evidence, history=history, **others)
        names = (checks.rate_too_high, checks.rate_too_low, checks.overfitting)
        return [verdict.fault for check in names for verdict in check(of)]

    rates = [1e-3] * 8
    falling = [0.69, 0.5, 0.35, 0.25, 0.2, 0.17, 0.15, 0.14]
    fine = {"loss": falling, "accuracy": [0.95] * 8, "learning_rate": rates}
    assert said(fine) == []
    assert said(fine | {"val_accuracy": [0.9] * 8, "val_loss": falling}) == []
    assert said(fine | {"val_accuracy": [0.75] * 8, "val_loss": falling}) == ["overfitting"]
    turned = [0.7, 0.4, 0.3, 0.3, 0.35, 0.4, 0.45, 0.5]
    assert said(fine | {"val_accuracy": [0.9] * 8, "val_loss": turned}) == ["overfitting"]
    wild = [5.0, 3.0, 4.0, 2.0, 6.0, 1.0, 3.0, 2.0]
    assert said(fine | {"loss": wild}) == []  # steps of this length do not do that
    assert said(fine | {"loss": wild, "learning_rate": [1.0] * 8}) == ["learning rate too high"]
    slow = list(np.linspace(0.69, 0.66, 8))
    assert said(fine | {"loss": slow, "learning_rate": [1e-6] * 8}) == ["learning rate too low"]
    assert said(fine | {"loss": slow, "learning_rate": [1e-2] * 8}) == []
    cosine = 1e-6 * (1 + np.cos(np.linspace(0, np.pi, 8)))
    by_cosine = list(0.69 - 1e3 * np.cumsum(cosine))  # as fast to the end, for its rate
    assert said(fine | {"loss": by_cosine, "learning_rate": list(cosine)}) == [
        "learning rate too low"
    ]


def test_the_length_of_a_first_step():
    X, y = np.eye(4), [0, 1, 2, 3]
    fitted = LinearClassifier(optimizer="adam", learning_rate=0.01, schedule="constant",
                              max_epochs=2, random_state=0, verbose=0).fit(X, y)  # fmt: skip
    assert first_ratio(gathered(fitted)) == pytest.approx(0.01 * np.sqrt((4 + 4) / 2))


def test_codes_have_no_scale_and_no_gradient_by_the_input():
    rng = np.random.default_rng(0)
    X = rng.integers(0, 50, (80, 6)).astype(np.float32)
    y = (X[:, 0] > 25).astype(int)
    network = Sequential([Embedding(50, 4), GlobalAveragePool(), Dense(2)])
    fitted = NetworkClassifier(network=network, max_epochs=2, verbose=0, random_state=0)
    faults = [verdict.fault for verdict in health(fitted.fit(X, y), X, y).verdicts]
    assert "input not scaled" not in faults
    assert "vanishing gradient" not in faults


# Bad input


def test_a_few_rows_and_targets_that_do_not_vary_tell_nothing():
    X = np.random.default_rng(0).normal(size=(60, 3))
    regressor = MLPRegressor(hidden=(8,), random_state=0, max_epochs=100, verbose=0)
    regressor.fit(X, X[:, 0])
    for rows in (X, X[:1]):
        assert health(regressor, rows, np.ones(len(rows))).verdicts == ()


def test_bad_input_is_told(model):
    fitted, X, _ = model
    with pytest.raises(InputError, match="health expected X and y together, got X alone"):
        health(fitted, X)
    with pytest.raises(InputError, match=r"not fitted.* Call fit first"):
        health(MLPClassifier())
    users = RatingFactorization(rank=1, iterations=2, random_state=0, verbose=0)
    users.fit(np.array([[0, 0], [1, 1], [0, 1]]), [1.0, 2.0, 3.0])
    with pytest.raises(InputError, match="estimator of networks, got RatingFactorization"):
        health(users)
