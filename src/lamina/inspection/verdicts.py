"""What health says: a verdict on each fault found, and the figures of each layer."""

from __future__ import annotations

from dataclasses import dataclass

PROBLEM, NOTICE = "problem", "notice"
SEVERITIES = (PROBLEM, NOTICE)


@dataclass(frozen=True)
class Verdict:
    """One fault: what, where, how far from healthy, and what to change.

    Parameters
    ----------
    fault : str
        Its short name: ``"dead units"``, ``"vanishing gradient"``, ``"overfitting"``.
    where : str
        A layer, a matrix (``"dense_1/W"``), ``"input column 'age'"``, ``"labels"``, ``"training"``.
    figure : float
        What was measured.
    measured : str
        What the figure is, in words: ``"share of units that are 0 for every row"``.
    healthy : str
        Its healthy range, in words: ``"below 0.4"``.
    remedy : str
        What to change, one sentence.
    severity : {"problem", "notice"}
        A notice is worth knowing; a problem is worth mending.
    """

    fault: str
    where: str
    figure: float
    measured: str
    healthy: str
    remedy: str
    severity: str = PROBLEM

    def __str__(self) -> str:
        """Return it as two sentences."""
        return (
            f"{self.fault} in {self.where}: {self.measured} {self.figure:.3g}, healthy "
            f"{self.healthy}. {self.remedy}"
        )


@dataclass(frozen=True)
class LayerFigures:
    """One layer's figures over the rows looked at; None where unknown.

    Parameters
    ----------
    path : str
        Its place in the network: ``dense_0``.
    mean, spread : float or None
        Mean and standard deviation of its activations.
    dead : float or None
        The share of its units that pass no gradient for any row: relu's zeros.
    saturated : float or None
        The share of its activations within 1 % of an asymptote of sigmoid or tanh.
    gradient_norm : float or None
        ``‖∂loss/∂W‖`` over all of its weights.
    weight_norm : float or None
        ``‖W‖`` over all of its weights.
    update_ratio : float or None
        ``‖ΔW‖ / ‖W‖`` of a step: measured by the ``watch`` callback, else estimated.
    backward_gain : float or None
        ``‖∂loss/∂input‖ / ‖∂loss/∂output‖``.
    """

    path: str
    mean: float | None = None
    spread: float | None = None
    dead: float | None = None
    saturated: float | None = None
    gradient_norm: float | None = None
    weight_norm: float | None = None
    update_ratio: float | None = None
    backward_gain: float | None = None


@dataclass(frozen=True)
class Health:
    """What was found in a model.

    Parameters
    ----------
    verdicts : tuple of Verdict
        Worst first; empty where nothing was found.
    layers : tuple of LayerFigures
        From the first layer to the last.
    """

    verdicts: tuple[Verdict, ...]
    layers: tuple[LayerFigures, ...]

    @property
    def problems(self) -> tuple[Verdict, ...]:
        """The verdicts that are worth mending."""
        return tuple(verdict for verdict in self.verdicts if verdict.severity == PROBLEM)
