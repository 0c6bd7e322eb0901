"""The recurrent layer as one kernel: a cell's sweep over a sequence, and its backward sweep.

Forward, with a cell of `lamina.kernels.cells` and ``P_t = x_t W_x + b``::

    h_t = cell(P_t, h_{t-1} W_h, h_{t-1})

All ``P_t`` are one product ``X W_x`` before the loop; only ``h_{t-1} W_h`` must wait its turn.

Backward, from the last step to the first (backpropagation through time, Werbos 1990), the cell's
own rule gives the gradients ``dP_t`` and ``dR_t`` by its two products, and ::

    dh_{t-1} = (dh_{t-1} from the output and the cell) + dR_t W_hᵀ

Weights are shared by all steps, so their gradients are sums over time. Autodiff adds to a
(h, g·h) matrix at each step; here the loop only stacks ``dP_t``, and each sum is one product after
it, with ``H'`` the states before each step, (t·n, h), and ``dR`` equal to ``dP`` but in a GRU::

    dW_x = Xᵀ dP      dW_h = H'ᵀ dR      db = dPᵀ 1      dX = dP W_xᵀ

Saved are X, the states, and the gates' activated values; nothing for the plain cells' gates.

On a CPU the whole sweep is one native kernel, ``native/recurrence.cc``; what follows is its
reference, and what runs everywhere else.

Source: Werbos 1990; the cells' own sources stand with them.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

from lamina.errors import check_choice
from lamina.kernels import native
from lamina.kernels.cells import CELLS, State

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int


def recurrence(
    cell: str,
    X: Float[Array, "n t m"],
    W_x: Float[Array, "m gh"],
    W_h: Float[Array, "h gh"],
    b: Float[Array, " gh"],
    initial: Float[Array, "n h"] | State | None = None,
    lengths: Int[Array, " n"] | None = None,
    reverse: bool = False,
) -> tuple[Float[Array, "n t h"], Float[Array, "n h"] | State]:
    """Return the states at all steps, and the state after each row's last step.

    Parameters
    ----------
    cell : {"rnn_tanh", "rnn_relu", "lstm", "gru"}
        Its number of gates g is 1, 1, 4 (i, f, g, o) and 3 (r, z, n).
    X : array of shape (n, t, m)
        Sequences, one a row.
    W_x : array of shape (m, g·h)
        Input weights, the gates side by side.
    W_h : array of shape (h, g·h)
        Recurrent weights.
    b : array of shape (g·h,); for the GRU (4·h,)
        Bias. The GRU's last h entries are b_hn, the bias of the product that r multiplies.
    initial : array of shape (n, h), for the LSTM a pair ``(h, c)`` of them, or None
        The state before the first step; None is zeros.
    lengths : int array of shape (n,), or None
        How many steps of each row are data, at most t; what stands beyond them is never read. None
        is all.
    reverse : bool
        Whether each row is read from its last valid step back to its first.

    Returns
    -------
    states : array of shape (n, t, h)
        h after each step; zero beyond a row's length. In the dtype of the weights.
    final : array of shape (n, h), for the LSTM a pair ``(h, c)`` of them
        The state after the last step taken, which in reverse is a row's first; ``initial`` in rows
        of length 0. In float32 also where the weights are bfloat16: what a state sums up over the
        steps would be lost to rounding.

    Notes
    -----
    Gradients are sums over the batch; averaging belongs to the loss.
    """
    rule = CELLS[check_choice("cell", cell, CELLS)]
    dtype = jnp.result_type(W_x, W_h)
    exact = jnp.promote_types(dtype, jnp.float32)
    X, W_x, W_h, b = (jnp.asarray(array, dtype) for array in (X, W_x, W_h, b))
    n, t, _ = X.shape
    if initial is None:
        initial = (jnp.zeros((n, W_h.shape[0]), exact),) * rule.parts
    state = tuple(jnp.asarray(part, exact) for part in jax.tree.leaves(initial))
    X, valid = X.swapaxes(0, 1), None  # steps first: each is one block of memory
    if lengths is not None:
        lengths = jnp.asarray(lengths)
        valid = (jnp.arange(t)[:, None] < lengths[None, :])[:, :, None]
        X = jnp.where(valid, X, 0)
    swept: Any
    if native.is_faster("recurrence", *work(cell, X, W_h), dtype):
        swept = native.sweep(cell, reverse, X, W_x, W_h, b, state, lengths)
    else:
        swept = _sweep(cell, reverse, X, W_x, W_h, b, state, valid)
    states, final = swept
    states = states.astype(dtype)
    if valid is not None:
        states = jnp.where(valid, states, 0)
    return states.swapaxes(0, 1), final if rule.parts > 1 else final[0]


def work(cell: str, X: Any, W_h: Any) -> tuple[str, int]:
    """Return the kind of a sweep over X (t, n, m), and its number of multiplications."""
    steps, rows, inputs = X.shape
    return cell, steps * rows * (inputs + W_h.shape[0]) * W_h.shape[1]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def _sweep(
    cell: str,
    reverse: bool,
    X: Float[Array, "t n m"],
    W_x: Float[Array, "m gh"],
    W_h: Float[Array, "h gh"],
    b: Float[Array, " b"],
    initial: State,
    valid: Bool[Array, "t n 1"] | None,
) -> tuple[Float[Array, "t n h"], State]:
    """Return the state h after each step, held where a step is not valid, and the last state."""
    (states, *_), _, final = _steps(cell, reverse, X, W_x, W_h, b, initial, valid, keep=False)
    return states, final


def _steps(cell, reverse, X, W_x, W_h, b, initial, valid, keep):
    """Return the states and the gates at all steps, and the last state.

    Without ``keep``, only what the caller sees: h at all steps.
    """
    rule = CELLS[cell]
    width = W_x.shape[1]
    P = _product(X, W_x) + b[None, None, :width]

    def step(state, inputs):
        P_t, valid_t = inputs
        after, gates = rule.step(P_t, _product(state[0], W_h), b[width:], state)
        if valid_t is not None:
            after = _where(valid_t, after, state)
        return after, (after, gates) if keep else (after[:1], ())

    final, (states, gates) = jax.lax.scan(step, initial, (P, valid), reverse=reverse)
    return states, gates, final


def _where(condition, arrays, others):
    return tuple(jnp.where(condition, a, b) for a, b in zip(arrays, others, strict=True))


def _forward(cell, reverse, X, W_x, W_h, b, initial, valid):
    states, gates, final = _steps(cell, reverse, X, W_x, W_h, b, initial, valid, keep=True)
    return (states[0], final), (X, W_x, W_h, initial, valid, states, gates)


def _backward(cell, reverse, saved, gradients):
    X, W_x, W_h, initial, valid, states, gates = saved
    dstates, dfinal = gradients
    rule = CELLS[cell]
    before = tuple(map(partial(_shifted, reverse=reverse), states, initial))
    recurrent = rule.recurrent or (lambda dP, gates: dP)

    def step(dstate, inputs):
        dA, gates, state, before, valid_t = inputs
        dstate = (dstate[0] + dA, *dstate[1:])
        dP, dbefore = rule.pullback(dstate, gates, state, before)
        if valid_t is not None:  # a step that was not taken passes the gradient on
            dP, dbefore = jnp.where(valid_t, dP, 0), _where(valid_t, dbefore, dstate)
        dR = recurrent(dP, gates)
        return (dbefore[0] + _product(dR, W_h.T), *dbefore[1:]), dP

    inputs = (dstates, gates, states, before, valid)
    dinitial, dP = jax.lax.scan(step, dfinal, inputs, reverse=not reverse)
    dR = recurrent(dP, gates)
    dtype = X.dtype
    dX = _product(dP, W_x.T).astype(dtype)
    dW_x = _product(_rows(X).T, _rows(dP).astype(dtype)).astype(dtype)
    dW_h = _product(_rows(before[0]).T, _rows(dR).astype(dtype)).astype(dtype)
    db = _rows(dP).sum(axis=0)
    if rule.recurrent:  # b_h is added to the last gate's recurrent product
        db = jnp.concatenate([db, _rows(dR)[:, -W_h.shape[0] :].sum(axis=0)])
    return dX, dW_x, dW_h, db.astype(dtype), dinitial, None


def _product(A, W):
    """Return ``A W`` taken in the dtype of W, in float32 at least: sums and states need it."""
    exact = jnp.promote_types(W.dtype, jnp.float32)
    return jnp.matmul(A.astype(W.dtype), W, preferred_element_type=exact)


def _shifted(states, initial, reverse):
    """Return the state before each step, from the states after each."""
    if reverse:
        return jnp.concatenate([states[1:], initial[None]])
    return jnp.concatenate([initial[None], states[:-1]])


def _rows(array):
    return array.reshape(-1, array.shape[-1])


_sweep.defvjp(_forward, _backward)
