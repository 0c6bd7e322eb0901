"""What the matrices say: figures of each, and pictures."""

from lamina.inspection.backprop import LayerTrace, Trace, backprop
from lamina.inspection.compression import Compressed, Compression, compress
from lamina.inspection.filters import (
    draw_feature_maps,
    draw_filters,
    feature_maps,
    first_filters,
)
from lamina.inspection.matrices import MatrixFigures, matrix_figures
from lamina.inspection.pictures import draw_confusion, draw_history, draw_templates
from lamina.inspection.plan import Cost, Plan, plan
from lamina.inspection.spectra import Spectrum, spectra

__all__ = [
    "Compressed",
    "Compression",
    "Cost",
    "LayerTrace",
    "MatrixFigures",
    "Plan",
    "Spectrum",
    "Trace",
    "backprop",
    "compress",
    "draw_confusion",
    "draw_feature_maps",
    "draw_filters",
    "draw_history",
    "draw_templates",
    "feature_maps",
    "first_filters",
    "matrix_figures",
    "plan",
    "spectra",
]
