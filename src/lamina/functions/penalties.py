"""Penalties on weight matrices: L1, L2 and their blend, and L1's proximal step.

The penalty of a matrix is ``α (ρ ‖W‖₁ + ½ (1 - ρ) ‖W‖²_F)``: ρ = 0 is L2, ρ = 1 is L1. Biases are
never penalised.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp

from lamina.errors import check_choice, check_number

if TYPE_CHECKING:
    from jaxtyping import Array, Float

PENALTIES = ("l1", "l2", "elastic_net")


@dataclass(frozen=True)
class Penalty:
    """The strengths of one matrix's penalty, ``l1 ‖W‖₁ + ½ l2 ‖W‖²``.

    Parameters
    ----------
    l1, l2 : float >= 0
        Strengths; see `penalty` for the form with a name, alpha and a ratio.
    """

    l1: float = 0.0
    l2: float = 0.0

    def __post_init__(self) -> None:
        check_number("penalty strength l1", self.l1, at_least=0)
        check_number("penalty strength l2", self.l2, at_least=0)


def penalty(name: str | None, alpha: float, l1_ratio: float = 0.5) -> Penalty:
    """Return the strengths that a penalty's name, strength and blend stand for.

    Parameters
    ----------
    name : {"l1", "l2", "elastic_net"} or None
        None is no penalty.
    alpha : float >= 0
        The strength α.
    l1_ratio : float in [0, 1]
        ρ, used by ``"elastic_net"`` only.

    Examples
    --------
    >>> penalty("elastic_net", 0.1, l1_ratio=0.25)
    Penalty(l1=0.025, l2=0.07500000000000001)
    """
    check_number("alpha", alpha, at_least=0)
    check_number("l1_ratio", l1_ratio, at_least=0, at_most=1)
    if name is None:
        return Penalty()
    check_choice("penalty", name, PENALTIES)
    ratio = {"l1": 1.0, "l2": 0.0, "elastic_net": l1_ratio}[name]
    return Penalty(l1=float(alpha) * ratio, l2=float(alpha) * (1.0 - ratio))


def soft_threshold(W: Float[Array, "..."], threshold: Array) -> Float[Array, "..."]:
    """Return ``sign(W) ∘ max(|W| - t, 0)``: the proximal step of ``t ‖W‖₁``, exact zeros included.

    Source: Parikh and Boyd, Proximal Algorithms, 2014, section 6.5.2.
    """
    return jnp.sign(W) * jnp.maximum(jnp.abs(W) - threshold, 0)
