"""The pages that a run and an audit leave: one HTML file with numbers and pictures."""

from aals_jax.report.audit_page import Figure as AuditFigure
from aals_jax.report.audit_page import Gallery, write_audit
from aals_jax.report.audit_page import Panel as AuditPanel
from aals_jax.report.curve_figures import ModelCurves
from aals_jax.report.page import write_report
from aals_jax.report.pictures import Detection, Example

__all__ = [
    "AuditFigure",
    "AuditPanel",
    "Detection",
    "Example",
    "Gallery",
    "ModelCurves",
    "write_audit",
    "write_report",
]
