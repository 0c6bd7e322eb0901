"""The recurrent kernel: its backward sweep against every witness there is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from numpy.testing import assert_allclose

from lamina.errors import InputError
from lamina.kernels.recurrence import recurrence

GATES = {"rnn_tanh": 1, "rnn_relu": 1, "lstm": 4, "gru": 3}
NAMES = sorted(GATES)
LENGTHS = np.array([3, 0, 2])  # one full row, one empty


def operands(cell, n=3, t=3, m=2, h=3, seed=0):
    """Return ``(X, W_x, W_h, b, initial)`` and gradients by the states and by the final state."""
    rng, g = np.random.default_rng(seed), GATES[cell]
    shapes = [(n, t, m), (m, g * h), (h, g * h), ((g + (cell == "gru")) * h,), (n, h), (n, t, h)]
    X, W_x, W_h, b, start, dA = (rng.normal(size=shape) for shape in shapes)
    if cell != "lstm":
        return (X, W_x, W_h, b, start), (dA, rng.normal(size=(n, h)))
    pairs = rng.normal(size=(3, n, h))
    return (X, W_x, W_h, b, (start, pairs[0])), (dA, (pairs[1], pairs[2]))


def sigmoid(x):
    return 1 / (1 + jnp.exp(-x))


def one_step(cell, x, W_x, W_h, b, state):
    """One step of one row from the papers' formulas, a matrix for each gate."""
    if cell.startswith("rnn"):
        y = x @ W_x + state[0] @ W_h + b
        return (jnp.tanh(y) if cell == "rnn_tanh" else jnp.maximum(y, 0),)
    h, units = state[0], state[0].shape[0]
    Us, Vs = (jnp.split(W, GATES[cell], axis=1) for W in (W_x, W_h))
    bs = [b[k * units : (k + 1) * units] for k in range(4)]
    if cell == "lstm":
        i, f, g, o = (x @ U + h @ V + b for U, V, b in zip(Us, Vs, bs, strict=True))
        c = sigmoid(f) * state[1] + sigmoid(i) * jnp.tanh(g)
        return sigmoid(o) * jnp.tanh(c), c
    r, z = (sigmoid(x @ Us[k] + h @ Vs[k] + bs[k]) for k in range(2))
    n = jnp.tanh(x @ Us[2] + bs[2] + r * (h @ Vs[2] + bs[3]))
    return ((1 - z) * n + z * h,)


def plain(cell, X, W_x, W_h, b, initial, lengths, reverse):
    """Return what `recurrence` should, row by row and step by step in Python."""

    def one_row(x, state, length):
        outputs = [jnp.zeros_like(state[0])] * len(x)
        for t in reversed(range(length)) if reverse else range(length):
            state = one_step(cell, x[t], W_x, W_h, b, state)
            outputs[t] = state[0]
        return jnp.stack(outputs), state

    initial = initial if cell == "lstm" else (initial,)
    if lengths is None:  # one program for all rows compiles faster
        states, final = jax.vmap(lambda x, state: one_row(x, state, len(x)))(X, initial)
    else:
        starts = zip(*initial, strict=True)
        rows = [one_row(*row) for row in zip(X, starts, lengths.tolist(), strict=True)]
        states, final = jax.tree.map(lambda *parts: jnp.stack(parts), *rows)
    return states, final if cell == "lstm" else final[0]


def agree(ours, witnesses, **tolerance):
    ours, witnesses = jax.tree.leaves(ours), jax.tree.leaves(witnesses)
    assert len(ours) == len(witnesses)
    for array, witness in zip(ours, witnesses, strict=True):
        assert array.shape == witness.shape
        assert array.dtype == witness.dtype
        assert_allclose(array, witness, **tolerance)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("lengths", [None, LENGTHS])
@pytest.mark.parametrize("cell", NAMES)
def test_rule_agrees_with_autodiff(cell, lengths, reverse, float64):
    arguments, cotangents = operands(cell)

    @jax.jit
    def both(*arguments):
        found, pull = jax.vjp(lambda *a: recurrence(cell, *a, lengths, reverse), *arguments)
        expected, pull_plain = jax.vjp(lambda *a: plain(cell, *a, lengths, reverse), *arguments)
        # Without a gradient nothing is saved: another program, and the same numbers.
        unsaved = recurrence(cell, *arguments, lengths, reverse)
        return (found, unsaved, pull(cotangents)), (expected, expected, pull_plain(cotangents))

    ours, witnesses = both(*arguments)
    assert ours[0][0].dtype == np.float64
    agree(ours, witnesses, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("cell", NAMES)
def test_without_an_initial_state_it_is_zero(cell, float64):
    (X, W_x, W_h, b, initial), (dA, _) = operands(cell)
    zeros = jax.tree.map(np.zeros_like, initial)

    @jax.jit
    def run(*weights):
        none, pull_none = jax.vjp(lambda *w: recurrence(cell, X, *w)[0], *weights)
        zero, pull_zero = jax.vjp(lambda *w: recurrence(cell, X, *w, zeros)[0], *weights)
        return (none, pull_none(dA)), (zero, pull_zero(dA))

    agree(*run(W_x, W_h, b), rtol=1e-12)


@pytest.mark.parametrize("cell", NAMES)
def test_rule_agrees_with_finite_differences(cell, float64):
    arguments, _ = operands(cell, n=2, t=3, h=2, seed=1)
    kernel = jax.jit(lambda *a: recurrence(cell, *a, np.array([3, 2])))
    check_grads(kernel, arguments, 1, ["rev"], rtol=1e-6, atol=1e-6)


def test_a_case_worked_by_hand():
    """``h_t = relu(x_t + 2 h_{t-1})`` from h_0 = 1 over (1, -9, 3): 3, then dead, then 3."""
    X, one, two, zero = (
        jnp.array([[[1.0], [-9.0], [3.0]]]),
        jnp.eye(1),
        2 * jnp.eye(1),
        jnp.zeros(1),
    )
    (states, final), pull = jax.vjp(
        lambda *a: recurrence("rnn_relu", *a), X, one, two, zero, jnp.eye(1)
    )
    np.testing.assert_array_equal(states[0, :, 0], [3, 0, 3])
    np.testing.assert_array_equal(final, [[3]])
    # The dead step cuts the past off: only the first step's own gradient 5 goes further back.
    dX, dW_x, dW_h, db, dinitial = pull((jnp.array([[[5.0], [7.0], [1.0]]]), jnp.array([[10.0]])))
    np.testing.assert_array_equal(dX[0, :, 0], [5, 0, 11])
    assert (float(dW_x[0, 0]), float(dW_h[0, 0])) == (5 * 1 + 11 * 3, 5 * 1 + 11 * 0)
    assert (float(db[0]), float(dinitial[0, 0])) == (16, 10)


def test_an_lstm_with_its_gates_pinned_open_is_a_sum(float64):
    """i = f = o = 1 and small g: ``c_T = Σ tanh(g_t)``; with f shut only the last step counts."""
    x = np.random.default_rng(0).normal(size=(2, 5, 1))
    W_x, W_h = np.array([[0.0, 0, 1, 0]]), np.zeros((1, 4))
    for f, expected in [(50, np.tanh(x).sum(axis=1)), (-50, np.tanh(x[:, -1]))]:
        _, (h, c) = recurrence("lstm", x, W_x, W_h, np.array([50.0, f, 0, 50]))
        assert_allclose(c, expected, rtol=1e-12)
        assert_allclose(h, np.tanh(expected), rtol=1e-12)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("cell", NAMES)
def test_padding_never_changes_a_result(cell, reverse):
    """Not even padding that is not a number, nor by one bit in values."""
    (X, W_x, W_h, b, initial), (dA, dfinal) = operands(cell)
    lengths = np.array([2, 1, 2])
    padded = np.where((np.arange(3)[None, :] < lengths[:, None])[:, :, None], X, np.nan)

    @jax.jit
    def run(W_x, W_h, b):
        def on(X, dA):
            out, pull = jax.vjp(
                lambda X, *w: recurrence(cell, X, *w, initial, lengths, reverse), X, W_x, W_h, b
            )
            dX, *rest = pull(jax.tree.map(lambda d, o: d.astype(o.dtype), (dA, dfinal), out))
            return out[0], out[1], dX, rest

        return on(X[:, :2], dA[:, :2]), on(padded, dA)

    short, long = run(*(a.astype(np.float32) for a in (W_x, W_h, b)))
    assert_allclose(long[0][:, :2], short[0], rtol=1e-6)
    assert not np.any(long[0][:, 2:])
    assert_allclose(long[2][:, :2], short[2], rtol=1e-5, atol=1e-6)
    assert not np.any(long[2][:, 2:])
    agree((long[1], long[3]), (short[1], short[3]), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("cell", NAMES)
def test_what_is_saved_is_the_states_and_the_gates(cell, monkeypatch):
    """Of size (t, n, h): h for a plain cell; h, c and four gates; h, three gates and q."""
    monkeypatch.setenv("LAMINA_KERNELS", "xla")  # the native twin saves the same in fewer arrays
    (X, W_x, W_h, b, _), _ = operands(cell, n=5, t=6, m=2, h=7)
    arguments = (a.astype(np.float32) for a in (X, W_x, W_h, b))
    _, pull = jax.vjp(lambda *a: recurrence(cell, *a)[0], *arguments)
    saved = [leaf for leaf in jax.tree.leaves(pull) if np.size(leaf) >= 6 * 5 * 7]
    assert len(saved) == {"lstm": 6, "gru": 5}.get(cell, 1)
    assert all(leaf.shape == (6, 5, 7) for leaf in saved)


def test_low_precision_stays_low():
    (X, W_x, W_h, b, _), _ = operands("gru")
    arguments = [jnp.asarray(a, jnp.bfloat16) for a in (X, W_x, W_h)] + [jnp.asarray(b)]

    def run(*arguments):
        out, pull = jax.vjp(lambda *a: recurrence("gru", *a)[0], *arguments)
        return out, pull(jnp.ones_like(out))

    out, gradients = jax.eval_shape(run, *arguments)
    assert out.dtype == jnp.bfloat16
    assert [g.dtype for g in gradients] == [a.dtype for a in arguments]


def test_vmap_over_weights_keeps_the_rule(float64):
    (X, W_x, W_h, b, initial), _ = operands("gru")

    def loss(b):
        return jnp.sum(recurrence("gru", X, W_x, W_h, b, initial, LENGTHS)[0] ** 2)

    @jax.jit
    def both():
        biases = jnp.stack([b, 2 * b])
        return jax.vmap(jax.grad(loss))(biases), jnp.stack([jax.grad(loss)(x) for x in biases])

    agree(*both(), rtol=1e-10)


def test_an_unknown_cell_is_refused():
    with pytest.raises(InputError, match=r"cell expected .* Did you mean 'lstm'"):
        recurrence("lstn", *operands("lstm")[0])


def torch_twin(torch, cell, m, h, directions):
    kind, options = {"lstm": ("LSTM", {}), "gru": ("GRU", {})}.get(cell, ("RNN", {}))
    if kind == "RNN":
        options = {"nonlinearity": cell.removeprefix("rnn_")}
    torch.manual_seed(0)
    return getattr(torch.nn, kind)(m, h, batch_first=True, bidirectional=directions == 2, **options)


def from_torch(twin, cell, suffix=""):
    """Return ``(W_x, W_h, b)``: PyTorch has two biases, of which only the GRU's n needs both."""
    W_x, W_h, b_i, b_h = (
        getattr(twin, f"{name}_l0{suffix}").detach().numpy()
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    )
    if cell != "gru":
        return W_x.T, W_h.T, b_i + b_h
    cut = 2 * W_h.shape[1]
    return W_x.T, W_h.T, np.concatenate([b_i[:cut] + b_h[:cut], b_i[cut:], b_h[cut:]])


@pytest.mark.parametrize("cell", NAMES)
def test_agrees_with_torch_in_both_directions_on_packed_sequences(cell):
    torch = pytest.importorskip("torch")
    n, t, m, h, lengths = 3, 6, 4, 5, [6, 2, 4]
    rng = np.random.default_rng(0)
    X = rng.normal(size=(n, t, m)).astype(np.float32)
    dA = rng.normal(size=(n, t, 2 * h)).astype(np.float32)
    start = [rng.normal(size=(2, n, h)).astype(np.float32) for _ in range(1 + (cell == "lstm"))]
    twin = torch_twin(torch, cell, m, h, 2)
    X_torch = torch.tensor(X, requires_grad=True)
    start_torch = [torch.tensor(s, requires_grad=True) for s in start]
    pack, unpack = (
        torch.nn.utils.rnn.pack_padded_sequence,
        torch.nn.utils.rnn.pad_packed_sequence,
    )
    packed = pack(X_torch, torch.tensor(lengths), batch_first=True, enforce_sorted=False)
    output, last = twin(packed, tuple(start_torch) if cell == "lstm" else start_torch[0])
    last = last if cell == "lstm" else (last,)
    padded, _ = unpack(output, batch_first=True)
    loss = (padded * torch.tensor(dA)).sum() + sum((part**2).sum() for part in last)
    loss.backward()

    weights = [from_torch(twin, cell), from_torch(twin, cell, "_reverse")]

    @jax.jit
    def ours(X, weights, start):
        def objective(X, weights, start):
            found = []
            for k in range(2):
                initial = tuple(s[k] for s in start)
                initial = initial if cell == "lstm" else initial[0]
                run = recurrence(cell, X, *weights[k], initial, np.array(lengths), reverse=k == 1)
                found.append(run)
            states = jnp.concatenate([found[0][0], found[1][0]], axis=-1)
            finals = [jax.tree.leaves(final) for _, final in found]
            squares = sum(jnp.sum(part**2) for final in finals for part in final)
            return jnp.sum(states * dA) + squares, (states, finals)

        return jax.grad(objective, argnums=(0, 1, 2), has_aux=True)(X, weights, start)

    (dX, dweights, dstart), (states, finals) = ours(X, weights, start)
    close = {"rtol": 1e-4, "atol": 1e-5}
    assert states.dtype == dX.dtype == np.float32
    assert_allclose(states, padded.detach().numpy(), **close)
    for k, suffix in enumerate(["", "_reverse"]):
        for part, expected in zip(finals[k], last, strict=True):
            assert_allclose(part, expected[k].detach().numpy(), **close)
        for part, expected in zip(dstart, start_torch, strict=True):
            assert_allclose(part[k], expected.grad[k].numpy(), **close)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        dW_x, dW_h, db_i, db_h = (getattr(twin, f"{a}_l0{suffix}").grad.numpy() for a in names)
        db = np.concatenate([db_i, db_h[-h:]]) if cell == "gru" else db_i
        for found, expected in zip(dweights[k], (dW_x.T, dW_h.T, db), strict=True):
            assert_allclose(found, expected, rtol=1e-4, atol=5e-5)
    assert_allclose(dX, X_torch.grad.numpy(), **close)
