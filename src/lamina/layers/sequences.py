"""Sequences of unequal length as they flow between layers: padded values, and each row's length."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool, Float, Int


class Sequences(NamedTuple):
    """A batch of sequences, each as long as it is.

    A named tuple, so a pytree: `jax.tree.map` and `jax.jit` go through it.

    Parameters
    ----------
    values : array of shape (n, t, m), or (n, t) for codes
        Sequences, one a row, padded at the end up to t steps; what the padding holds is never read.
    lengths : int array of shape (n,)
        How many steps of each row are data, at most t.

    Examples
    --------
    >>> import numpy as np
    >>> Sequences(np.zeros((2, 3, 1)), np.array([3, 1])).valid().tolist()
    [[True, True, True], [True, False, False]]
    """

    values: Float[Array, "n t m"] | Int[Array, "n t"]
    lengths: Int[Array, " n"]

    def valid(self) -> Bool[Array, "n t"]:
        """Return which steps are data."""
        steps = jnp.arange(self.values.shape[1])
        return steps[None, :] < jnp.asarray(self.lengths)[:, None]
