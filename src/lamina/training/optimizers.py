"""Optimisers by name: a direction or an optax transformation, and how it wants to be used."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

import jax

from lamina.errors import InputError, did_you_mean
from lamina.kernels.descent import Pace, descend
from lamina.training.directions import LBFGS, ByRule, LineSearch, Moments

if TYPE_CHECKING:
    import optax


@dataclass(frozen=True)
class Optimizer:
    """A descent method.

    Parameters
    ----------
    name : str
        What users call it.
    transform : ByRule, LineSearch or optax.GradientTransformation
        From gradients to the next weights, or to a step to add to them.
    learning_rate : float
        The rate used where the user names none.
    full_batch : bool
        Whether each step takes all samples.
    decoupled : bool
        Whether an L2 penalty shrinks the weights directly, ``W ← W - η α W``, instead of entering
        the gradient (Loshchilov and Hutter 2019).
    whole_step : bool
        Whether the step comes with its sign and rate, as optax's do.
    """

    name: str
    transform: ByRule | LineSearch | optax.GradientTransformation
    learning_rate: float
    full_batch: bool = False
    decoupled: bool = False
    whole_step: bool = False

    @property
    def proximal(self) -> bool:
        """Whether an L1 penalty's proximal step fits it: its steps are ``-η g / D``."""
        return isinstance(self.transform, ByRule)

    @property
    def guards(self) -> bool:
        """Whether weights and moments stay where a step's `Pace` says that it is not taken."""
        return isinstance(self.transform, ByRule)

    def initial_state(self, weights: Any) -> Any:
        """Return the state before the first step; optax's are made by a compiled program."""
        if isinstance(self.transform, (ByRule, LineSearch)):
            return self.transform.init(weights)
        return jax.jit(self.transform.init)(weights)

    def step(
        self, weights: Any, gradients: Any, state: Any, pace: Pace, value: Any, value_fn: Any
    ) -> tuple[Any, Any]:
        """Return ``(weights, state)`` after one step.

        Parameters
        ----------
        weights, gradients : pytrees of arrays
            At the present point.
        state : pytree
            As `initial_state` or the last step made it.
        pace : Pace
            The numbers of this step.
        value, value_fn : scalar, callable weights -> scalar
            The objective; only line searches use it.
        """
        if isinstance(self.transform, ByRule):
            t = state.t + 1
            weights, of = descend(self.transform.rule, weights, gradients, state.of, t, pace)
            return weights, Moments(t, of)
        if pace.shrink is not None:
            gradients = jax.tree.map(lambda g: g * pace.shrink, gradients)
        if isinstance(self.transform, LineSearch):
            steps, state = self.transform.update(gradients, state, weights, value, value_fn)
        else:
            import optax

            steps, state = optax.with_extra_args_support(self.transform).update(
                gradients, state, weights, value=value, grad=gradients, value_fn=value_fn
            )
        if self.whole_step:
            return jax.tree.map(lambda W, d: W + d, weights, steps), state
        if pace.factors is None:
            return jax.tree.map(lambda W, d: W - pace.rate * d, weights, steps), state
        return jax.tree.map(lambda W, d, rate: W - rate * d, weights, steps, pace.rates), state


_OWN = {
    row.name: row
    for row in (
        Optimizer("gd", ByRule("plain"), 0.5, full_batch=True),
        Optimizer("sgd", ByRule("plain"), 0.1),
        Optimizer("momentum", ByRule("momentum"), 0.02),
        Optimizer("nesterov", ByRule("nesterov"), 0.02),
        Optimizer("rmsprop", ByRule("rmsprop"), 1e-3),
        Optimizer("adam", ByRule("adam"), 1e-3),
        Optimizer("adamw", ByRule("adam"), 1e-3, decoupled=True),
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
