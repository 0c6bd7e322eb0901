"""The native optimiser step: the one of `lamina.kernels.descent`, run by ``native/descent.cc``.

All arrays go into one call, which writes where it reads: XLA lends it the old weights and moments
for the new ones, and copies them first only if somebody else still needs them.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from lamina.kernels.native.library import call, or_none

NUMBERS = 5  # rate, clipping factor, whether at all, and at most two of the rule's own
GRADIENTS = 1  # their place among the leaves


def descend(rule: str, leaves: list[list[Any]], pace: Any, unbias: tuple[Any, ...]) -> list[Any]:
    """Return the new weights and moments, all trees as lists of their leaves.

    Parameters
    ----------
    rule : str
        Its name, which is the C++ kernel's.
    leaves : list of lists of arrays
        The weights, the gradients, and each moment.
    pace : Pace
        The numbers of this step.
    unbias : tuple of scalars
        The rule's, after so many steps.
    """
    factors = (1.0 if factor is None else factor for factor in (pace.shrink, pace.taken))
    scalars = (pace.rate, *factors, *unbias)
    scalars += (1.0,) * (NUMBERS - len(scalars))
    shared = [
        jnp.stack([jnp.asarray(number, jnp.float32) for number in scalars]),
        *(or_none(None if a is None else jnp.stack(a)) for a in (pace.decay, pace.l1)),
    ]
    arrays = [leaf for column in leaves for leaf in column]
    count = len(leaves[0])
    kept = [i for i in range(len(arrays)) if i // count != GRADIENTS]
    results = [jax.ShapeDtypeStruct(arrays[i].shape, arrays[i].dtype) for i in kept]
    aliases = {len(shared) + i: place for place, i in enumerate(kept)}
    stepped = call(f"descend_{rule}", results, *shared, *arrays, aliases=aliases)
    return [stepped[i : i + count] for i in range(0, len(kept), count)]
