"""What the matrices say: figures of each, and pictures."""

from lamina.inspection.backprop import LayerTrace, Trace, backprop
from lamina.inspection.filters import (
    draw_feature_maps,
    draw_filters,
    feature_maps,
    first_filters,
)
from lamina.inspection.health import health
from lamina.inspection.matrices import MatrixFigures, matrix_figures
from lamina.inspection.pictures import draw_confusion, draw_history, draw_templates
from lamina.inspection.plan import Cost, Plan, plan
from lamina.inspection.spectra import Spectrum, spectra
from lamina.inspection.verdicts import Health, LayerFigures, Verdict

__all__ = [
    "Cost",
    "Health",
    "LayerFigures",
    "LayerTrace",
    "MatrixFigures",
    "Plan",
    "Spectrum",
    "Trace",
    "Verdict",
    "backprop",
    "draw_confusion",
    "draw_feature_maps",
    "draw_filters",
    "draw_history",
    "draw_templates",
    "feature_maps",
    "first_filters",
    "health",
    "matrix_figures",
    "plan",
    "spectra",
]
