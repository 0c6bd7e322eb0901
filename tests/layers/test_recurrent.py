"""Recurrent layers: values and gradients against PyTorch, outputs, weights, errors, `Sequences`."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.layers import (
    GRU,
    LSTM,
    PREDICTING,
    RNN,
    Activation,
    BatchNorm,
    Context,
    Dense,
    Dropout,
    EachStep,
    Penalty,
    Sequences,
    Sequential,
)
from lamina.layers.document import from_document, to_document

N, T, M, H = 3, 5, 2, 4
LENGTHS = np.array([5, 2, 3], np.int32)
X = np.random.default_rng(7).normal(size=(N, T, M)).astype(np.float32)


def weights_of(layer, seed=0):
    """Return initial weights with biases and initial states that are not zero."""
    weights, statistics = layer.initialize(np.random.default_rng(seed), (T, M))
    assert statistics == {}
    rng = np.random.default_rng(seed + 1)
    return jax.tree.map(lambda W: W + 0.1 * rng.normal(size=W.shape).astype(np.float32), weights)


def run(layer, weights, X):
    return jax.jit(lambda weights, X: layer.apply(weights, {}, X, PREDICTING)[0])(weights, X)


def torch_twin(torch, layer, weights):
    options = {"nonlinearity": layer.activation} if layer.kind == "rnn" else {}
    twin = getattr(torch.nn, type(layer).__name__)(
        M, H, batch_first=True, bidirectional=layer.bidirectional, **options
    )
    sides = {"": "forward", "_reverse": "backward"} if layer.bidirectional else {"": None}
    with torch.no_grad():
        for suffix, side in sides.items():
            own = weights[side] if side else weights
            b_h = np.zeros_like(own["b"])
            if "b_hn" in own:
                b_h[-H:] = own["b_hn"]
            for name, value in {
                "weight_ih": own["W_x"].T,
                "weight_hh": own["W_h"].T,
                "bias_ih": own["b"],
                "bias_hh": b_h,
            }.items():
                getattr(twin, f"{name}_l0{suffix}").copy_(torch.tensor(value))
    return twin


LAYERS_LIKE_PYTORCHS = [
    RNN(H),
    RNN(H, "relu", bidirectional=True),
    LSTM(H),
    LSTM(H, bidirectional=True),
    GRU(H),
    GRU(H, bidirectional=True),
]


@pytest.mark.parametrize("layer", LAYERS_LIKE_PYTORCHS, ids=str)
def test_all_states_the_last_and_gradients_agree_with_pytorch(layer):
    torch = pytest.importorskip("torch")
    weights = weights_of(layer)
    everything = type(layer)(**{**vars(layer), "output": "all"})
    twin = torch_twin(torch, layer, weights)
    packed = torch.nn.utils.rnn.pack_padded_sequence(
        torch.tensor(X), torch.tensor(LENGTHS), batch_first=True, enforce_sorted=False
    )
    packed_output, last = twin(packed)
    output, _ = torch.nn.utils.rnn.pad_packed_sequence(packed_output, batch_first=True)
    last = last[0] if layer.kind == "lstm" else last
    last = torch.cat(list(last), dim=-1)  # forward, then backward
    (output.square().sum() + last.sum()).backward()

    @jax.jit
    def ours(weights, X, lengths):
        def objective(weights):
            batch = Sequences(X, lengths)
            states, _ = everything.apply(weights, {}, batch, Context(train=True))
            final, _ = layer.apply(weights, {}, batch, Context(train=True))
            return jnp.sum(states.values**2) + jnp.sum(final), (states, final)

        return jax.grad(objective, has_aux=True)(weights)

    gradients, (states, final) = ours(weights, X, LENGTHS)
    assert isinstance(states, Sequences)
    np.testing.assert_array_equal(states.lengths, LENGTHS)
    assert_allclose(states.values, output.detach().numpy(), rtol=1e-4, atol=1e-6)
    assert_allclose(final, last.detach().numpy(), rtol=1e-4, atol=1e-6)
    sides = {"": "forward", "_reverse": "backward"} if layer.bidirectional else {"": None}
    for suffix, side in sides.items():
        own = gradients[side] if side else gradients
        expected = [
            getattr(twin, f"{name}_l0{suffix}").grad.numpy()
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        ]
        assert_allclose(own["W_x"], expected[0].T, rtol=1e-4, atol=1e-5)
        assert_allclose(own["W_h"], expected[1].T, rtol=1e-4, atol=1e-5)
        assert_allclose(own["b"], expected[2], rtol=1e-4, atol=1e-5)
        if "b_hn" in own:
            assert_allclose(own["b_hn"], expected[3][-H:], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_mean_and_maximum_are_over_the_steps_that_are_data(bidirectional):
    layers = {how: LSTM(H, output=how, bidirectional=bidirectional) for how in ("mean", "max")}
    layers["all"] = LSTM(H, output="all", bidirectional=bidirectional)
    weights = weights_of(layers["all"])

    @jax.jit
    def outputs(weights, X, lengths):
        found = {}
        for how, layer in layers.items():
            found[how, "padded"] = layer.apply(weights, {}, Sequences(X, lengths), PREDICTING)[0]
            found[how, "full"] = layer.apply(weights, {}, X, PREDICTING)[0]
        return found

    found = outputs(weights, X, LENGTHS)
    for row, length in enumerate(LENGTHS):
        valid = np.asarray(found["all", "padded"].values)[row, :length]
        assert_allclose(found["mean", "padded"][row], valid.mean(axis=0), rtol=1e-5)
        assert_allclose(found["max", "padded"][row], valid.max(axis=0), rtol=1e-6)
    assert_allclose(found["mean", "full"], np.mean(found["all", "full"], axis=1), rtol=1e-5)
    assert_allclose(found["max", "full"], np.max(found["all", "full"], axis=1), rtol=1e-6)
    assert isinstance(found["all", "full"], jax.Array)  # an array in, an array out


def test_a_row_without_steps_is_zero_and_its_gradient_finite():
    empty = Sequences(X, np.array([0, 2, 3]))
    for how in ("last", "mean", "max"):
        layer = GRU(H, output=how)
        weights = weights_of(layer)
        assert not np.any(run(layer, weights, empty)[0])

        def objective(weights, layer=layer):
            return jnp.sum(layer.apply(weights, {}, empty, PREDICTING)[0])

        gradients = jax.jit(jax.grad(objective))(weights)
        assert all(np.isfinite(g).all() for g in jax.tree.leaves(gradients))


def test_reverse_is_the_flipped_sequence_flipped_back():
    layer, forward = RNN(H, output="all", reverse=True), RNN(H, output="all")
    weights = weights_of(layer)
    flipped = run(forward, weights, X[:, ::-1])[:, ::-1]
    assert_allclose(run(layer, weights, X), flipped, rtol=1e-6)
    last = run(RNN(H, reverse=True), weights, X)
    assert_allclose(last, flipped[:, 0], rtol=1e-6)  # the last step read is the first


@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_a_learned_initial_state_is_a_step_taken_before(kind):
    """Starting from the state after step one, steps two to five go as they did."""
    layer, learned = kind(H, output="all"), kind(H, initial="learned")
    weights = weights_of(layer)
    X_same = np.repeat(X[:1], N, axis=0)  # one learned state for all rows, so one first step
    X_same[:, 1:] = X[:, 1:]
    states = run(layer, weights, X_same)
    start = {"h0": states[0, 0]}
    if kind is LSTM:
        gates = np.asarray(X_same[0, 0] @ weights["W_x"] + weights["b"], np.float64)
        i, _, g, _ = np.split(gates, 4)
        start["c0"] = (np.tanh(g) / (1 + np.exp(-i))).astype(np.float32)
    found = run(learned, {**weights, **start}, X_same[:, 1:])
    assert_allclose(found, states[:, -1], rtol=1e-4, atol=1e-6)
    made, _ = learned.initialize(np.random.default_rng(0), (T, M))
    assert {name: made[name].shape for name in start} == dict.fromkeys(start, (H,))
    assert not any(made[name].any() for name in start)


def test_initial_weights():
    weights, _ = LSTM(30).initialize(np.random.default_rng(0), (T, 50))
    assert {name: (W.shape, W.dtype) for name, W in weights.items()} == {
        "W_x": ((50, 120), np.float32),
        "W_h": ((30, 120), np.float32),
        "b": ((120,), np.float32),
    }
    for gate in np.split(weights["W_h"], 4, axis=1):
        assert_allclose(gate.T @ gate, np.eye(30), atol=1e-6)
    for gate in np.split(weights["W_x"], 4, axis=1):  # Glorot's, each gate a matrix of its own
        assert gate.var() == pytest.approx(2 / (50 + 30), rel=0.1)
    np.testing.assert_array_equal(weights["b"].reshape(4, 30).mean(axis=1), [0, 1, 0, 0])
    relu, _ = RNN(30, "relu", init="auto").initialize(np.random.default_rng(0), (T, 50))
    assert relu["W_x"].var() == pytest.approx(2 / 50, rel=0.1)  # He's


def test_directions_start_from_different_weights():
    layer = GRU(H, bidirectional=True, initial="learned")
    weights, _ = layer.initialize(np.random.default_rng(0), (T, M))
    assert set(weights) == {"forward", "backward"}
    assert set(weights["forward"]) == set(weights["backward"]) == {"W_x", "W_h", "b", "b_hn", "h0"}
    assert not np.allclose(weights["forward"]["W_h"], weights["backward"]["W_h"])


@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("kind", [RNN, LSTM, GRU])
def test_shapes_are_told_before_anything_is_made(kind, bidirectional):
    for output in ("last", "all"):
        layer = kind(H, output=output, bidirectional=bidirectional, initial="learned")
        weights, _ = layer.initialize(np.random.default_rng(0), (T, M))
        shapes, _ = layer.weight_shapes((T, M))
        assert shapes == jax.tree.map(np.shape, weights)
        made = jax.eval_shape(lambda w, layer=layer: layer.apply(w, {}, X, PREDICTING)[0], weights)
        assert made.shape == (N, *layer.output_shape((T, M), "it"))
        gates = {"rnn": 1, "lstm": 4, "gru": 3}[layer.kind]
        assert layer.widest((T, M)) == T * gates * H * (1 + bidirectional)


def test_penalties_are_on_matrices_only_in_both_directions():
    default, own, none = Penalty(l2=0.5), Penalty(l1=0.1), Penalty()
    layer = GRU(H, initial="learned")
    weights = weights_of(layer)
    expected = {"W_x": default, "W_h": default, "b": none, "b_hn": none, "h0": none}
    assert layer.penalties(weights, default) == expected
    layer = LSTM(H, bidirectional=True, penalty=own)
    expected = {"W_x": own, "W_h": own, "b": none}
    assert layer.penalties(weights_of(layer), default) == dict.fromkeys(
        ("forward", "backward"), expected
    )


def test_sequences_flow_through_a_network():
    network = Sequential(
        [
            LSTM(H, output="all"),
            EachStep(Dense(3, "tanh")),
            GRU(H, output="all", bidirectional=True),
            EachStep(Dropout(0.5)),
            RNN(3, output="mean"),
            Dense(2),
        ]
    )
    assert network.output_shape((T, M)) == (2,)
    weights, _ = network.initialize(np.random.default_rng(0), (T, M))
    assert weights["each_step_0"]["layer"]["W"].shape == (H, 3)
    long = np.concatenate([X, np.full((N, 2, M), 9, np.float32)], axis=1)

    @jax.jit
    def both(weights, X, long, lengths):
        return [
            network.apply(weights, {}, Sequences(values, lengths), PREDICTING)[0]
            for values in (X, long)
        ]

    short_scores, long_scores = both(weights, X, long, LENGTHS)
    assert short_scores.shape == (N, 2)
    assert_allclose(short_scores, long_scores, rtol=1e-5, atol=1e-6)
    penalties = network.penalties(weights, Penalty(l2=1.0))
    assert penalties["each_step_0"]["layer"] == {"W": Penalty(l2=1.0), "b": Penalty()}
    assert penalties["gru_0"]["backward"]["W_h"] == Penalty(l2=1.0)


def test_sequences_are_a_pytree():
    doubled = jax.tree.map(lambda a: 2 * a, Sequences(X, LENGTHS))
    assert isinstance(doubled, Sequences)
    assert_allclose(doubled.values, 2 * X)
    np.testing.assert_array_equal(doubled.lengths, 2 * LENGTHS)


def test_each_step_is_the_layer_on_each_step():
    layer = EachStep(Dense(3, "relu"))
    weights, _ = layer.initialize(np.random.default_rng(0), (T, M))
    assert layer.weight_shapes((T, M)) == (jax.tree.map(np.shape, weights), {})
    W, b = weights["layer"]["W"], weights["layer"]["b"]
    steps = [np.maximum(X[:, t] @ W + b, 0) for t in range(T)]
    assert_allclose(run(layer, weights, X), np.stack(steps, axis=1), rtol=1e-5, atol=1e-6)
    assert layer.output_shape((T, M), "it") == (T, 3)
    assert layer.widest((T, M)) == T * 3
    assert EachStep(Dropout(0.5)).random
    assert not layer.random


def test_each_step_keeps_padding_out_of_batch_statistics():
    """Rows of no weight and steps beyond a length do not count in a mean over the batch."""
    layer = EachStep(BatchNorm())
    weights, statistics = layer.initialize(np.random.default_rng(0), (T, M))
    rows = np.array([1, 0, 1], np.float32)
    data = np.concatenate([X[0], X[2, :3]])
    context = Context(train=True, weight=rows)
    A, after = layer.apply(weights, statistics, Sequences(X, LENGTHS), context)
    expected = (data - data.mean(axis=0)) / np.sqrt(data.var(axis=0) + 1e-5)
    assert_allclose(np.concatenate([A.values[0], A.values[2, :3]]), expected, rtol=1e-2, atol=1e-2)
    assert jax.tree.structure(after) == jax.tree.structure(statistics)
    assert not np.allclose(*(jax.tree.leaves(s)[0] for s in (statistics, after)))


@pytest.mark.parametrize(
    "layer",
    [
        RNN(3, "relu", init="auto"),
        LSTM(3, output="all", bidirectional=True, penalty=Penalty(l2=0.1)),
        GRU(3, reverse=True, initial="learned"),
        EachStep(LSTM(2)),
    ],
    ids=str,
)
def test_a_layer_is_a_value_and_a_document(layer):
    back = from_document(json.loads(json.dumps(to_document(layer))))
    assert back == layer
    assert hash(back) == hash(layer)


def test_different_settings_are_different_layers():
    assert RNN(3, "relu") == RNN(3, activation="relu") != RNN(3)
    assert LSTM(3) != GRU(3)
    assert len({LSTM(3), LSTM(4), LSTM(3, reverse=True), LSTM(3, output="all"), LSTM(3)}) == 4


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: LSTM(0), "LSTM units expected a whole number at least 1; got 0"),
        (lambda: RNN(2, "sigmoid"), "activation expected one of tanh, relu; got 'sigmoid'"),
        (lambda: GRU(2, output="lats"), "output expected .* Did you mean 'last'"),
        (lambda: GRU(2, initial="zero"), "initial expected .* Did you mean 'zeros'"),
        (lambda: GRU(2, init="hee"), "init expected .* Did you mean 'he'"),
        (lambda: GRU(2, reverse=True, bidirectional=True), "reverse or bidirectional, got both"),
        (lambda: EachStep("dense"), r"EachStep expected a layer, got 'dense'"),
        (
            lambda: Sequential([LSTM(4), LSTM(3)]).output_shape((T, M)),
            r'lstm_1 expected .*\(t, m\), got samples of shape \(4,\).*output="all"',
        ),
        (
            lambda: Sequential([GRU(4)]).output_shape((8, 8, 3)),
            r"gru_0 expected .*, got samples of shape \(8, 8, 3\)",
        ),
        (lambda: EachStep(Dense(2)).output_shape((), "each_step_0"), "each_step_0 expected"),
        (
            lambda: EachStep(Dense(2)).output_shape((5, 4, 4), "each_step_0"),
            r"each_step_0/layer expected .*\(4, 4\)",
        ),
    ],
)
def test_what_cannot_be_is_refused(make, words):
    with pytest.raises(InputError, match=words):
        make()


def test_activation_on_each_step_keeps_lengths():
    A = run(EachStep(Activation("relu")), {}, Sequences(X, LENGTHS))
    assert isinstance(A, Sequences)
    assert_allclose(A.values, np.maximum(X, 0))
