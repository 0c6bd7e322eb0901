"""Losses: by hand, from their definitions in NumPy, against autodiff and against PyTorch."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.functions.losses import (
    LOSSES,
    Absolute,
    Hinge,
    Huber,
    SigmoidCrossEntropy,
    SoftmaxCrossEntropy,
    Squared,
    loss,
)

N, K = 6, 4


@pytest.fixture(scope="module")
def scores():
    return np.random.default_rng(0).normal(0, 2, (N, K))


@pytest.fixture(scope="module")
def classes():
    return np.array([0, 3, 1, 1, 2, 0], np.int32)


@pytest.fixture(scope="module")
def labels():
    return np.random.default_rng(1).integers(0, 2, (N, K)).astype(np.float64)


@pytest.fixture(scope="module")
def values():
    return np.random.default_rng(2).normal(0, 2, (N, K))


def value_and_pulled(rule, scores, y, dloss):
    """Return the losses and autodiff's gradient by the scores, in one program."""

    def both(S, y, dloss):
        found, pull = jax.vjp(lambda S: rule(S, y), S)
        return found, pull(dloss)[0]

    return jax.jit(both)(scores, y, dloss)


def numpy_softmax_cross_entropy(scores, y, smoothing):
    """The definition, one sample and one class at a time."""
    losses = []
    for s, c in zip(scores, y, strict=True):
        p = np.exp(s) / np.exp(s).sum()
        q = [(1 - smoothing) * (k == c) + smoothing / len(s) for k in range(len(s))]
        losses.append(-sum(q_k * np.log(p_k) for q_k, p_k in zip(q, p, strict=True)))
    return np.array(losses)


def numpy_hinge(scores, y, margin):
    return np.array(
        [
            sum(max(0.0, s[k] - s[c] + margin) for k in range(len(s)) if k != c)
            for s, c in zip(scores, y, strict=True)
        ]
    )


# Softmax


def test_softmax_by_hand():
    scores = jnp.log(jnp.array([[1.0, 2.0, 5.0], [1.0, 1.0, 2.0]]))
    found = SoftmaxCrossEntropy()(scores, jnp.array([2, 0]))
    assert_allclose(found, [np.log(8 / 5), np.log(4)], rtol=1e-6)
    assert_allclose(
        SoftmaxCrossEntropy().probabilities(scores)[0], [1 / 8, 2 / 8, 5 / 8], rtol=1e-6
    )


@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.7])
def test_softmax_agrees_with_its_definition(smoothing, scores, classes, float64):
    found = SoftmaxCrossEntropy(smoothing)(jnp.asarray(scores), classes)
    assert_allclose(found, numpy_softmax_cross_entropy(scores, classes, smoothing), rtol=1e-12)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_softmax_rule_is_p_minus_q(smoothing, scores, classes, float64):
    dloss = np.random.default_rng(3).normal(size=N)

    def plain(S, y):
        log_p = S - jnp.log(jnp.sum(jnp.exp(S), axis=1, keepdims=True))
        q = (1 - smoothing) * np.eye(K)[classes] + smoothing / K
        return -jnp.sum(q * log_p, axis=1)

    rule = SoftmaxCrossEntropy(smoothing)
    S = jnp.asarray(scores)
    _, found = value_and_pulled(rule, S, classes, dloss)
    _, witness = value_and_pulled(plain, S, classes, dloss)
    assert_allclose(found, witness, rtol=1e-12, atol=1e-12)
    p = np.exp(scores) / np.exp(scores).sum(1, keepdims=True)
    q = (1 - smoothing) * np.eye(K)[classes] + smoothing / K
    assert_allclose(found, dloss[:, None] * (p - q), rtol=1e-11, atol=1e-13)
    check_grads(jax.jit(lambda S: rule(S, classes)), (S,), 1, ["rev"], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_softmax_agrees_with_pytorch(smoothing, scores, classes):
    torch = pytest.importorskip("torch")
    S = torch.tensor(scores, dtype=torch.float32, requires_grad=True)
    criterion = torch.nn.CrossEntropyLoss(label_smoothing=smoothing, reduction="none")
    expected = criterion(S, torch.tensor(classes, dtype=torch.int64))
    expected.sum().backward()
    rule = SoftmaxCrossEntropy(smoothing)
    found, gradient = value_and_pulled(rule, np.float32(scores), classes, np.ones(N, np.float32))
    assert_allclose(found, expected.detach().numpy(), rtol=1e-5, atol=1e-6)
    assert_allclose(gradient, S.grad.numpy(), rtol=1e-5, atol=1e-6)


def test_softmax_of_extreme_scores():
    rule = SoftmaxCrossEntropy()
    scores = jnp.array([[1e4, -1e4, 0.0], [1e4, -1e4, 0.0]], jnp.float32)
    y = jnp.array([0, 1])
    assert_allclose(rule(scores, y), [0, 2e4])
    gradient = jax.grad(lambda S: jnp.sum(rule(S, y)))(scores)
    assert_allclose(gradient, [[0, 0, 0], [1, -1, 0]])


# Hinge


def test_hinge_by_hand():
    scores = jnp.array([[3.0, 1.0, 2.5], [0.0, 0.0, 5.0]])
    assert_allclose(Hinge()(scores, jnp.array([0, 1])), [0 + 0.5, 1 + 6])
    assert_allclose(Hinge(margin=2.5)(scores, jnp.array([0, 1])), [0.5 + 2, 2.5 + 7.5])


@pytest.mark.parametrize("margin", [1.0, 0.3])
def test_hinge_agrees_with_its_definition(margin, scores, classes, float64):
    rule = jax.jit(lambda S: Hinge(margin)(S, classes))
    assert_allclose(rule(scores), numpy_hinge(scores, classes, margin), rtol=1e-12)
    check_grads(rule, (scores,), 1, ["rev"], rtol=1e-6, atol=1e-6)


def test_hinge_agrees_with_pytorch(scores, classes):
    torch = pytest.importorskip("torch")
    S = torch.tensor(scores, dtype=torch.float32, requires_grad=True)
    criterion = torch.nn.MultiMarginLoss(margin=1.5, reduction="none")
    expected = K * criterion(S, torch.tensor(classes, dtype=torch.int64))  # PyTorch's is a mean
    expected.sum().backward()
    rule = Hinge(1.5)
    found, gradient = value_and_pulled(rule, np.float32(scores), classes, np.ones(N, np.float32))
    assert_allclose(found, expected.detach().numpy(), rtol=1e-5)
    assert_allclose(gradient, S.grad.numpy(), atol=1e-6)


# Sigmoid


def test_sigmoid_by_hand():
    scores = jnp.array([[0.0, np.log(3.0)]])
    found = SigmoidCrossEntropy()(scores, jnp.array([[1.0, 0.0]]))
    assert_allclose(found, [np.log(2) + np.log(4)], rtol=1e-6)
    assert_allclose(SigmoidCrossEntropy().probabilities(scores), [[0.5, 0.75]], rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_sigmoid_agrees_with_its_definition(smoothing, scores, labels, float64):
    p = 1 / (1 + np.exp(-scores))
    q = np.where(labels == 1, 1 - smoothing / 2, smoothing / 2)
    expected = -(q * np.log(p) + (1 - q) * np.log(1 - p)).sum(1)
    rule = SigmoidCrossEntropy(smoothing)
    assert_allclose(rule(jnp.asarray(scores), labels), expected, rtol=1e-12)
    gradient = jax.grad(lambda S: jnp.sum(rule(S, labels)))(jnp.asarray(scores))
    assert_allclose(gradient, p - q, rtol=1e-12, atol=1e-13)


def test_sigmoid_agrees_with_pytorch(scores, labels):
    torch = pytest.importorskip("torch")
    criterion = torch.nn.BCEWithLogitsLoss(reduction="none")
    expected = criterion(torch.tensor(scores), torch.tensor(labels)).sum(1).numpy()
    found = SigmoidCrossEntropy()(jnp.asarray(scores, jnp.float32), labels.astype(np.float32))
    assert_allclose(found, expected, rtol=1e-5)


# Real values


def test_real_losses_by_hand():
    scores, y = jnp.array([[1.0, -2.0], [0.0, 0.5]]), jnp.array([[1.5, 1.0], [0.0, 0.0]])
    assert_allclose(Squared()(scores, y), [0.5 * (0.25 + 9), 0.125])
    assert_allclose(Absolute()(scores, y), [3.5, 0.5])
    assert_allclose(Huber()(scores, y), [0.125 + 2.5, 0.125])
    assert_allclose(Huber(delta=2.0)(scores, y), [0.125 + 2 * (3 - 1), 0.125])


@pytest.mark.parametrize(
    ("rule", "criterion", "scale"),
    [
        (Squared(), lambda torch: torch.nn.MSELoss(reduction="none"), 0.5),
        (Absolute(), lambda torch: torch.nn.L1Loss(reduction="none"), 1),
        (Huber(0.7), lambda torch: torch.nn.HuberLoss(delta=0.7, reduction="none"), 1),
    ],
    ids=["squared", "absolute", "huber"],
)
def test_real_losses_agree_with_pytorch(rule, criterion, scale, scores, values, float64):
    torch = pytest.importorskip("torch")
    S = torch.tensor(scores, requires_grad=True)
    expected = scale * criterion(torch)(S, torch.tensor(values)).sum(1)
    expected.sum().backward()
    found, gradient = value_and_pulled(rule, scores, values, np.ones(N))
    assert_allclose(found, expected.detach().numpy(), rtol=1e-12)
    assert_allclose(gradient, S.grad.numpy(), rtol=1e-12)


def test_huber_is_smooth_at_delta_and_zero():
    gradient = jax.grad(lambda s: Huber(1.0)(s[None, None], jnp.zeros((1, 1)))[0])
    assert [float(gradient(jnp.float32(r))) for r in (-1.0, 0.0, 1.0, 5.0)] == [-1, 0, 1, 1]


@pytest.mark.parametrize("steps", [1, 3])
def test_next_code_is_the_mean_over_steps(steps):
    torch = pytest.importorskip("torch")
    rng = np.random.default_rng(0)
    scores = rng.normal(size=(4, steps, 5)).astype(np.float32)
    y = rng.integers(0, 5, (4, steps)).astype(np.int32)
    S = torch.tensor(scores.reshape(-1, 5), requires_grad=True)
    each = torch.nn.functional.cross_entropy(S, torch.tensor(y.ravel()).long(), reduction="none")
    expected = each.reshape(4, steps).mean(1)
    expected.sum().backward()
    found, gradient = value_and_pulled(loss("next_code"), scores, y, np.ones(4, np.float32))
    assert_allclose(found, expected.detach().numpy(), rtol=1e-5)
    assert_allclose(gradient, S.grad.numpy().reshape(scores.shape), rtol=1e-5, atol=1e-7)


# All


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_extreme_scores_stay_finite(name):
    rule = loss(name)
    scores = jnp.array([[1e4, -1e4, 0.0]] * 3, jnp.float32)
    y = {
        "classes": jnp.array([0, 1, 2]),
        "labels": jnp.array([[1.0, 0, 1], [0, 1, 0], [0, 0, 1]]),
        "values": jnp.array([[1e4, 1e4, 0.0], [0, 0, 0], [1, 2, 3]]),
        "codes": jnp.array([[0], [1], [2]]),
    }[rule.target]
    if rule.target == "codes":
        scores = scores[:, None]
    found, gradient = value_and_pulled(rule, scores, y, jnp.ones(3))
    assert found.shape == (3,)
    assert np.isfinite(found).all()
    assert np.isfinite(gradient).all()
    assert np.isfinite(rule.probabilities(scores)).all()


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_a_loss_of_one_sample_ignores_the_others(name, scores, classes, labels, values):
    rule = loss(name)
    codes = np.stack([classes, classes[::-1]], axis=1)
    y = {"classes": classes, "labels": labels, "values": values, "codes": codes}[rule.target]
    if rule.target == "codes":
        scores = np.stack([scores, scores[::-1]], axis=1)
    together = rule(jnp.asarray(scores), jnp.asarray(y))
    alone = [rule(jnp.asarray(scores[i : i + 1]), jnp.asarray(y[i : i + 1]))[0] for i in range(N)]
    assert_allclose(together, alone, rtol=1e-5)


def test_values_have_no_probabilities(scores):
    assert loss("squared").probabilities(scores) is scores


def test_losses_by_name():
    assert loss("huber") == Huber(delta=1.0)
    mine = Huber(delta=3.0)
    assert loss(mine) is mine
    assert hash(SoftmaxCrossEntropy(0.1)) == hash(SoftmaxCrossEntropy(0.1))
    assert SoftmaxCrossEntropy(0.1) != SoftmaxCrossEntropy(0.2)
    assert SoftmaxCrossEntropy() != SigmoidCrossEntropy()
    with pytest.raises(InputError, match="Did you mean 'softmax'"):
        loss("sofmax")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: SoftmaxCrossEntropy(1.0), "label_smoothing expected .* below 1; got 1.0"),
        (lambda: SoftmaxCrossEntropy(-0.1), "label_smoothing expected .* at least 0"),
        (lambda: SigmoidCrossEntropy(2), "label_smoothing"),
        (lambda: Hinge(0), "margin expected a number above 0; got 0"),
        (lambda: Huber(-1.0), "delta expected a number above 0; got -1.0"),
    ],
)
def test_settings_out_of_range_are_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()
