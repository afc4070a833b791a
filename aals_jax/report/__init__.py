"""The page a run leaves: one HTML file with its numbers, curves and pictures."""

from aals_jax.report.curve_figures import ModelCurves
from aals_jax.report.page import write_report
from aals_jax.report.pictures import Detection, Example

__all__ = ["Detection", "Example", "ModelCurves", "write_report"]
