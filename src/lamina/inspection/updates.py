"""How large a step of training is beside the weights it changes: ``‖ΔW‖ / ‖W‖``.

The ``watch`` callback measures it. Without it the rule of the optimiser tells about how large it
is: a step of Adam or RMSprop moves every number by about the learning rate η, so it is
``η √size / ‖W‖``; one of plain descent is ``η ‖g‖ / ‖W‖``, ten times that with momentum 0.9.
"""

from __future__ import annotations

import math

import numpy as np

from lamina.functions.initializers import fans
from lamina.inspection.evidence import Evidence
from lamina.inspection.matrix_checks import matrices
from lamina.inspection.signals import signals

ADAPTIVE = ("adam", "adamw", "rmsprop")
MOMENTUM = {"gd": 1.0, "sgd": 1.0, "momentum": 10.0, "nesterov": 10.0}
"""What multiplies the gradient in the long run."""


def update_ratios(evidence: Evidence) -> dict[str, float]:
    """Return the ratio of each layer, over its matrices the greatest, at the median rate."""
    if evidence.watched:
        return _measured(evidence.watched)
    rates = evidence.rates
    if not len(rates):
        return {}
    rate = float(np.median(rates))
    found: dict[str, float] = {}
    if evidence.rule in ADAPTIVE:
        for path, W in matrices(evidence.weights):
            length = float(np.linalg.norm(W.astype(float)))
            if W.ndim > 1 and length:
                ratio = rate * math.sqrt(W.size) / length
                layer = path.rpartition("/")[0]
                found[layer] = max(found.get(layer, 0.0), ratio)
    elif evidence.rule in MOMENTUM and evidence.data is not None:
        for signal in signals(evidence.data.trace):
            if signal.weight_norm and signal.gradient_norm is not None:
                step = rate * MOMENTUM[evidence.rule] * signal.gradient_norm
                found[signal.path] = step / signal.weight_norm
    return found


def _measured(watched: dict) -> dict[str, float]:
    found: dict[str, float] = {}
    for path, figures in watched.get("matrices", {}).items():
        ratios = np.asarray(figures.get("update_ratio", []), float)
        ratios = ratios[np.isfinite(ratios)]
        if len(ratios):
            layer = path.rpartition("/")[0]
            found[layer] = max(found.get(layer, 0.0), float(np.median(ratios)))
    return found


def first_ratio(evidence: Evidence) -> float | None:
    """Return about how large the largest steps were beside usual initial weights; None if unknown.

    Weights that a rate too high has blown up make its steps look small; so they are measured by
    Glorot's deviation, ``√(2 / (fan_in + fan_out))``.
    """
    if not len(evidence.rates):
        return None
    rate = float(evidence.rates.max())
    shapes = [W.shape for _, W in matrices(evidence.weights) if W.ndim > 1]
    if evidence.rule in ADAPTIVE:
        return max(rate * math.sqrt(sum(fans(shape)) / 2) for shape in shapes)
    norms = np.asarray(evidence.history.get("gradient_norm", []), float)
    norms = norms[np.isfinite(norms)]
    if evidence.rule not in MOMENTUM or not len(norms):
        return max(_measured(evidence.watched or {}).values(), default=None)
    usual = math.sqrt(sum(math.prod(shape) * 2 / sum(fans(shape)) for shape in shapes))
    return rate * MOMENTUM[evidence.rule] * float(norms.max()) / usual
