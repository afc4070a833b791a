"""A trained model as a folder that can be handed over, and new films through it."""
