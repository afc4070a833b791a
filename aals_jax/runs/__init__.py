"""One run: a checked config, two stages, checkpoints, and its result."""
