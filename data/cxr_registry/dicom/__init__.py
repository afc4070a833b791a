"""Stored images to upright pixels, 0 = air, 1 = bone."""
