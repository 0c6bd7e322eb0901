"""Faults of the signal: units that are dead or saturated, gradients that vanish or explode."""

from __future__ import annotations

from collections.abc import Iterator

from lamina.inspection.evidence import Evidence
from lamina.inspection.signals import hidden, remaining, signals, through_time
from lamina.inspection.verdicts import NOTICE, PROBLEM, Verdict
from lamina.layers.recurrent import Recurrent

MOST_DEAD = 0.5
"""Of a layer's units, for every row: He et al. 2015 count on half being on for a given row."""
ALL_DEAD = 0.95
"""A layer that passes nothing on; that the gradient ends there needs no verdict of its own."""
MOST_SATURATED = 0.5
"""Glorot and Bengio 2010, section 3: layers that saturate stop what is below them from learning."""
LEAST_LEFT, MOST_GROWN = 1e-3, 1e3
"""Of the gradient by the scores, what may be left of it, or become of it, at the first layer."""
STARTED = 10.0
"""Where the gradient has shrunk or grown by this factor, it is said to start."""
LEAST_VARYING = 1e-4
"""The share of a layer's output that must differ from row to row."""
FEWEST_DIRECTIONS = 1.5
"""The participation ratio that a hidden layer needs for three classes or more."""
TOO_MUCH_THROUGH_TIME = 1e3
"""How much longer a gradient may be at the first step than at the last (Pascanu et al. 2013)."""
TOO_LITTLE_THROUGH_TIME = 1e-6
NOT_LEARNED = 0.7
"""A loss of more than this share of guessing's has left most to be learned."""


def dead(evidence: Evidence) -> Iterator[Verdict]:
    """Layers in which most units are off for every row."""
    for signal in hidden(evidence):
        share = signal.dead
        if share is not None and share > MOST_DEAD:
            yield Verdict(
                "dead units",
                signal.path,
                share,
                "share of units that are 0 for every row",
                f"below {MOST_DEAD:g}",
                "Fit again with a lower learning_rate, biases that start at 0, or "
                "activation='leaky_relu'.",
            )


def saturated(evidence: Evidence) -> Iterator[Verdict]:
    """Layers in which most outputs stand at an asymptote, where the slope is next to zero."""
    for signal in hidden(evidence):
        share = signal.saturated
        if share is not None and share > MOST_SATURATED:
            yield Verdict(
                "saturated units",
                signal.path,
                share,
                f"share of outputs within 1 % of an asymptote of {signal.activation}",
                f"below {MOST_SATURATED:g}",
                "Begin with smaller weights, init='glorot', scale the input, or take "
                "activation='relu'.",
            )


def gradients(evidence: Evidence) -> Iterator[Verdict]:
    """Where the gradient on its way back from the scores is lost, or grows beyond measure."""
    if evidence.data is None:
        return
    left = remaining(evidence.data.trace)
    if not left:
        return
    end = left[-1][1]
    blocked = any((signal.dead or 0) > ALL_DEAD for signal in hidden(evidence))
    if end < LEAST_LEFT and not blocked:
        start = next(path for path, share in left if share < 1 / STARTED)
        yield Verdict(
            "vanishing gradient",
            start,
            end,
            "gradient by the first layer's input, as a share of that by the scores,",
            f"above {LEAST_LEFT:g}",
            "Take activation='relu' with init='auto', fewer layers, or BatchNorm and Residual "
            "between them.",
            PROBLEM if _unlearned(evidence) else NOTICE,
        )
    elif end > MOST_GROWN:
        start = next(path for path, share in left if share > STARTED)
        yield Verdict(
            "exploding gradient",
            start,
            end,
            "gradient by the first layer's input, as a multiple of that by the scores,",
            f"below {MOST_GROWN:g}",
            "Begin with init='auto', and set clip_norm=1.0.",
        )


def time(evidence: Evidence) -> Iterator[Verdict]:
    """Recurrent layers whose gradient grows from step to step, or is gone before the first."""
    if evidence.data is None:
        return
    for signal in signals(evidence.data.trace):
        if not isinstance(signal.layer, Recurrent):
            continue
        for path, steps, factor in through_time(signal):
            whole = factor ** (steps - 1)
            if whole > TOO_MUCH_THROUGH_TIME:
                fault, remedy = "exploding gradient", "Set clip_norm=1.0, and begin with small W_h."
                healthy = TOO_MUCH_THROUGH_TIME ** (1 / (steps - 1))
                bound = f"below {healthy:.3g} over {steps} steps"
            elif whole < TOO_LITTLE_THROUGH_TIME and _unlearned(evidence):
                fault, remedy = "vanishing gradient", "Take cell='lstm' or 'gru'."
                healthy = TOO_LITTLE_THROUGH_TIME ** (1 / (steps - 1))
                bound = f"above {healthy:.3g} over {steps} steps"
            else:
                continue
            measured = "factor on the gradient from each step to the one before"
            yield Verdict(fault, f"{path}/W_h", factor, measured, bound, remedy)


def collapse(evidence: Evidence) -> Iterator[Verdict]:
    """Hidden layers that put out much the same for every row, or along one direction only."""
    if evidence.data is None:
        return
    several = evidence.loss.target == "classes" and evidence.outputs > 3
    for signal in hidden(evidence):
        if signal.dead == 1:
            continue
        share, directions = signal.varying()
        narrow = several and directions < FEWEST_DIRECTIONS
        if share >= LEAST_VARYING and not narrow:
            continue
        yield Verdict(
            "rank collapse",
            signal.path,
            share if share < LEAST_VARYING else directions,
            "share of the output that differs from row to row"
            if share < LEAST_VARYING
            else "directions that the output varies in",
            f"above {LEAST_VARYING if share < LEAST_VARYING else FEWEST_DIRECTIONS:g}",
            "Take fewer layers, init='auto', or BatchNorm between them.",
        )


def harmed(evidence: Evidence) -> bool:
    """Whether anything stands in the way of the signal: what steps far too long bring about."""
    return any(True for check in (dead, saturated, gradients, time) for _ in check(evidence))


def _unlearned(evidence: Evidence) -> bool:
    data = evidence.data
    return data is not None and not data.loss < NOT_LEARNED * data.guess
