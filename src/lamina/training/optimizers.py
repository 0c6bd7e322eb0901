"""Optimisers by name: a direction or an optax transformation, and how it wants to be used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jax

from lamina.errors import InputError, did_you_mean
from lamina.training.directions import ADAM, LBFGS, PLAIN, RMSPROP, Direction, momentum

if TYPE_CHECKING:
    import optax


@dataclass(frozen=True)
class Optimizer:
    """A descent method.

    Parameters
    ----------
    name : str
        What users call it.
    transform : Direction or optax.GradientTransformation
        From gradients to a direction, or to the whole step if ``whole_step``.
    learning_rate : float
        The rate used where the user names none.
    full_batch : bool
        Whether each step takes all samples.
    decoupled : bool
        Whether an L2 penalty shrinks the weights directly, ``W ← W - η α W``, instead of entering
        the gradient (Loshchilov and Hutter 2019).
    whole_step : bool
        Whether the transformation returns the step itself, sign and rate included, as optax's do.
    preconditioned : bool
        Whether a steady gradient's direction is ``g / D`` for a diagonal D, which the state's
        ``curvature()`` returns. An L1 penalty is then applied by the proximal step in that metric,
        with thresholds ``η α / D``, so that the point where it rests is the minimum (Yun, Lozano
        and Yang 2021, algorithm 1).
    """

    name: str
    transform: Direction | optax.GradientTransformation
    learning_rate: float
    full_batch: bool = False
    decoupled: bool = False
    whole_step: bool = False
    preconditioned: bool = False

    @property
    def proximal(self) -> bool:
        """Whether an L1 penalty's proximal step fits it: its steps are ``-η g / D``."""
        return isinstance(self.transform, Direction) and not self.whole_step

    def initial_state(self, weights: Any) -> Any:
        """Return the state before the first step; optax's are made by a compiled program."""
        if isinstance(self.transform, Direction):
            return self.transform.init(weights)
        return jax.jit(self.transform.init)(weights)

    def update(self, gradients: Any, state: Any, weights: Any, value: Any, value_fn: Any):
        """Return ``(directions or steps, state)``; line searches use the value and its function."""
        if isinstance(self.transform, Direction):
            return self.transform.update(gradients, state, weights, value, value_fn)
        import optax

        transform = optax.with_extra_args_support(self.transform)
        return transform.update(
            gradients, state, weights, value=value, grad=gradients, value_fn=value_fn
        )


_OWN = {
    row.name: row
    for row in (
        Optimizer("gd", PLAIN, 0.5, full_batch=True),
        Optimizer("sgd", PLAIN, 0.1),
        Optimizer("momentum", momentum(), 0.02, preconditioned=True),
        Optimizer("nesterov", momentum(nesterov=True), 0.02, preconditioned=True),
        Optimizer("rmsprop", RMSPROP, 1e-3, preconditioned=True),
        Optimizer("adam", ADAM, 1e-3, preconditioned=True),
        Optimizer("adamw", ADAM, 1e-3, preconditioned=True, decoupled=True),
        Optimizer("lbfgs", LBFGS, 1.0, full_batch=True, whole_step=True),
    )
}
NAMES = (*_OWN, "muon")


@cache
def _muon() -> Optimizer:
    """Orthogonalised momentum for matrices, Adam at a tenth of the rate for biases (Jordan)."""
    import optax
    from optax.contrib import muon

    direction = optax.chain(muon(learning_rate=1.0, adam_learning_rate=0.1), optax.scale(-1.0))
    return Optimizer("muon", direction, 0.02)


@cache
def _from_optax(transform: optax.GradientTransformation) -> Optimizer:
    return Optimizer("optax", transform, 1.0, whole_step=True)


def optimizer(name: str | optax.GradientTransformation) -> Optimizer:
    """Return the optimiser called ``name``, or one around any optax transformation.

    Raises
    ------
    InputError
        For an unknown name.
    """
    if isinstance(name, str):
        if name in _OWN:
            return _OWN[name]
        if name in NAMES:
            return _muon()
    elif hasattr(name, "init") and hasattr(name, "update"):
        return _from_optax(name)
    raise InputError(
        f"optimizer expected one of {', '.join(NAMES)}, or an optax transformation; got {name!r}."
        f"{did_you_mean(name, NAMES)}"
    )
