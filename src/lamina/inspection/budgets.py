"""A budget shared out over the layers: each gets what is worth its price.

A layer is kept in steps (a rank, a unit). The i-th step gives the gain g_i, the share of the
layer's output that it explains, and costs c numbers. At the price λ a layer keeps the steps with
``g_i ≥ λ c``; the least λ whose network is within the budget is the one. For gains that fall and
costs that add up this is the best there is: the greatest sum of gains for the numbers spent.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from lamina.errors import InputError

if TYPE_CHECKING:
    from jaxtyping import Float


@dataclass(frozen=True, eq=False)
class Steps:
    """What a layer may keep.

    Parameters
    ----------
    gains : array of shape (r,), falling
        The share of the layer's output that each step explains.
    cost : float
        Numbers a step.
    """

    gains: Float[np.ndarray, " r"]
    cost: float

    def worth(self, price: float) -> int:
        """Return how many steps are worth the price a number, one at the least."""
        return max(1, int(np.sum(self.gains >= price * self.cost)))


Counts = dict[str, int]
"""How many steps a layer keeps, by its path."""


def shared_out(
    layers: dict[str, Steps], size: Callable[[Counts], int], most: float, whole: int
) -> Counts:
    """Return how many steps each layer keeps so that the network has ``most`` numbers at most.

    Parameters
    ----------
    layers : dict of Steps
        By path.
    size : callable Counts -> int
        The numbers of the network that keeps so many.
    most : float
        The budget, in numbers.
    whole : int
        The numbers of the network as it is, for the error.

    Raises
    ------
    InputError
        If even one step in every layer is more than the budget.
    """
    prices = np.unique(np.concatenate([s.gains / s.cost for s in layers.values()] or [[0.0]]))

    def at(i: int) -> Counts:
        return {path: steps.worth(prices[i]) for path, steps in layers.items()}

    low, high = 0, len(prices) - 1
    if (least := size(at(high))) > most:
        raise InputError(
            f"budget expected at least {least / whole:.3f} of this network by this method, got "
            f"{most / whole:.3f}. Raise it, or use method='prune'."
        )
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if size(at(middle)) <= most else (middle + 1, high)
    return at(high)
