"""Sequences of unequal length as they flow between layers: padded values, and each row's length."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp

if TYPE_CHECKING:
    from jaxtyping import Array, Bool


@dataclass(frozen=True, eq=False)
class Sequences:
    """A batch of sequences, each as long as it is.

    It is a pytree, and is cut and counted by rows like an array.

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

    values: Any
    lengths: Any

    def valid(self) -> Bool[Array, "n t"]:
        """Return which steps are data."""
        steps = jnp.arange(self.values.shape[1])
        return steps[None, :] < jnp.asarray(self.lengths)[:, None]

    def __len__(self) -> int:
        """Return n."""
        return len(self.values)

    def __getitem__(self, rows: Any) -> Sequences:
        """Return the sequences of these rows."""
        return Sequences(self.values[rows], self.lengths[rows])

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the padded values."""
        return self.values.shape

    @property
    def dtype(self) -> Any:
        """The dtype of the values."""
        return self.values.dtype

    def cut(self, steps: int) -> Sequences:
        """Return the first ``steps`` steps of all rows; none may be longer."""
        return Sequences(self.values[:, :steps], self.lengths)


jax.tree_util.register_dataclass(Sequences, ["values", "lengths"], [])


def parts(X: Any) -> tuple[Any, Any]:
    """Return the values and the lengths of a batch; the lengths of an array are None."""
    return (X.values, X.lengths) if isinstance(X, Sequences) else (X, None)
