"""Losses: from scores (n, K) and targets to one number per sample.

Every loss is summed over a sample's outputs and left unaveraged over samples; the objective takes
the weighted mean. A loss also says what its scores mean, by `probabilities`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ClassVar, Literal

import jax
import jax.numpy as jnp

from lamina.errors import check_choice, check_number

if TYPE_CHECKING:
    from jaxtyping import Array, Float, Int

Target = Literal["classes", "labels", "values", "codes"]


@dataclass(frozen=True)
class Loss:
    """A loss per sample. Call it with scores and targets; see the subclasses."""

    target: ClassVar[Target]
    """What y holds: class indices (n,), binary labels (n, K), real values (n, K), or the codes that
    follow at each step (n, t)."""

    def __call__(self, scores: Float[Array, "n K"], y: Array) -> Float[Array, " n"]:
        """Return the loss of each sample."""
        raise NotImplementedError

    def probabilities(self, scores: Float[Array, "n K"]) -> Float[Array, "n K"]:
        """Return class or label probabilities, or the scores themselves where there are none."""
        return scores


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _softmax_cross_entropy(
    scores: Float[Array, "n K"], y: Int[Array, " n"], smoothing: float
) -> Float[Array, " n"]:
    return _softmax_cross_entropy_forward(scores, y, smoothing)[0]


def _softmax_cross_entropy_forward(scores, y, smoothing):
    shifted = scores - jnp.max(scores, axis=1, keepdims=True)
    log_p = shifted - jnp.log(jnp.sum(jnp.exp(shifted), axis=1, keepdims=True))
    q = _smoothed_one_hot(y, scores.shape[1], smoothing, scores.dtype)
    return -jnp.sum(q * log_p, axis=1), (log_p, y)


def _softmax_cross_entropy_backward(smoothing, saved, dloss):
    log_p, y = saved
    q = _smoothed_one_hot(y, log_p.shape[1], smoothing, log_p.dtype)
    return dloss[:, None] * (jnp.exp(log_p) - q), None


_softmax_cross_entropy.defvjp(_softmax_cross_entropy_forward, _softmax_cross_entropy_backward)


def _smoothed_one_hot(y, K, smoothing, dtype):
    """``q``: 1 - s + s/K at the class, s/K elsewhere (Szegedy et al. 2016, section 7)."""
    one_hot = (jnp.arange(K, dtype=y.dtype)[None, :] == y[:, None]).astype(dtype)
    return one_hot * (1 - smoothing) + smoothing / K if smoothing else one_hot


@dataclass(frozen=True)
class SoftmaxCrossEntropy(Loss):
    """``-Σ_k q_k log p_k`` with ``p = softmax(scores)``; its gradient by the scores is ``p - q``.

    Parameters
    ----------
    label_smoothing : float in [0, 1)
        The share ``s`` of probability that ``q`` spreads evenly over all K classes.
    """

    label_smoothing: float = 0.0
    target: ClassVar[Target] = "classes"

    def __post_init__(self) -> None:
        check_number("label_smoothing", self.label_smoothing, at_least=0, below=1)

    def __call__(self, scores: Float[Array, "n K"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        """Return the cross-entropy of each sample; ``y`` holds class indices."""
        return _softmax_cross_entropy(scores, y, self.label_smoothing)

    def probabilities(self, scores: Float[Array, "n K"]) -> Float[Array, "n K"]:
        """Return ``softmax(scores)``, row by row."""
        return jax.nn.softmax(scores, axis=1)


@dataclass(frozen=True)
class Hinge(Loss):
    """``Σ_{k≠y} max(0, s_k - s_y + Δ)``: the multiclass SVM loss of Weston and Watkins (1999).

    Parameters
    ----------
    margin : float > 0
        Δ, by how much the right class should win.

    Notes
    -----
    Hinge scores are no log-probabilities; estimators offer no ``predict_proba`` with this loss.
    """

    margin: float = 1.0
    target: ClassVar[Target] = "classes"

    def __post_init__(self) -> None:
        check_number("margin", self.margin, above=0)

    def __call__(self, scores: Float[Array, "n K"], y: Int[Array, " n"]) -> Float[Array, " n"]:
        """Return the hinge loss of each sample; ``y`` holds class indices."""
        right = jnp.arange(scores.shape[1], dtype=y.dtype)[None, :] == y[:, None]
        s_y = jnp.sum(jnp.where(right, scores, 0), axis=1, keepdims=True)
        excess = jnp.maximum(0, scores - s_y + self.margin)
        return jnp.sum(jnp.where(right, 0, excess), axis=1)


@dataclass(frozen=True)
class SigmoidCrossEntropy(Loss):
    """``-Σ_k [y_k log σ(s_k) + (1 - y_k) log σ(-s_k)]``: K yes-or-no labels a sample.

    Parameters
    ----------
    label_smoothing : float in [0, 1)
        Moves each label towards one half: ``y (1 - s) + s/2``.
    """

    label_smoothing: float = 0.0
    target: ClassVar[Target] = "labels"

    def __post_init__(self) -> None:
        check_number("label_smoothing", self.label_smoothing, at_least=0, below=1)

    def __call__(self, scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
        """Return the loss of each sample; ``y`` holds zeros and ones."""
        q = y * (1 - self.label_smoothing) + self.label_smoothing / 2
        return jnp.sum(jax.nn.softplus(scores) - q * scores, axis=1)

    def probabilities(self, scores: Float[Array, "n K"]) -> Float[Array, "n K"]:
        """Return the probability of each label."""
        return jax.nn.sigmoid(scores)


@dataclass(frozen=True)
class Squared(Loss):
    """``½ Σ_k (s_k - y_k)²``."""

    target: ClassVar[Target] = "values"

    def __call__(self, scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
        """Return the loss of each sample."""
        return 0.5 * jnp.sum(jnp.square(scores - y), axis=1)


@dataclass(frozen=True)
class Absolute(Loss):
    """``Σ_k |s_k - y_k|``."""

    target: ClassVar[Target] = "values"

    def __call__(self, scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
        """Return the loss of each sample."""
        return jnp.sum(jnp.abs(scores - y), axis=1)


@dataclass(frozen=True)
class Huber(Loss):
    """``½ r²`` for ``|r| <= δ``, else ``δ (|r| - ½ δ)``, summed over outputs (Huber 1964).

    Parameters
    ----------
    delta : float > 0
        δ, the residual from which on the loss grows linearly, in units of the scores.
    """

    delta: float = 1.0
    target: ClassVar[Target] = "values"

    def __post_init__(self) -> None:
        check_number("delta", self.delta, above=0)

    def __call__(self, scores: Float[Array, "n K"], y: Float[Array, "n K"]) -> Float[Array, " n"]:
        """Return the loss of each sample."""
        r = jnp.abs(scores - y)
        inside = jnp.minimum(r, self.delta)
        return jnp.sum(inside * (r - 0.5 * inside), axis=1)


@dataclass(frozen=True)
class NextCode(Loss):
    """The softmax cross-entropy of the next code, averaged over a sample's steps."""

    target: ClassVar[Target] = "codes"

    def __call__(self, scores: Float[Array, "n t K"], y: Int[Array, "n t"]) -> Float[Array, " n"]:
        """Return the loss of each sample, in nats a step; ``y`` holds the codes that follow."""
        n, t, K = scores.shape
        each = _softmax_cross_entropy(scores.reshape(n * t, K), y.reshape(n * t), 0.0)
        return jnp.mean(jnp.asarray(each).reshape(n, t), axis=1)

    def probabilities(self, scores: Float[Array, "n t K"]) -> Float[Array, "n t K"]:
        """Return ``softmax(scores)``, step by step."""
        return jax.nn.softmax(scores, axis=-1)


LOSSES: dict[str, type[Loss]] = {
    "softmax": SoftmaxCrossEntropy,
    "hinge": Hinge,
    "sigmoid": SigmoidCrossEntropy,
    "squared": Squared,
    "absolute": Absolute,
    "huber": Huber,
    "next_code": NextCode,
}


def loss(name: str | Loss) -> Loss:
    """Return the loss called ``name`` with its usual settings; a `Loss` is returned as it is."""
    return name if isinstance(name, Loss) else LOSSES[check_choice("loss", name, LOSSES)]()
