"""Datasets of the project; nothing here imports JAX or the training code."""
