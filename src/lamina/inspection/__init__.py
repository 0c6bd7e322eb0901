"""What the matrices say: figures of each, and pictures."""

from lamina.inspection.backprop import LayerTrace, Trace, backprop
from lamina.inspection.calibration import Calibration, calibration
from lamina.inspection.compression import Compressed, Compression, compress
from lamina.inspection.diagrams import (
    draw_calibration,
    draw_gradient_flow,
    draw_matrix,
    draw_predicted,
    draw_residuals,
    draw_spectrum,
    draw_watched,
)
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
from lamina.inspection.report import report
from lamina.inspection.spectra import Spectrum, spectra
from lamina.inspection.verdicts import Health, LayerFigures, Verdict

__all__ = [
    "Calibration",
    "Compressed",
    "Compression",
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
    "calibration",
    "compress",
    "draw_calibration",
    "draw_confusion",
    "draw_feature_maps",
    "draw_filters",
    "draw_gradient_flow",
    "draw_history",
    "draw_matrix",
    "draw_predicted",
    "draw_residuals",
    "draw_spectrum",
    "draw_templates",
    "draw_watched",
    "feature_maps",
    "first_filters",
    "health",
    "matrix_figures",
    "plan",
    "report",
    "spectra",
]
