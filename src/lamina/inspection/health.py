"""Health: what is wrong with a trained network, where, by which figure, and what to change.

Each check looks at the evidence for one family of faults and yields verdicts. A fault often brings
others with it, as a rate far too high kills units; so verdicts stand in the order of `CAUSES`, and
the first is the one to mend.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any

from lamina.inspection import data_checks, matrix_checks, signal_checks, training_checks
from lamina.inspection.evidence import Evidence, gathered
from lamina.inspection.signals import figures
from lamina.inspection.updates import update_ratios
from lamina.inspection.verdicts import SEVERITIES, Health, Verdict

Check = Callable[[Evidence], Iterator[Verdict]]
CHECKS: tuple[Check, ...] = (
    matrix_checks.numbers,
    matrix_checks.duplicates,
    matrix_checks.unmoved,
    data_checks.scale,
    data_checks.shuffled,
    data_checks.collapse,
    signal_checks.dead,
    signal_checks.saturated,
    signal_checks.gradients,
    signal_checks.time,
    signal_checks.collapse,
    training_checks.rate_too_high,
    training_checks.rate_too_low,
    training_checks.overfitting,
)
OF_HISTORY: tuple[Check, ...] = (
    data_checks.shuffled,
    training_checks.rate_too_high,
    training_checks.rate_too_low,
    training_checks.overfitting,
)
"""Those that look at nothing but figures of epochs where there are no data."""
COLLAPSE = "class collapse"
CAUSES = (
    "not finite",
    "input not scaled",
    "shuffled labels",
    "frozen layer",
    "duplicate units",
    "learning rate too high",
    "exploding gradient",
    "saturated units",
    "vanishing gradient",
    "dead units",
    "unmoved layer",
    "rank collapse",
    "learning rate too low",
    "nothing learned",
    COLLAPSE,
    "overfitting",
)
"""Faults, those first that bring others with them."""


def health(model: Any, X: Any = None, y: Any = None) -> Health:
    """Return what is wrong with a trained network; without data, what weights and history tell.

    Parameters
    ----------
    model : estimator
        A fitted one that has a network.
    X, y : data as `fit` takes them, optional
        Best held-out ones. Some 2,000 rows are looked at, and a few hundred traced backwards.

    Raises
    ------
    InputError
        For a model without a network, or X without y.

    Examples
    --------
    >>> import numpy as np
    >>> from lamina import LinearClassifier
    >>> X, y = np.eye(3), [0, 1, 2]
    >>> health(LinearClassifier(max_epochs=20, random_state=0).fit(X, y)).verdicts
    ()
    """
    evidence = gathered(model, X, y)
    layers = figures(evidence, update_ratios(evidence))
    return Health(_found(CHECKS, evidence), tuple(layers))


def hints(model: Any) -> tuple[Verdict, ...]:
    """Return what a fit's history alone tells: it takes no time, however large the network."""
    return _found(OF_HISTORY, gathered(model))


def _found(checks: Iterable[Check], evidence: Evidence) -> tuple[Verdict, ...]:
    verdicts = [verdict for check in checks for verdict in check(evidence)]
    if all(verdict.fault == COLLAPSE for verdict in verdicts):  # all others say why
        verdicts += training_checks.nothing_learned(evidence)
    return tuple(sorted(verdicts, key=_rank))


def _rank(verdict: Verdict) -> tuple[int, int]:
    return SEVERITIES.index(verdict.severity), CAUSES.index(verdict.fault)
