"""What the matrices say: figures of each, and pictures."""

from lamina.inspection.filters import (
    draw_feature_maps,
    draw_filters,
    feature_maps,
    first_filters,
)
from lamina.inspection.matrices import MatrixFigures, matrix_figures
from lamina.inspection.pictures import draw_confusion, draw_history, draw_templates

__all__ = [
    "MatrixFigures",
    "draw_confusion",
    "draw_feature_maps",
    "draw_filters",
    "draw_history",
    "draw_templates",
    "feature_maps",
    "first_filters",
    "matrix_figures",
]
