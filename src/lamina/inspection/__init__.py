"""What the matrices say: figures of each, and pictures."""

from lamina.inspection.matrices import MatrixFigures, matrix_figures
from lamina.inspection.pictures import draw_confusion, draw_history, draw_templates

__all__ = ["MatrixFigures", "draw_confusion", "draw_history", "draw_templates", "matrix_figures"]
