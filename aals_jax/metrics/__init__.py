"""What is measured, with NumPy and SciPy: AUROC, FROC, their intervals, and more."""
