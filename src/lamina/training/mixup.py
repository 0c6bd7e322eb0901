"""Mixup: training on blends of two samples, with the blend of their losses.

``X̃ = λ X + (1 - λ) X'`` and ``loss = λ loss(X̃, y) + (1 - λ) loss(X̃, y')``, with one ``λ ~ Beta(α,
α)`` a minibatch and X' the minibatch in reverse order: it is shuffled already.

Source: Zhang, Cisse, Dauphin and Lopez-Paz 2018, in the form of their released code.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp


class Blend(NamedTuple):
    """What each sample of a minibatch is blended with.

    Parameters
    ----------
    share : scalar
        λ, the weight of the sample itself.
    partner : array of shape (n,), int
        The row of the other sample. Padding rows are never one.
    """

    share: Any
    partner: Any

    def of(self, values: Any) -> Any:
        """Return ``λ values + (1 - λ) values[partner]``."""
        return self.share * values + (1 - self.share) * values[self.partner]


def drawn(key: Any, strength: float, samples: int, rows: Any, dtype: Any) -> Blend:
    """Draw a blend.

    Parameters
    ----------
    key : random key
        Where λ comes from.
    strength : float > 0
        α; 0.2 blends gently, 1 draws λ evenly.
    samples : int
        Rows of the minibatch, padding included.
    rows : scalar
        How many of them are data.
    dtype : floating dtype
        Of λ.
    """
    share = jax.random.beta(key, strength, strength).astype(dtype)
    here = jnp.arange(samples)
    there = rows.astype(here.dtype) - 1 - here
    return Blend(share, jnp.where(there >= 0, there, here))
