"""What is measured, with NumPy alone: AUROC, FROC, their intervals, and more."""
