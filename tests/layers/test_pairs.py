"""Scores of pairs: their values, their penalties, and a loss's gradient by hand."""

import jax
import numpy as np
import pytest

from lamina.errors import InputError
from lamina.functions.pair_losses import RankedPair, RatedPair
from lamina.layers.layer import PREDICTING
from lamina.layers.pairs import BIAS_RIDGE, PairScore
from lamina.training.negatives import TripleSource


@pytest.fixture
def parts():
    """Return weights and statistics of 4 users and 5 items, none of them zero."""
    rng = np.random.default_rng(0)
    shapes = PairScore(4, 5, 3).weight_shapes((2,))
    return [{name: rng.random(shape, np.float32) for name, shape in s.items()} for s in shapes]


def _scores(network, parts, X):
    found, statistics = network.apply(*parts, np.array(X, np.int32), PREDICTING)
    assert statistics is parts[1]
    return np.asarray(found)


def test_pairs_and_triples(parts):
    (w, s), network = parts, PairScore(4, 5, 3)
    pairs = _scores(network, parts, [[1, 4], [1, 0]])
    first, second = (s["mean"] + w["b"][1] + w["c"][i] + w["P"][1] @ w["Q"][i] for i in (4, 0))
    np.testing.assert_allclose(pairs[:, 0], [first, second], rtol=1e-5)

    def share(ridge, factors, bias):
        return 0.5 * ridge * (factors @ factors + BIAS_RIDGE * bias**2)

    of_user = share(s["user_ridge"][1], w["P"][1], w["b"][1])
    of_items = [share(s["item_ridge"][i], w["Q"][i], w["c"][i]) for i in (4, 0)]
    np.testing.assert_allclose(pairs[:, 1], [of_user + one for one in of_items], rtol=1e-5)
    (triple,) = _scores(network, parts, [[1, 4, 0]])
    np.testing.assert_allclose(triple, [first - second, of_user + sum(of_items)], rtol=1e-5)


def test_losses_and_their_gradients():
    scores, y = np.array([[0.5, 0.1], [-2.0, 0.2]]), np.array([[1.0], [-1.0]])
    rated, ranked = RatedPair(), RankedPair()
    np.testing.assert_allclose(rated(scores, y), [0.125 + 0.1, 0.5 + 0.2], rtol=1e-6)
    sigmoid = 1 / (1 + np.exp(-scores[:, 0]))
    np.testing.assert_allclose(ranked(scores, y), -np.log(sigmoid) + scores[:, 1], rtol=1e-6)
    by_scores = jax.grad(lambda s: ranked(s, y).sum())(scores)
    np.testing.assert_allclose(by_scores, np.stack([sigmoid - 1, [1, 1]], axis=1), rtol=1e-6)


def test_samples_of_another_shape_are_refused():
    with pytest.raises(InputError, match=r"codes \(user, item\)"):
        PairScore(4, 5, 3).output_shape((4,), "pairs")


def test_unseen_items_are_drawn_evenly_from_what_a_user_has_not_seen():
    users = np.repeat([0, 1], [3, 1])
    items = np.array([0, 1, 3, 2])
    source = TripleSource(users, items, 6, batch_size=4, seed=0)
    drawn = np.concatenate([source.triples(epoch) for epoch in range(300)])
    np.testing.assert_array_equal(drawn[:4, :2], np.stack([users, items], axis=1))
    counts = np.bincount(drawn[drawn[:, 0] == 0, 2], minlength=6)
    assert counts[[0, 1, 3]].max() <= 5  # of 900; left after eight draws each
    assert counts[[2, 4, 5]].min() > 240
    np.testing.assert_array_equal(source.triples(5), source.triples(5))
    assert (source.triples(5) != source.triples(6)).any()
