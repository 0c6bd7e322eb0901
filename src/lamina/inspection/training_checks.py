"""Faults of the training that its history tells: a rate too high or too low, overfitting."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from lamina.inspection.evidence import Evidence
from lamina.inspection.updates import first_ratio
from lamina.inspection.verdicts import Verdict

LARGEST_STEP = 0.5
"""A step of half the length of the weights is no small change any more; 1e-3 is usual."""
SMALLEST_STEP = 1e-3
WORSE_THAN_GUESSING = 1.5
"""An epoch's loss as a multiple of guessing's: descent in small steps does not get there."""
RISES = 0.3
"""How far a loss may rise above its best so far, as a share of guessing's."""
STUCK, LEARNED = 0.9, 0.5
"""The best loss, as a share of guessing's: above the one nothing was learned, below the other
half of it."""
STILL_FALLING = 0.5
"""The loss's fall per unit of learning rate in the last third, as a share of the first third's."""
MOST_GAP = 0.15
"""How much less may be explained of data that were held out."""
MOST_TURN = 1.5
"""A held-out loss of so many times its best has turned round."""
GAP_WITH_TURN = 0.05


def rate_too_high(evidence: Evidence) -> Iterator[Verdict]:
    """Steps too long to descend by: the loss rises, or stays at guessing's, and they are long."""
    loss, guess = _losses(evidence)
    step = first_ratio(evidence)
    if guess is None or len(loss) < 2 or (step is not None and step < LARGEST_STEP):
        return
    worst = float(np.nanmax(loss)) / guess
    best = np.minimum.accumulate(loss)
    risen = float(np.max(loss[1:] - best[:-1])) / guess
    stuck = float(np.min(loss)) / guess
    if step is None and not (worst > WORSE_THAN_GUESSING and risen > RISES):
        return
    if worst > WORSE_THAN_GUESSING or risen > RISES or stuck > STUCK:
        yield Verdict(
            "learning rate too high",
            "training",
            worst if step is None else step,
            "worst loss of an epoch as a multiple of guessing's"
            if step is None
            else "length of a step beside weights of usual size",
            f"below {WORSE_THAN_GUESSING if step is None else LARGEST_STEP:g}",
            f"Divide learning_rate ({_rate(evidence)}) by 10, and again while the loss rises.",
        )


def rate_too_low(evidence: Evidence) -> Iterator[Verdict]:
    """Steps so short that the loss falls at the end as fast as in the beginning."""
    loss, guess = _losses(evidence)
    step = first_ratio(evidence)
    if guess is None or len(loss) < 6 or (step is not None and step > SMALLEST_STEP):
        return
    if float(np.min(loss)) < LEARNED * guess:
        return
    slope = _last_slope(loss, evidence.rates)
    if slope is not None and slope > STILL_FALLING:
        yield Verdict(
            "learning rate too low",
            "training",
            slope,
            "fall of the loss at the end as a share of that in the beginning",
            f"below {STILL_FALLING:g}",
            f"Multiply learning_rate ({_rate(evidence)}) by 10, or train for more epochs.",
        )


def _last_slope(loss: np.ndarray, rates: np.ndarray) -> float | None:
    """Return the last third's slope over the first third's, in terms of the sum of rates."""
    travelled = np.cumsum(rates) if len(rates) == len(loss) else np.arange(len(loss), dtype=float)
    if not travelled[-1] > travelled[0]:
        return None
    thirds = travelled[0] + (travelled[-1] - travelled[0]) * np.array([0, 1 / 3, 2 / 3, 1])
    at = np.interp(thirds, travelled, loss)
    falls = at[:-1] - at[1:]
    return float(falls[2] / falls[0]) if falls[0] > 0 else None


def overfitting(evidence: Evidence) -> Iterator[Verdict]:
    """Data that were trained on are explained much better than others."""
    shares = explained(evidence)
    if shares is None:
        return
    train, held_out = shares
    gap = train - held_out
    turned = _turned(evidence)
    if held_out <= 0.05 and train > 0.3:
        return  # not learned at all: that is the labels, see `data_checks.shuffled`
    if gap > MOST_GAP or (gap > GAP_WITH_TURN and turned > MOST_TURN):
        yield Verdict(
            "overfitting",
            "training",
            gap,
            "share explained of the training data less that of held-out data",
            f"below {MOST_GAP:g}",
            "Set early_stopping=10, a larger alpha or dropout, fewer units; or get more data.",
        )


def explained(evidence: Evidence) -> tuple[float, float] | None:
    """Return how much is explained of training and of held-out data: 0 is guessing, 1 is all.

    For classes it is ``(accuracy - 1/K) / (1 - 1/K)``, else ``1 - loss / guess``. Held out are
    validation data, or those that were shown.
    """
    history, data = evidence.history, evidence.data
    name = "accuracy" if evidence.loss.target == "classes" else "loss"
    train = history.get(name)
    if not train:
        return None
    held_out = history.get(f"val_{name}")
    epoch = _epoch(evidence)
    if held_out and len(held_out) == len(train):
        return _share(evidence, train[epoch]), _share(evidence, held_out[epoch])
    if data is None:
        return None
    value = data.loss
    if name == "accuracy":
        value = float(np.mean(data.scores.argmax(axis=1) == data.y))
    return _share(evidence, train[epoch]), _share(evidence, value)


def _share(evidence: Evidence, value: float) -> float:
    if evidence.loss.target == "classes":
        chance = 1 / evidence.outputs
        return (value - chance) / (1 - chance)
    return 1 - value / max(evidence.guess or 1.0, 1e-300)


def _epoch(evidence: Evidence) -> int:
    """Return the epoch whose weights were kept."""
    held_out = evidence.history.get("val_loss")
    return int(np.argmin(held_out)) if evidence.stopped_early and held_out else -1


def _turned(evidence: Evidence) -> float:
    held_out = evidence.history.get("val_loss")
    if not held_out or evidence.stopped_early or not min(held_out) > 0:
        return 1.0
    return held_out[-1] / min(held_out)


def _losses(evidence: Evidence) -> tuple[np.ndarray, float | None]:
    loss = np.asarray(evidence.history.get("loss", []), float)
    return loss[np.isfinite(loss)], evidence.guess


def _rate(evidence: Evidence) -> str:
    return f"{evidence.rates.max():.3g}" if len(evidence.rates) else "unknown"
