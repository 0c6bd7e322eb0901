"""Faults of the training that its history tells: a rate too high or too low, overfitting."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from lamina.inspection.evidence import Evidence
from lamina.inspection.signal_checks import harmed
from lamina.inspection.updates import first_ratio
from lamina.inspection.verdicts import Verdict

LARGEST_STEP = 0.5
"""A step of half the length of the weights is no small change any more; 1e-3 is usual."""
SMALLEST_STEP = 1e-3
WORSE_THAN_GUESSING = 1.5
"""An epoch's loss as a multiple of guessing's: descent in small steps does not get there."""
RISES = 0.3
"""How far a loss may rise above its best so far, as a share of guessing's."""
BUMP, MOST_BUMPS = 1.1, 0.15
"""A loss a tenth above the last epoch's, and the share of epochs that may end so."""
STUCK, LEARNED = 0.9, 0.5
"""The best loss, as a share of guessing's: above the one nothing was learned, below the other
half of it."""
STILL_FALLING = 0.5
"""The loss's fall per unit of learning rate in the last third, as a share of the first third's."""
MOST_GAP = 0.15
"""How much less may be explained of data that were held out."""
NOTHING, SOMETHING = 0.05, 0.3
"""Shares explained: no more than guessing, and clearly more."""
MOST_TURN = 1.5
"""A held-out loss of so many times its best has turned round."""
GAP_WITH_TURN = 0.05


def rate_too_high(evidence: Evidence) -> Iterator[Verdict]:
    """Steps are long, and the loss rises or stays at guessing's, or the signal is hurt."""
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
    bumpy = float(np.mean(loss[1:] > BUMP * loss[:-1])) > MOST_BUMPS
    rising = worst > WORSE_THAN_GUESSING or risen > RISES or bumpy
    if rising or stuck > STUCK or harmed(evidence):
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
    if guess is None or len(loss) < 6 or step is None or step > SMALLEST_STEP:
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


def nothing_learned(evidence: Evidence) -> Iterator[Verdict]:
    """The loss is guessing's to the end."""
    loss, guess = _losses(evidence)
    if guess is None or not len(loss) or loss[_epoch(evidence)] < (1 - NOTHING) * guess:
        return
    yield Verdict(
        "nothing learned",
        "training",
        loss[_epoch(evidence)] / guess,
        "loss at the end as a multiple of guessing's",
        f"below {1 - NOTHING:g}",
        "Train for more epochs, or with a larger learning_rate; if it stays, these inputs do not "
        "tell the targets.",
    )


def overfitting(evidence: Evidence) -> Iterator[Verdict]:
    """Data that were trained on are explained much better than others."""
    found = explained(evidence)
    if found is None or found.learned_by_heart:
        return  # where nothing was learned but by heart it is the labels: `data_checks.shuffled`
    gap = found.train - found.held_out - found.error
    if gap > MOST_GAP or (gap > GAP_WITH_TURN and _turned(evidence) > MOST_TURN):
        yield Verdict(
            "overfitting",
            "training",
            found.train - found.held_out,
            "share explained of the training data less that of held-out data",
            f"below {MOST_GAP:g}",
            "Set early_stopping=10, a larger alpha or dropout, fewer units; or get more data.",
        )


class Explained(NamedTuple):
    """How much is explained: 0 is guessing, 1 is all.

    For classes it is ``(accuracy - 1/K) / (1 - 1/K)``, else ``1 - loss / guess``.

    Parameters
    ----------
    train, held_out : float
        Of the data that were trained on, and of others.
    error : float
        The standard error of ``held_out``; 0 where it is not known.
    """

    train: float
    held_out: float
    error: float = 0.0

    @property
    def learned_by_heart(self) -> bool:
        """Whether there is much of the one and nothing of the other."""
        return self.train > SOMETHING and self.held_out < NOTHING


def explained(evidence: Evidence) -> Explained | None:
    """Return how much is explained of training data, and of validation data or those shown.

    Where a fit stopped early its validation data have chosen the epoch, and only data shown count.
    """
    history, data = evidence.history, evidence.data
    of_classes = evidence.loss.target == "classes"
    name = "accuracy" if of_classes else "loss"
    train, held_out = history.get(name), history.get(f"val_{name}")
    # An epoch's figure is the mean over its steps: that of the first says little of its end.
    if not train or len(train) < 2 or (not of_classes and evidence.guess is None):
        return None
    if held_out and len(held_out) == len(train) and not evidence.stopped_early:
        return Explained(_share(evidence, train[-1]), _share(evidence, held_out[-1]))
    if data is None or data.few:
        return None
    rows = data.scores.argmax(axis=1) == data.y if of_classes else data.losses
    value, error = float(np.mean(rows)), float(np.std(rows)) / len(rows) ** 0.5
    share = _share(evidence, value)
    kept = _share(evidence, train[_epoch(evidence)])
    return Explained(kept, share, abs(_share(evidence, value + error) - share))


def _share(evidence: Evidence, value: float) -> float:
    if evidence.loss.target == "classes":
        chance = 1 / evidence.outputs
        return (value - chance) / (1 - chance)
    return 1 - value / (evidence.guess or 1.0)


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
