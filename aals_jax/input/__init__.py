"""From a prepared dataset to augmented batches, each a function of (seed, step)."""
