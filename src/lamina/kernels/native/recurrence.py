"""The native recurrent sweep: that of `lamina.kernels.recurrence`, run by ``native/recurrence.cc``.

States and gates are saved in the layout of the C++ kernel: the units padded to whole vectors, the
state before the first step beside those after each. Where X and the weights are bfloat16, it is
``native/half_recurrence.cc`` and ``native/half_recurrence_pullback.cc``: states and gates are saved
in bfloat16, and in float32 what sums up over the steps, c or a GRU's h.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero

from lamina.kernels.native.library import NONE, call, lanes, named, or_none, static

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

    from lamina.kernels.cells import State

_SLOTS = 4  # as in native/cells.h


@partial(jax.custom_vjp, nondiff_argnums=(0, 1))
def sweep(
    cell: str,
    reverse: bool,
    X: Float[Array, "t n m"],
    W_x: Float[Array, "m gh"],
    W_h: Float[Array, "h gh"],
    b: Float[Array, " b"],
    initial: State,
    lengths: Int[Array, " n"] | None,
) -> tuple[Float[Array, "t n h"], State]:
    """Return the state h after each step, held where a row is over, and the last state."""
    saved = _swept(cell, reverse, X, W_x, W_h, b, initial, lengths, keep=False)
    return _states(cell, saved, W_h.shape[0], reverse, len(initial))


def _swept(cell, reverse, X, W_x, W_h, b, initial, lengths, keep):
    """Return h (t + 1, n, padded), c (the same, or without ``keep`` one step), and the gates."""
    t, n, _ = X.shape
    padded, gates = _padded(cell, W_h.shape[0], X.dtype)
    c = (t + 1 if keep else 1, n, padded) if len(initial) > 1 or _sums_h(cell, X) else NONE
    results = [
        jax.ShapeDtypeStruct((t + 1, n, padded), X.dtype),
        jax.ShapeDtypeStruct(c, jnp.float32),
        jax.ShapeDtypeStruct((t, n, gates) if keep and gates else NONE, X.dtype),
    ]
    h_initial, c_initial = initial if len(initial) > 1 else (*initial, None)
    arguments = (X, W_x, W_h, b, h_initial, or_none(c_initial), _steps(lengths))
    return call(named(f"{cell}_forward", X), results, *arguments, reverse=reverse, keep=keep)


def _sums_h(cell: str, X: Any) -> bool:
    """Tell whether c stands for h in full, of which the states are a rounded copy."""
    return cell == "gru" and X.dtype == jnp.bfloat16


def _steps(lengths):
    return or_none(None if lengths is None else lengths.astype(jnp.int32), "int32")


def _padded(cell: str, units: int, dtype: Any) -> tuple[int, int]:
    """Return the units padded to whole groups, and how many numbers the gates of a row are."""
    group = lanes(dtype) * (_SLOTS if cell.startswith("rnn") else 1)
    padded = -(-units // group) * group
    return padded, 0 if cell.startswith("rnn") else padded * _SLOTS


def _states(cell, saved, units, reverse, parts):
    states, c, _ = saved
    after, last = (states[:-1], 0) if reverse else (states[1:], -1)
    exact = (c,) if _sums_h(cell, states) else (states, c)[:parts]
    final = tuple(part[last, :, :units].astype(jnp.float32) for part in exact)
    return after[:, :, :units], final


def _forward(cell, reverse, X, W_x, W_h, b, initial, lengths):
    wants_dX = static(X.perturbed)
    X, W_x, W_h, b = (array.value for array in (X, W_x, W_h, b))
    lengths = None if lengths is None else lengths.value
    initial = tuple(part.value for part in initial)
    saved = _swept(cell, reverse, X, W_x, W_h, b, initial, lengths, keep=True)
    results = _states(cell, saved, W_h.shape[0], reverse, len(initial))
    return results, (X, W_x, W_h, b, lengths, saved, wants_dX)


def _backward(cell, reverse, residuals, gradients):
    X, W_x, W_h, b, lengths, (h, c, gates), wants_dX = residuals
    dstates, dfinal = gradients
    dstates = None if isinstance(dstates, SymbolicZero) else dstates
    dfinal = [
        jnp.zeros(part.shape, jnp.float32) if isinstance(part, SymbolicZero) else part
        for part in dfinal
    ]
    dh_final, dc_final = dfinal if len(dfinal) > 1 else (*dfinal, or_none(None))
    shapes = [NONE if wants_dX is None else X.shape, W_x.shape, W_h.shape, b.shape]
    results = [jax.ShapeDtypeStruct(shape, X.dtype) for shape in shapes]
    results += [jax.ShapeDtypeStruct(d.shape, jnp.float32) for d in (dh_final, dc_final)]
    arguments = (X, W_x, W_h, h, c, gates, _steps(lengths), or_none(dstates, X.dtype))
    arguments += dh_final, dc_final
    kernel = named(f"{cell}_backward", X)
    dX, dW_x, dW_h, db, *dinitial = call(kernel, results, *arguments, reverse=reverse)
    return (None if wants_dX is None else dX), dW_x, dW_h, db, tuple(dinitial[: len(dfinal)]), None


sweep.defvjp(_forward, _backward, symbolic_zeros=True)
