"""AALS: semi-supervised lesion detection on radiographs, in JAX."""

__version__ = "0.2.0"
